"""dy_T/dx_t in closed form, against jax.jacobian, and far below float32's range."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.model import SequenceModel
from rnnlab.probes.gradients import sensitivity as probe

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
sensitivity, compiled = jax.jit(probe.sensitivity), jax.jit(probe.sensitivity_by_input)


def by_input(model, xs):
    """log10 [T, B, D]."""
    return np.stack([norm.log10() for norm in compiled(model, xs)], axis=-1)


def linear(a, dtype="float64"):
    spec = VanillaRNN(
        features=4, activation="linear", recurrent="identity", spectral_radius=a, dtype=dtype, param_dtype=dtype
    )
    return SequenceModel(spec, 2, 3, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("a", [0.5, 1.25])
def test_a_linear_network_with_w_equal_a_i(a):
    """dy_T/dx_{T-k} = a^k w_x R: its norm is a^k ||w_x R||_F, that of component d a^k ||(w_x R)_d||."""
    model = linear(a)
    rows = np.asarray(model.cells[0].w_x[...] @ model.readout.kernel[...])
    powers = a ** np.arange(50.0)
    xs = jax.random.normal(jax.random.key(0), (50, 2, 2))
    want = np.repeat(powers[:, None] * np.linalg.norm(rows), 2, axis=1)
    np.testing.assert_allclose(10 ** sensitivity(model, xs).log10(), want, rtol=1e-10)
    each = powers[:, None, None] * np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(10 ** by_input(model, xs), np.repeat(each, 2, axis=1), rtol=1e-10)


def test_no_underflow_at_lag_20_000():
    """a = .5 in float32: 2^-20000 there."""
    log10 = sensitivity(linear(0.5, "float32"), jnp.zeros((20_001, 1, 2), jnp.float32)).log10()[:, 0]
    np.testing.assert_allclose(log10 - log10[0], -np.arange(20_001) * np.log10(2), atol=1e-6)


@pytest.mark.parametrize("between", [1e-30, 1e30])
def test_three_layers_60_decades_apart(between):
    """w_h = aI in each and w_x = between I above: dy_T/dx_{T-k} = C(k + 2, 2) a^k between^2 w_x R, in float32."""
    spec = VanillaRNN(features=4, activation="linear", recurrent="identity", spectral_radius=0.5)
    model = SequenceModel(spec, 2, 3, layers=3, rngs=nnx.Rngs(0))
    for cell in model.cells[1:]:
        cell.w_x[...] = between * jnp.eye(4, dtype=jnp.float32)
    rows = np.asarray(model.cells[0].w_x[...] @ model.readout.kernel[...], np.float64)
    k = np.arange(400)
    want = np.log10((k + 2) * (k + 1) / 2) - k * np.log10(2) + 2 * np.log10(between) + np.log10(np.linalg.norm(rows))
    found = sensitivity(model, jnp.zeros((400, 1, 2), jnp.float32)).log10()[:, 0]
    np.testing.assert_allclose(found, want, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "layers"), [(VanillaRNN, 1), (LSTM, 2), ("flax", 1)])
def test_equals_the_jacobian(cell, layers):
    """Against jax.jacobian of the whole model, of each example by itself, for Flax's own cell too."""
    spec = LSTM(features=4, **FLOAT64) if cell == "flax" else cell(features=4, **FLOAT64)
    model = SequenceModel(spec, 2, 3, layers=layers, rngs=nnx.Rngs(1))
    if cell == "flax":
        model.cells[0] = nnx.OptimizedLSTMCell(2, 4, rngs=nnx.Rngs(0), dtype=jnp.float64, param_dtype=jnp.float64)
    xs = jax.random.normal(jax.random.key(0), (8, 2, 2))
    jacobian = jax.jit(jax.jacobian(lambda xs: model(xs, answers=1)[0]))(xs)  # [B, K, T, B, D]
    own = np.stack([jacobian[b, :, :, b] for b in range(2)], axis=2)[:, ::-1]  # [K, T, B, D], lag 0 first
    np.testing.assert_allclose(10 ** sensitivity(model, xs).log10(), np.linalg.norm(own, axis=(0, 3)), rtol=1e-9)
    np.testing.assert_allclose(10 ** by_input(model, xs), np.linalg.norm(own, axis=0), rtol=1e-9)


def test_one_step_a_blind_input_and_nan():
    model = linear(0.9)
    assert sensitivity(model, jnp.zeros((1, 2, 2))).log10().shape == (1, 2)
    model.cells[0].w_x[...] = model.cells[0].w_x[...].at[1].set(0)
    log10 = by_input(model, jnp.zeros((5, 2, 2)))
    assert np.isfinite(log10[..., 0]).all() and np.isneginf(log10[..., 1]).all()
    model.readout.kernel[...] = 0 * model.readout.kernel[...]
    assert np.isneginf(sensitivity(model, jnp.zeros((5, 2, 2))).log10()).all()
    model.cells[0].w_h[...] = model.cells[0].w_h[...].at[0, 0].set(jnp.nan)
    model.readout.kernel[...] = 1 + model.readout.kernel[...]
    assert np.isnan(sensitivity(model, jnp.zeros((5, 2, 2))).log10()[1:]).all()
