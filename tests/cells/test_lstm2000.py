"""The LSTM of 2000: its weight count, its learning rule by forward traces, and what a forget gate does to a block."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import LSTM1997, LSTM2000
from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.paths import gradient_paths

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
D, H, N, K = 3, 4, 2, 2


def model(gradient="truncated", **more):
    spec = LSTM2000(features=H, gradient=gradient, init_range=0.5, **FLOAT64, **more)
    return SequenceModel(spec, D, K, rngs=nnx.Rngs(0))


def test_the_reber_network_has_its_424_weights():
    """7 inputs, 4 blocks of 2 cells: 312 are the cells'; 7 outputs that read inputs, cells and a bias have the rest."""
    cell = jax.eval_shape(lambda: LSTM2000(features=8).build(7, rngs=nnx.Rngs(0)))
    own = sum(leaf.size for leaf in jax.tree.leaves(cell))
    assert own == 312
    assert own + 7 * (7 + 8 + 1) == 424


def test_biases_are_set_block_by_block_and_the_rest_is_drawn_from_the_stated_range():
    low, high = (-0.5, -1.0, -1.5, -2.0), (0.5, 1.0, 1.5, 2.0)
    spec = LSTM2000(features=8, input_biases=low, forget_biases=high, output_biases=low, init_range=0.2)
    cell = spec.build(7, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(cell.b[...], [*low, *high, *low])
    drawn = np.concatenate([np.asarray(w[...]).ravel() for w in (cell.w_x, cell.w_h)])
    assert 0.19 < np.abs(drawn).max() <= 0.2
    np.testing.assert_array_equal(cell.projection()[2], [*low, *high, *low, *[0] * 8])  # cell inputs have none
    assert LSTM2000(features=8, biased="all units").build(7, rngs=nnx.Rngs(0)).b.shape == (20,)
    assert spec.readout_options()["use_bias"]
    with pytest.raises(ValueError, match=r"forget_biases=\(1.0,\): one a block, so 4, or none"):
        LSTM2000(features=8, forget_biases=(1.0,))


def sigma(x):
    return 1 / (1 + np.exp(-x))


def traces(cell, readout, xs, d_out):
    """(outputs, gradient [D + H + 1, Z] of all units' weights) of one sequence by the paper's partial derivatives.

    Equations 3.10 to 3.12 carry ds/dw forwards and multiply it by the forget gate; that of an output gate needs no
    trace. `d_out` [T, K] is dL/d(outputs) at every step.
    """
    w_x, w_h, b = (np.asarray(w) for w in cell.projection())
    w = np.concatenate([w_x, w_h, b[None]])
    size, d_w, outputs = H // N, np.zeros_like(w), []
    s, y = np.zeros(H), np.zeros(H)
    by_in, by_forget, by_cell = (np.zeros((H, len(w))) for _ in range(3))
    for x, d in zip(xs, d_out, strict=True):
        source = np.concatenate([x, y, [1.0]])
        net = source @ w
        y = np.zeros(H)
        for v in range(H):
            block = v // size
            i, f, o = (sigma(net[n * N + block]) for n in range(3))
            u = sigma(net[3 * N + v])
            g, slope = 4 * u - 2, 4 * u * (1 - u)
            by_in[v] = f * by_in[v] + g * i * (1 - i) * source
            by_forget[v] = f * by_forget[v] + s[v] * f * (1 - f) * source
            by_cell[v] = f * by_cell[v] + i * slope * source
            s[v] = f * s[v] + i * g
            r = 2 * sigma(s[v]) - 1
            y[v] = o * r
            e = readout[v] @ d
            e_s = e * o * 2 * sigma(s[v]) * (1 - sigma(s[v]))
            d_w[:, block] += e_s * by_in[v]
            d_w[:, N + block] += e_s * by_forget[v]
            d_w[:, 2 * N + block] += e * r * o * (1 - o) * source
            d_w[:, 3 * N + v] += e_s * by_cell[v]
        outputs.append(y @ readout)
    return np.stack(outputs), d_w


@pytest.mark.parametrize("answers", [1, 7])
def test_the_truncated_gradient_is_the_papers_learning_rule(answers):
    """1e-10 in float64, outputs and gradients, with an error at the end alone and at every step."""
    net = model(biased="all units")
    xs = np.random.default_rng(0).normal(size=(7, D))
    d_out = np.random.default_rng(1).normal(size=(7, K)) * (np.arange(7) >= 7 - answers)[:, None]
    outputs, d_w = traces(net.cells[0], np.asarray(net.readout.kernel[...], np.float64), xs, d_out)

    def loss(net):
        found = net(jnp.asarray(xs)[:, None], answers=answers)[:, 0]
        return jnp.sum(found * d_out[7 - answers :]), found

    (_, found), got = jax.jit(jax.value_and_grad(loss, has_aux=True))(net)
    np.testing.assert_allclose(found - np.asarray(net.readout.bias[...]), outputs[7 - answers :], rtol=1e-10)
    cell = got.cells[0]
    for mine, theirs in zip((cell.w_x, cell.w_h, cell.b), (d_w[:D], d_w[D:-1], d_w[-1]), strict=True):
        np.testing.assert_allclose(mine[...], theirs, rtol=1e-10, atol=1e-14)


def test_a_block_shares_its_gates_and_the_direct_path_is_their_product():
    """dc_T/dc_{T-k} at fixed z is the product of the block's forget gates, for each of its cells."""
    net = model("full")
    xs = jax.random.normal(jax.random.key(0), (6, 2, D), jnp.float64)
    found = jax.jit(lambda net, xs: net.intermediates(xs))(net, xs)
    i, f, o = (np.asarray(found[f"layer0/{gate}"]) for gate in "ifo")
    for gate in (i, f, o):
        np.testing.assert_array_equal(gate[..., 0::2], gate[..., 1::2])
    paths = jax.jit(gradient_paths, static_argnums=2)(net, xs, lambda outputs: outputs[-1, :, 0])["layer0/c"].norms
    assert set(paths) == {"direct", "via i", "via f", "via o", "via g", "full"}
    r = 2 * sigma(np.asarray(found["layer0/c"][-1])) - 1
    d = np.asarray(net.readout.kernel[...])[:, 0] * o[-1] * (1 - r**2) / 2
    for lag in range(6):
        np.testing.assert_allclose(
            10 ** np.asarray(paths["direct"].log10())[lag], np.linalg.norm(d, axis=1), rtol=1e-10
        )
        d = d * f[-1 - lag]


def test_with_open_forget_gates_and_no_weights_from_gates_it_is_the_lstm_of_1997():
    """At a forget bias of 50 sigmoid is 1 to float64's rounding; the 1997 gates' own outputs are not read."""
    new = LSTM2000(features=H, forget_biases=(50.0, 50.0), **FLOAT64).build(D, rngs=nnx.Rngs(0))
    old = LSTM1997(features=H, **FLOAT64).build(D, rngs=nnx.Rngs(0))
    kept = np.r_[:N, 2 * N : 3 * N + H]
    new.w_x[...], new.w_h[...] = (w[...].at[:, N : 2 * N].set(0) for w in (new.w_x, new.w_h))
    old.w_x[...], old.w_h[...], old.w_g[...] = new.w_x[...][:, kept], new.w_h[...][:, kept], 0 * old.w_g[...]
    old.b[...] = jnp.concatenate([new.b[...][:N], new.b[...][2 * N :], jnp.zeros(H)])
    xs = jax.random.normal(jax.random.key(0), (9, 2, D), jnp.float64)
    ys = [jax.lax.scan(cell, cell.initialize_carry((2, D)), xs)[1] for cell in (new, old)]
    np.testing.assert_allclose(*ys, rtol=1e-12)
