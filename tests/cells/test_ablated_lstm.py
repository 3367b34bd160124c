"""An LSTM without one of its parts: the rest is the LSTM's own, and the absence shows where theory predicts it."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import LSTM, AblatedLSTM
from rnnlab.cells.ablated_lstm import Without
from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.flow import gradient_flow
from rnnlab.probes.gradients.paths import gradient_paths
from rnnlab.scan.unroll import unroll

PARTS = get_args(Without)
FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
D, H = 3, 5


def build(without, seed=0, **settings):
    return AblatedLSTM(features=H, without=without, **settings).build(D, rngs=nnx.Rngs(seed))


def run(cell, xs):
    """(c [T, B, H], h [T, B, H]) at every step."""

    def step(carry, x):
        carry, _ = cell(carry, x)
        return carry, carry

    return jax.lax.scan(step, cell.initialize_carry(xs.shape[1:]), xs)[1]


def inputs(length=20, scale=2.0):
    return scale * jax.random.normal(jax.random.key(1), (length, 2, D), jnp.float64)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def numpy_states(without, w_x, w_h, b, xs):
    """An implementation of its own: the LSTM's equations, with the weights of the whole LSTM, and one part replaced."""
    c, h, cs, hs = np.zeros((xs.shape[1], H)), np.zeros((xs.shape[1], H)), [], []
    for x in xs:
        z_i, z_f, z_g, z_o = np.split(x @ w_x + h @ w_h + b, 4, axis=1)
        i, f, g, o = sigmoid(z_i), sigmoid(z_f), np.tanh(z_g), sigmoid(z_o)
        match without:
            case "forget gate":
                f = np.ones_like(f)
            case "input gate":
                i = np.ones_like(i)
            case "output gate":
                o = np.ones_like(o)
            case "independence":
                i = 1 - f
            case "input squashing":
                g = z_g
        c = f * c + i * g
        c = np.tanh(c) if without == "linearity" else c
        h = o * (c if without == "output squashing" else np.tanh(c))
        cs, hs = [*cs, c], [*hs, h]
    return np.stack(cs), np.stack(hs)


@pytest.mark.parametrize("without", PARTS)
def test_each_ablation_is_the_whole_lstm_of_the_same_seed_with_one_equation_changed(without):
    """1e-12 in float64, against NumPy with an LSTM's own weights: so ablations of one seed are pairs."""
    whole = LSTM(features=H, **FLOAT64).build(D, rngs=nnx.Rngs(3))
    weights = [np.asarray(w[...]) for w in (whole.w_x, whole.w_h, whole.b)]
    xs = inputs()
    got = run(build(without, 3, **FLOAT64), xs)
    for mine, want in zip(got, numpy_states(without, *weights, np.asarray(xs)), strict=True):
        np.testing.assert_allclose(mine, want, rtol=1e-12, atol=1e-14)


def test_with_nothing_removed_it_is_bit_exactly_an_lstm():
    """Weights, states and gradients."""
    cells = [spec.build(D, rngs=nnx.Rngs(5)) for spec in (LSTM(features=H), AblatedLSTM(features=H))]
    xs = inputs().astype(jnp.float32)
    for results in (
        [jax.tree.leaves(cell) for cell in cells],
        [run(cell, xs) for cell in cells],
        [jax.tree.leaves(jax.grad(lambda cell: jnp.sum(run(cell, xs)[1]))(cell)) for cell in cells],
    ):
        jax.tree.map(np.testing.assert_array_equal, *results)


@pytest.mark.parametrize("without", PARTS)
def test_a_removed_gate_leaves_no_parameters(without):
    """G H (D + H + 1) of them: G = 3 where a gate is removed or made from another, else 4."""
    count = sum(leaf.size for leaf in jax.tree.leaves(build(without)))
    gates = 3 if without in ("forget gate", "input gate", "output gate", "independence") else 4
    assert count == gates * H * (D + H + 1)


@pytest.mark.slow
@pytest.mark.parametrize("without", PARTS)
def test_unroll_and_finite_differences_agree_with_plain_autodiff(without):
    cell, xs = build(without, **FLOAT64), inputs(9)

    def loss(way, cell):
        return jnp.sum(jnp.sin(way(cell, cell.initialize_carry((2, D)), xs)[1]))

    plain, fast = (jax.grad(lambda cell, way=way: loss(way, cell))(cell) for way in (jax.lax.scan, unroll))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), plain, fast)
    leaves, treedef = jax.tree.flatten(cell)
    direction = [jax.random.normal(jax.random.key(k), leaf.shape, leaf.dtype) for k, leaf in enumerate(leaves)]
    ends = [
        loss(unroll, treedef.unflatten([leaf + step * d for leaf, d in zip(leaves, direction, strict=True)]))
        for step in (1e-6, -1e-6)
    ]
    slope = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(fast), direction, strict=True))
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-6)


def flow(without, length=200):
    spec = AblatedLSTM(features=H, without=without)
    model = SequenceModel(spec, D, 1, rngs=nnx.Rngs(0))
    xs = inputs(length).astype(jnp.float32)
    return gradient_flow(model, xs, lambda outputs: outputs[-1, :, 0])["layer0/c cell path"].log10()


@pytest.mark.slow
def test_without_a_forget_gate_the_cell_path_keeps_its_norm_bit_exactly():
    """The constant error carousel of 1997: dc_t/dc_{t-1} = 1, so the adjoint of lag 199 is that of lag 0."""
    path = np.asarray(flow("forget gate"))
    np.testing.assert_array_equal(path, np.broadcast_to(path[:1], path.shape))
    whole = np.asarray(flow("nothing"))
    assert (whole[-1] < whole[0] - 10).all()  # with one, at bias 1, it is gone


@pytest.mark.parametrize("without", ["nothing", "linearity"])
def test_the_factor_of_the_cell_path_is_the_forget_gate_and_without_linearity_the_slope_too(without):
    """dc_t/dc_{t-1} at fixed z is diag(f), times 1 - c_t^2 where a tanh lies on the carry."""
    cell = build(without, **FLOAT64)
    c, h = (jax.random.normal(jax.random.key(k), (2, H), jnp.float64) for k in range(2))
    z = cell.project(h, inputs(1)[0])
    (new, _), (slope, _) = jax.jvp(lambda c: cell.update((c, h), z)[0], (c,), (jnp.ones_like(c),))
    expected = cell.gates(z)["f"] * (1 - new**2 if without == "linearity" else 1)
    np.testing.assert_allclose(slope, expected, rtol=1e-12)


def test_without_independence_input_and_forget_gate_sum_to_one_and_the_cell_state_is_bounded():
    """c_t is then a mean of c_{t-1} and g, so |c| < 1 at any time; without a forget gate it grows with T instead."""
    cell, xs = build("independence", **FLOAT64), jnp.ones((500, 2, D))
    gates = cell.gates(jax.random.normal(jax.random.key(0), (7, 3 * H), jnp.float64))
    assert list(gates) == ["i", "f", "g", "o"]
    np.testing.assert_allclose(gates["i"] + gates["f"], 1, rtol=1e-15)
    assert jnp.abs(run(cell, xs)[0]).max() < 1
    c, _ = run(build("forget gate", **FLOAT64), xs)
    late = jnp.abs(c[-1] - c[-251]).max()
    np.testing.assert_allclose(jnp.abs(c[-1] - c[0]).max(), 2 * late, rtol=0.05)  # in a straight line, without a bound
    assert late > 5


def test_gradient_paths_name_the_gates_that_are_left():
    model = SequenceModel(AblatedLSTM(features=H, without="forget gate"), D, 1, rngs=nnx.Rngs(0))
    paths = gradient_paths(model, inputs(6).astype(jnp.float32), lambda outputs: outputs[-1, :, 0])["layer0/c"].norms
    assert set(paths) == {"direct", "via i", "via g", "via o", "full"}
