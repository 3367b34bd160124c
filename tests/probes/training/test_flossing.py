"""Gradient flossing: its exponents are the Lyapunov exponents, and it brings them to 0."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.probes.dynamics.lyapunov import lyapunov_spectrum
from rnnlab.probes.training.flossing import flosser, flossing_loss, leading_exponents

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}


def inputs(key, length=60, batch=2):
    return jax.random.normal(key, (length, batch, 2))


def test_a_scaled_identity_has_k_equal_exponents():
    """W = aI and no nonlinearity: every exponent is log a, so the loss is k log^2 a."""
    cell = VanillaRNN(features=5, activation="linear", recurrent="identity", **FLOAT64).build(2, rngs=nnx.Rngs(0))
    cell.w_h[...] = 0.7 * jnp.eye(5)
    np.testing.assert_allclose(leading_exponents(cell, inputs(jax.random.key(0)), 3), np.log(0.7), rtol=1e-12)
    np.testing.assert_allclose(flossing_loss(cell, inputs(jax.random.key(0)), 3), 3 * np.log(0.7) ** 2, rtol=1e-12)


def test_its_exponents_are_those_of_the_spectrum():
    cell = LSTM(features=4, **FLOAT64).build(2, rngs=nnx.Rngs(0))
    xs = inputs(jax.random.key(1))
    want = lyapunov_spectrum(cell, xs, k=4, warmup=0).exponents
    np.testing.assert_allclose(np.sort(leading_exponents(cell, xs, 4))[:, ::-1], want, atol=1e-6)


def test_flossing_brings_the_exponents_to_zero():
    cell = VanillaRNN(features=12, spectral_radius=0.5, **FLOAT64).build(2, rngs=nnx.Rngs(0))
    xs = inputs(jax.random.key(2))
    before = flossing_loss(cell, xs, 4)
    after = flossing_loss(flosser(inputs, steps=150, k=4, learning_rate=1e-2)(cell, jax.random.key(3)), xs, 4)
    assert before > 0.5 and after < 0.05 * before
