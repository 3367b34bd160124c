"""Affine recurrences and the damped step by a Kalman smoother, against loops and dense algebra."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.scan.affine import Diagonal, Full, affine_recurrence
from rnnlab.scan.kalman import damped_step


@pytest.mark.parametrize("kind", [Full(), Diagonal()])
def test_a_damped_step_minimises_its_sum_of_squares(kind):
    """Against the normal equations of each sequence, at a damping of its own."""
    keys = jax.random.split(jax.random.key(0))
    full = jax.random.normal(keys[0], (7, 2, 3, 3), jnp.float64)
    residuals = jax.random.normal(keys[1], (7, 2, 3), jnp.float64)
    jacobians = full if isinstance(kind, Full) else full[..., 0]
    got = jax.jit(functools.partial(damped_step, kind))(jacobians, residuals, jnp.array([1e-6, 3.0]))
    for b, damping in enumerate([1e-6, 3.0]):
        whole = np.eye(21)
        for t in range(1, 7):
            block = full[t, b] if isinstance(kind, Full) else np.diag(full[t, b, :, 0])
            whole[3 * t : 3 * t + 3, 3 * t - 3 : 3 * t] = -block
        want = np.linalg.solve(whole.T @ whole + damping * np.eye(21), -whole.T @ np.ravel(residuals[:, b]))
        np.testing.assert_allclose(np.ravel(got[:, b]), want, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("reverse", [False, True])
def test_an_affine_recurrence_is_its_loop(reverse):
    keys = jax.random.split(jax.random.key(0))
    matrices = jax.random.normal(keys[0], (6, 2, 3, 3), jnp.float64)
    additions = jax.random.normal(keys[1], (6, 2, 3), jnp.float64)
    v, want = np.zeros((2, 3)), []
    for t in reversed(range(6)) if reverse else range(6):
        v = np.einsum("bij,bj->bi", matrices[t], v) + additions[t]
        want.append(v)
    got = affine_recurrence(Full(), matrices, additions, reverse=reverse)
    np.testing.assert_allclose(got, want[:: -1 if reverse else 1], rtol=1e-12)


def test_the_inverse_of_positive_definite_matrices():
    """Also of one whose condition is 1e8, to the digits that leaves."""
    factors = jax.random.normal(jax.random.key(0), (3, 2, 5, 5), jnp.float64) * jnp.geomspace(1e-4, 1, 5)[:, None]
    matrices = factors @ jnp.swapaxes(factors, -1, -2)
    np.testing.assert_allclose(Full().inverse(matrices) @ matrices, np.broadcast_to(np.eye(5), (3, 2, 5, 5)), atol=1e-4)
