"""The vanilla RNN, the LSTM and the GRU against NumPy and Flax, and how their weights are drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import GRU, LSTM, VanillaRNN
from rnnlab.scan.unroll import unroll

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}


@pytest.mark.parametrize("bias", ["constant", "chrono", "uniform"])
def test_biases_are_the_same_where_float64_is_enabled(bias):
    found = []
    for enabled in (False, True):
        with jax.enable_x64(enabled):
            found.append(np.asarray(LSTM(features=8, bias=bias).build(2, rngs=nnx.Rngs(0)).b[...]))
    np.testing.assert_array_equal(*found)


def numpy_rnn(w_x, w_h, b, xs, h):
    """Values and, by hand-written back-propagation through time, gradients of sum(ys * weights)."""
    hs = [h]
    for x in xs:
        hs.append(np.tanh(x @ w_x + hs[-1] @ w_h + b))

    def backward(weights):
        d_x, d_h, d_b, dh = np.zeros_like(w_x), np.zeros_like(w_h), np.zeros_like(b), np.zeros_like(h)
        for t in reversed(range(len(xs))):
            dz = (dh + weights[t]) * (1 - hs[t + 1] ** 2)
            d_x, d_h, d_b = d_x + xs[t].T @ dz, d_h + hs[t].T @ dz, d_b + dz.sum(0)
            dh = dz @ w_h.T
        return d_x, d_h, d_b

    return np.stack(hs[1:]), backward


def numpy_lstm(w_x, w_h, b, xs, c, h):
    """The same for the LSTM, gate by gate."""
    width = h.shape[-1]
    steps = []
    for x in xs:
        z = x @ w_x + h @ w_h + b
        zi, zf, zg, zo = (z[:, k * width : (k + 1) * width] for k in range(4))
        i, f, o = (1 / (1 + np.exp(-a)) for a in (zi, zf, zo))
        g = np.tanh(zg)
        new = f * c + i * g
        steps.append((c, h, i, f, g, o, new))
        c, h = new, o * np.tanh(new)

    def backward(weights):
        d_x, d_h, d_b = np.zeros_like(w_x), np.zeros_like(w_h), np.zeros_like(b)
        dh, dc = np.zeros_like(h), np.zeros_like(c)
        for t in reversed(range(len(xs))):
            before, h_before, i, f, g, o, now = steps[t]
            dh = dh + weights[t]
            dc = dc + dh * o * (1 - np.tanh(now) ** 2)
            dz = np.concatenate(
                [dc * g * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - g**2), dh * np.tanh(now) * o * (1 - o)],
                axis=1,
            )
            d_x, d_h, d_b = d_x + xs[t].T @ dz, d_h + h_before.T @ dz, d_b + dz.sum(0)
            dh, dc = dz @ w_h.T, dc * f
        return d_x, d_h, d_b

    return np.stack([o * np.tanh(now) for *_, o, now in steps]), backward


@pytest.mark.parametrize(("spec", "reference"), [(VanillaRNN, numpy_rnn), (LSTM, numpy_lstm)])
def test_values_and_gradients_equal_numpy(spec, reference):
    """1e-10 in float64."""
    cell = spec(features=5, **FLOAT64).build(3, rngs=nnx.Rngs(0))
    xs = np.random.default_rng(0).normal(size=(9, 2, 3))
    weights = np.random.default_rng(1).normal(size=(9, 2, 5))
    carry = cell.initialize_carry((2, 3))
    carry = jax.tree.map(lambda c: jnp.asarray(np.random.default_rng(2).normal(size=c.shape)), carry)
    parameters = [np.asarray(p[...]) for p in (cell.w_x, cell.w_h, cell.b)]
    ys, backward = reference(*parameters, xs, *map(np.asarray, jax.tree.leaves(carry)))
    np.testing.assert_allclose(jax.lax.scan(cell, carry, jnp.asarray(xs))[1], ys, rtol=1e-10)
    gradient = jax.grad(lambda cell: jnp.sum(jax.lax.scan(cell, carry, jnp.asarray(xs))[1] * weights))(cell)
    for got, want in zip((gradient.w_x, gradient.w_h, gradient.b), backward(weights), strict=True):
        np.testing.assert_allclose(got[...], want, rtol=1e-10, atol=1e-12)


def blocks(cell):
    return np.split(np.asarray(cell.w_h[...], np.float64), 4, axis=1)


def test_each_gate_has_an_orthogonal_recurrent_matrix_of_its_own():
    """Singular values 1, where a fused draw (`nnx.OptimizedLSTMCell`) leaves blocks far below it."""
    for block in blocks(LSTM(features=64).build(2, rngs=nnx.Rngs(0))):
        np.testing.assert_allclose(np.linalg.svd(block, compute_uv=False), 1, atol=1e-5)
    fused = nnx.OptimizedLSTMCell(2, 64, rngs=nnx.Rngs(0))
    kernel = np.asarray(fused.dense_h.kernel[...])
    assert np.linalg.svd(kernel[:, :64], compute_uv=False).min() < 0.2


def test_forget_bias_and_gate_order():
    """i, f, g, o: the second block of b is the forget gate's."""
    cell = LSTM(features=3, forget_bias=2.5).build(2, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(cell.b[...], [0, 0, 0, 2.5, 2.5, 2.5, 0, 0, 0, 0, 0, 0])


def test_chrono_biases_spread_time_scales_up_to_the_longest_lag():
    """b_f = log U[1, T_max - 1] gives forget gates whose time scale 1/(1-f) is uniform in [2, T_max] (T&O 2018)."""
    cell = LSTM(features=20_000, bias="chrono", max_lag=1000, recurrent="identity")
    b_f = np.asarray(cell._forget_biases(jax.random.key(0)), np.float64)
    scale = 1 + np.exp(b_f)  # 1 / (1 - sigmoid(b_f))
    assert scale.min() >= 2 and scale.max() <= 1000
    np.testing.assert_allclose(scale.mean(), 501, rtol=0.02)
    small = LSTM(features=8, bias="chrono", max_lag=50).build(2, rngs=nnx.Rngs(0)).b[...]
    np.testing.assert_array_equal(small[:8], -small[8:16])


def test_uniform_biases_give_uniform_forget_gates():
    b_f = LSTM(features=20_000, bias="uniform")._forget_biases(jax.random.key(0))
    gates = np.sort(np.asarray(jax.nn.sigmoid(b_f)))
    np.testing.assert_allclose(gates, np.linspace(0, 1, 20_000), atol=0.02)


@pytest.mark.parametrize("radius", [0.5, 1.0, 1.5])
def test_spectral_radius_is_what_was_asked_for(radius):
    w_h = VanillaRNN(features=32, recurrent="normal", spectral_radius=radius).build(2, rngs=nnx.Rngs(0)).w_h[...]
    np.testing.assert_allclose(np.abs(np.linalg.eigvals(np.asarray(w_h, np.float64))).max(), radius, rtol=1e-4)


def test_a_spec_gives_its_shapes_without_drawing():
    """What a program is compiled for is asked of an abstract build, of a matrix with a set radius too."""
    spec = VanillaRNN(features=6, recurrent="normal", spectral_radius=1.5)
    built = jax.eval_shape(lambda: spec.build(2, rngs=nnx.Rngs(0)).w_h[...])
    assert built.shape == (6, 6)


def test_identity_initialisation():
    cell = VanillaRNN(features=4, recurrent="identity", activation="relu").build(2, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(cell.w_h[...], np.eye(4))


def test_a_gru_is_flaxs_own_with_the_same_weights():
    """Flax's GRUCell resets after the recurrent product too; it has no bias there."""
    cell = GRU(features=5, update_bias=1.0, **FLOAT64).build(3, rngs=nnx.Rngs(0))
    b = jax.random.normal(jax.random.key(1), (20,), jnp.float64).at[15:].set(0)
    cell.b[...] = b
    theirs = nnx.GRUCell(3, 5, rngs=nnx.Rngs(0), dtype=jnp.float64, param_dtype=jnp.float64)
    theirs.dense_i.kernel[...], theirs.dense_h.kernel[...] = cell.w_x[...], cell.w_h[...]
    theirs.dense_i.bias[...] = b[:15]
    xs = jax.random.normal(jax.random.key(2), (7, 2, 3), jnp.float64)
    want = jax.lax.scan(theirs, jnp.zeros((2, 5)), xs)[1]
    np.testing.assert_allclose(jax.lax.scan(cell, cell.initialize_carry((2, 3)), xs)[1], want, rtol=1e-12)
    np.testing.assert_allclose(unroll(cell, cell.initialize_carry((2, 3)), xs)[1], want, rtol=1e-12)


def test_a_grus_hidden_candidate_bias_is_reset_with_its_product():
    """n = tanh(x w + b_x + r (h w + b_h)), the second bias of cuDNN and PyTorch: at r = 0 it is gone."""
    cell = GRU(features=2, update_bias=-50.0, **FLOAT64).build(3, rngs=nnx.Rngs(0))  # u = 0: h is n
    h, x = jnp.array([[0.3, -0.2]]), jnp.zeros((1, 3))
    cell.b[...] = cell.b[...].at[6:].set(7.0).at[:2].set(-50.0)
    np.testing.assert_allclose(cell(h, x)[1], 0, atol=1e-18)
    cell.b[...] = cell.b[...].at[:2].set(50.0)
    np.testing.assert_allclose(cell(h, x)[1], jnp.tanh(h @ cell.w_h[...][:, 4:] + 7.0), rtol=1e-12)
