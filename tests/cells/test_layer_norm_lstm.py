"""Layer normalisation in an LSTM: the paper's equations, and the invariances that it is for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import LSTM, LayerNormLSTM
from rnnlab.model import SequenceModel
from rnnlab.probes.dynamics.gates import gate_map
from rnnlab.probes.gradients.paths import gradient_paths

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
D, H, B = 3, 5, 2


@pytest.fixture
def cell():
    """With gains and biases of its own in every place."""
    cell = LayerNormLSTM(features=H, **FLOAT64).build(D, rngs=nnx.Rngs(0))
    for number, name in enumerate(("b", "gain_x", "gain_h", "gain_c", "b_c")):
        parameter = getattr(cell, name)
        parameter[...] = 1 + jax.random.normal(jax.random.key(number), parameter.shape, jnp.float64) / 2
    return cell


def inputs(length=9):
    return 2 * jax.random.normal(jax.random.key(9), (length, B, D), jnp.float64)


def run(cell, xs):
    """(c, h), [T, B, H] each."""

    def step(carry, x):
        carry, _ = cell(carry, x)
        return carry, carry

    return jax.lax.scan(step, cell.initialize_carry(xs.shape[1:]), xs)[1]


def normalised(v, gain):
    return gain * (v - v.mean(-1, keepdims=True)) / np.sqrt(v.var(-1, keepdims=True) + 1e-5)


def sigma(a):
    return 1 / (1 + np.exp(-a))


def test_a_step_is_the_papers_own(cell):
    """Equations 20 to 22, to 1e-12; the sums of all four gates are normalised together, those of x and of h apart."""
    w_x, w_h, b, a_x, a_h, a_c, b_c = (
        np.asarray(p[...]) for p in (cell.w_x, cell.w_h, cell.b, cell.gain_x, cell.gain_h, cell.gain_c, cell.b_c)
    )
    xs, c, h = inputs(), np.zeros((B, H)), np.zeros((B, H))
    for x, got_c, got_h in zip(np.asarray(xs), *map(np.asarray, run(cell, xs)), strict=True):
        i, f, g, o = np.split(normalised(h @ w_h, a_h) + normalised(x @ w_x, a_x) + b, 4, axis=-1)
        c = sigma(f) * c + sigma(i) * np.tanh(g)
        h = sigma(o) * np.tanh(normalised(c, a_c) + b_c)
        np.testing.assert_allclose(got_c, c, rtol=1e-12)
        np.testing.assert_allclose(got_h, h, rtol=1e-12)


def test_it_starts_with_the_weights_of_an_lstm_of_the_same_seed():
    one, two = (spec(features=H, bias="uniform").build(D, rngs=nnx.Rngs(3)) for spec in (LSTM, LayerNormLSTM))
    for name in ("w_x", "w_h", "b"):
        np.testing.assert_array_equal(getattr(one, name)[...], getattr(two, name)[...])
    assert sum(leaf.size for leaf in jax.tree.leaves(two)) == 4 * H * (D + H + 1) + 2 * 4 * H + 2 * H


def test_scaled_and_shifted_weights_change_nothing(cell):
    """Section 5.1, table 1: invariant to the scale of a weight matrix and to a shift of all its columns by one vector.

    To the constant beside the variance, which is taken to be small.
    """
    xs = inputs()
    cell.w_x[...], cell.w_h[...] = 1e3 * cell.w_x[...], 1e3 * cell.w_h[...]
    _, before = run(cell, xs)
    for w in (cell.w_x, cell.w_h):
        shift = 1e3 * jax.random.normal(jax.random.key(1), (len(w[...]), 1), jnp.float64)
        w[...] = 7 * w[...] + shift
    np.testing.assert_allclose(run(cell, xs)[1], before, rtol=1e-4)  # 1e-5 of variances of 1e4 and more


@pytest.mark.slow
def test_the_carousel_is_not_normalised(cell):
    """The direct path is the product of forget gates, as in an LSTM; each gate has columns in both halves of z."""
    model = SequenceModel(LayerNormLSTM(features=H, **FLOAT64), D, 1, rngs=nnx.Rngs(0))
    model.cells[0] = cell
    xs = inputs(6)
    paths = jax.jit(gradient_paths, static_argnums=2)(model, xs, lambda outputs: outputs[-1, :, 0])["layer0/c"].norms
    assert set(paths) == {"direct", "via i", "via f", "via g", "via o", "full"}
    found = jax.jit(lambda m, xs: m.intermediates(xs))(model, xs)
    f, o, c = (found[f"layer0/{name}"] for name in "foc")

    def loss(c):
        deviation = c - c.mean(-1, keepdims=True)
        read = cell.gain_c[...] * deviation / jnp.sqrt(jnp.mean(deviation**2, -1, keepdims=True) + 1e-5) + cell.b_c[...]
        return jnp.sum(model.readout(o[-1] * jnp.tanh(read)))

    d = np.asarray(jax.grad(loss)(c[-1]))
    for lag in range(6):
        np.testing.assert_allclose(
            10 ** np.asarray(paths["direct"].log10())[lag], np.linalg.norm(d, axis=1), rtol=1e-10
        )
        d = d * np.asarray(f[-1 - lag])
    gates = jax.jit(gate_map)(model, xs)  # which are gates is settled though they read gains
    assert set(gates.saturation) == {"i", "f", "o"}
    np.testing.assert_allclose(gates.tau, -1 / np.log(f).mean((0, 1)), rtol=1e-10)
