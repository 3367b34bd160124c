"""How many Newton iterations are predicted: closed forms, and what small networks need."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.probes.dynamics.parallelizability import (
    first_error,
    log_conditioning,
    parallelizability,
    predicted_iterations,
)
from rnnlab.scan.parallel import solve_in_parallel

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}


@pytest.mark.parametrize("exponent", [-2.0, -0.1, -1e-9, 0.0, 1e-9, 0.3])
def test_the_condition_is_the_norm_of_the_inverse_of_a_scalar_recurrence(exponent):
    """Rows of the inverse of 1 - e^lambda shift add up to 1 + e^lambda + ...: its norm from maxima to maxima."""
    length = 60
    inverse = np.linalg.inv(np.eye(length) - np.diag(np.full(length - 1, math.exp(exponent)), -1))
    np.testing.assert_allclose(log_conditioning(exponent, length), np.log(np.abs(inverse).sum(axis=1).max()), rtol=1e-6)


def test_the_condition_of_a_long_chaotic_sequence_does_not_overflow():
    np.testing.assert_allclose(log_conditioning(0.5, 100_000), 0.5 * 99_999 - math.log(-math.expm1(-0.5)), rtol=1e-9)


def memory_by_a_loop(exponents, length):
    memory, largest = 0.0, 0.0
    for exponent in np.repeat(exponents, length // len(exponents)):
        memory = 1 + math.exp(min(exponent, 0)) * memory
        largest = max(memory, largest)
    return largest


@pytest.mark.parametrize("exponents", [[-0.7], [-0.02], [0.0], [0.4], [0.4, -0.5, -0.5, -0.5], [-0.5, 0.1, -0.1, -3.0],
                                       [-math.inf, -0.2, -math.inf, 0.0]])  # fmt: skip
def test_outside_the_basin_iterations_are_as_many_as_steps_that_count(exponents):
    want = min(200, math.ceil(1 + memory_by_a_loop(exponents, 200) - 1e-9))
    assert predicted_iterations(jnp.array(exponents), 200) == want
    assert predicted_iterations(jnp.array(exponents), 200, first_error=math.inf) == want


def test_forgetting_networks_need_the_same_at_any_length_and_others_all_of_it():
    assert predicted_iterations(-0.1, 1000) == predicted_iterations(-0.1, 10**6) == math.ceil(1 + 1 / -math.expm1(-0.1))
    assert predicted_iterations(0.1, 1000) == 1000 and predicted_iterations(0.0, 10**6) == 10**6


@pytest.mark.parametrize("left", [1e-12, 1e-3, 0.1, 0.5, 0.9])
def test_in_the_basin_errors_are_squared(left):
    """e <- q e^2 from e = 1 falls below the tolerance in just as many iterations."""
    error, iterations = 1.0, 0
    while error > 1e-5:
        error, iterations = left * error**2, iterations + 1
    assert predicted_iterations(-1e-3, 10**6, first_error=left, tolerance=1e-5) == iterations


def test_a_linear_map_leaves_no_error_and_needs_one_iteration():
    cell = VanillaRNN(features=4, activation="linear", spectral_radius=1.3, **FLOAT64).build(2, rngs=nnx.Rngs(0))
    found = parallelizability(cell, jax.random.normal(jax.random.key(0), (40, 2, 2)))
    assert (found.iterations == 1).all() and (found.first_error < 1e-12).all()


def test_the_first_error_is_that_of_the_first_iterate():
    """The first iterate by dense algebra on the whole trajectory of tanh units."""
    cell = VanillaRNN(features=3, **FLOAT64).build(2, rngs=nnx.Rngs(0))
    xs, start = jax.random.normal(jax.random.key(0), (7, 1, 2)), jnp.full((1, 3), 0.5)
    states = np.asarray(jax.lax.scan(cell, start, xs)[1])[:, 0]
    w_x, w_h, b = map(np.asarray, cell.projection())
    before = np.zeros((7, 3))
    before[0] = start[0]
    values = np.tanh(np.asarray(xs)[:, 0] @ w_x + before @ w_h + b)
    whole = np.eye(21)
    for t in range(1, 7):
        whole[3 * t : 3 * t + 3, 3 * t - 3 : 3 * t] = -(1 - values[t] ** 2)[:, None] * w_h.T
    iterate = np.linalg.solve(whole, values.ravel()).reshape(7, 3)
    want = np.abs(iterate - states).max() / np.abs(states).max()
    np.testing.assert_allclose(first_error(cell, xs, carry=start), [want], rtol=1e-9)


def needed(cell, xs):
    """(predicted, needed) of each sequence."""
    carry = cell.initialize_carry(xs.shape[1:])
    return parallelizability(cell, xs).iterations, solve_in_parallel(cell, carry, xs, most=len(xs) + 1).iterations


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "low", "high"), [
    (VanillaRNN(features=8, recurrent="normal", spectral_radius=0.7, **FLOAT64), 2, 5),
    (VanillaRNN(features=16, recurrent="normal", spectral_radius=4.0, **FLOAT64), 40, 81),
    (LSTM(features=4, **FLOAT64), 3, 6),
])  # fmt: skip
def test_contracting_networks_need_few_iterations_chaotic_ones_about_T(spec, low, high):
    """And as many as predicted: to 1 in the basin, to a factor of 3 out of it."""
    cell = spec.build(2, rngs=nnx.Rngs(1))
    xs = 0.1 * jax.random.normal(jax.random.key(0), (80, 2, 2))
    predicted, found = jax.jit(needed)(cell, xs)
    assert ((low <= found) & (found <= high)).all()
    apart = np.abs(np.log(predicted / found))
    assert (np.abs(predicted - found) <= 1).all() if high < 10 else (apart <= math.log(3)).all()


def test_nan_weights_predict_nan_and_a_dead_network_few():
    cell = VanillaRNN(features=3, activation="relu", **FLOAT64).build(2, rngs=nnx.Rngs(0))
    cell.b[...] = -10 * jnp.ones(3)
    xs = jnp.ones((40, 1, 2))
    assert parallelizability(cell, xs).iterations == 1
    cell.b[0] = jnp.nan
    assert np.isnan(parallelizability(cell, xs).iterations).all()
