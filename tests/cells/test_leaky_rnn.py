"""Leaky integrators: between a vanilla RNN, at leak 1, and a differential equation, at leak 0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import LeakyRNN, VanillaRNN
from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.flow import gradient_flow

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
D, H = 3, 5


def test_values_equal_numpy_with_a_leak_a_unit():
    cell = LeakyRNN(features=H, leak=0.8, slowest_leak=0.05, **FLOAT64).build(D, rngs=nnx.Rngs(0))
    w_x, w_h, b = (np.asarray(w[...]) for w in (cell.w_x, cell.w_h, cell.b))
    a = 0.8 * (0.05 / 0.8) ** (np.arange(H) / (H - 1))
    xs, h, want = np.random.default_rng(0).normal(size=(9, 2, D)), np.full((2, H), 0.3), []
    for x in xs:
        h = (1 - a) * h + a * np.tanh(x @ w_x + h @ w_h + b)
        want.append(h)
    got = jax.lax.scan(cell, jnp.full((2, H), 0.3), jnp.asarray(xs))[1]
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_with_a_leak_of_one_it_is_bit_exactly_a_vanilla_rnn():
    """Weights of the same seed, values and gradients."""
    xs, found = jax.random.normal(jax.random.key(1), (9, 2, D), jnp.float32), []
    for spec in (VanillaRNN(features=H), LeakyRNN(features=H, leak=1.0)):
        cell = spec.build(D, rngs=nnx.Rngs(3))
        run = jax.value_and_grad(lambda cell: jnp.sum(jax.lax.scan(cell, cell.initialize_carry((2, D)), xs)[1]))
        found.append(jax.tree.leaves((cell, run(cell))))
    jax.tree.map(np.testing.assert_array_equal, *found)


def test_what_stays_of_a_gradient_in_the_leak_is_one_minus_it_to_the_lag():
    model = SequenceModel(LeakyRNN(features=H, leak=0.1, **FLOAT64), D, 1, rngs=nnx.Rngs(0))
    xs = jax.random.normal(jax.random.key(1), (20, 2, D), jnp.float64)
    path = gradient_flow(model, xs, lambda outputs: outputs[-1, :, 0])["layer0/h cell path"].log10()
    np.testing.assert_allclose(path - path[0], np.log10(0.9) * np.arange(20)[:, None] * np.ones(2), atol=1e-12)


def test_small_leaks_follow_the_differential_equation():
    """Euler's steps of tau dh/dt = -h + tanh(w h + b), with a = dt / tau: half the leak is half the error."""
    errors, time = [], 2.0  # in units of tau
    for leak in (1e-2, 5e-3, 2.5e-4):
        cell = LeakyRNN(features=H, leak=leak, **FLOAT64).build(D, rngs=nnx.Rngs(0))
        h, _ = jax.lax.scan(cell, jnp.linspace(-1, 1, H)[None], jnp.zeros((round(time / leak), 1, D)))
        errors.append(np.asarray(h))
    coarse, fine = (np.abs(h - errors[-1]).max() for h in errors[:2])
    np.testing.assert_allclose(coarse / fine, (1e-2 - 2.5e-4) / (5e-3 - 2.5e-4), rtol=0.02)


def test_a_slowest_unit_that_is_faster_is_refused():
    with pytest.raises(ValueError, match=r"slowest_leak=0\.5: must be at most leak = 0\.1"):
        LeakyRNN(slowest_leak=0.5)
