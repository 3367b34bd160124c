"""An antisymmetric recurrent matrix: the derivative's eigenvalues are imaginary, and a step's lie near 1."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import AntisymmetricRNN, GatedAntisymmetricRNN

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
D, H = 3, 6
BOTH = pytest.mark.parametrize("spec", [AntisymmetricRNN, GatedAntisymmetricRNN])


def matrix(triangle, gamma):
    """W - W^T - gamma I, entry by entry."""
    w, entries = np.zeros((H, H)), iter(np.asarray(triangle))
    for row in range(H):
        for column in range(row + 1, H):
            w[row, column] = next(entries)
    return w - w.T - gamma * np.eye(H)


def jacobian(cell, h, x):
    return np.asarray(jax.jacobian(lambda h: cell(h, x)[0])(h))


@BOTH
def test_values_equal_numpy(spec):
    cell = spec(features=H, epsilon=0.3, gamma=0.2, **FLOAT64).build(D, rngs=nnx.Rngs(0))
    cell.b[...] = jax.random.normal(jax.random.key(1), cell.b.shape, jnp.float64)
    w_x, w_h, b = np.asarray(cell.w_x[...]), matrix(cell.w_h[...], 0.2), np.asarray(cell.b[...])
    xs, h, want = np.random.default_rng(0).normal(size=(9, 2, D)), np.full((2, H), 0.3), []
    for x in xs:
        of_x, of_h = x @ w_x + b, h @ w_h
        if spec is AntisymmetricRNN:
            h = h + 0.3 * np.tanh(of_x + of_h)
        else:  # equation 13: both read h through one matrix
            h = h + 0.3 / (1 + np.exp(-(of_x[:, :H] + of_h))) * np.tanh(of_x[:, H:] + of_h)
        want.append(h)
    got = jax.lax.scan(cell, jnp.full((2, H), 0.3), jnp.asarray(xs))[1]
    np.testing.assert_allclose(got, want, rtol=1e-12)


@BOTH
def test_without_diffusion_the_derivative_has_imaginary_eigenvalues_at_any_state(spec):
    """A diagonal matrix times an antisymmetric one (appendix B); the gate adds a second such term. So |1 + epsilon l|
    of a step is 1 to second order in epsilon, and each singular value 1 to first."""
    for epsilon in (0.1, 0.01):
        cell = spec(features=H, epsilon=epsilon, gamma=0.0, **FLOAT64).build(D, rngs=nnx.Rngs(0))
        h, x = (2 * jax.random.normal(jax.random.key(k), (n,), jnp.float64) for k, n in enumerate((H, D)))
        step = jacobian(cell, h, x)
        eigenvalues = np.linalg.eigvals((step - np.eye(H)) / epsilon)
        assert np.abs(eigenvalues.imag).max() > 0.1
        np.testing.assert_allclose(eigenvalues.real, 0, atol=1e-10)
        reach = np.linalg.norm(matrix(cell.w_h[...], 0.0), 2)
        assert np.abs(np.linalg.svd(step, compute_uv=False) - 1).max() < 2 * epsilon * reach


def test_diffusion_keeps_from_growing_what_an_euler_step_stretches():
    """At h = 0 both singular values of the paper's two-dimensional example are |1 - epsilon gamma + 2 i epsilon|."""
    for gamma in (0.0, 0.15, 0.25):
        cell = AntisymmetricRNN(features=2, epsilon=0.1, gamma=gamma, **FLOAT64).build(1, rngs=nnx.Rngs(0))
        cell.w_h[...] = jnp.array([-2.0])
        step = jacobian(cell, jnp.zeros(2), jnp.zeros(1))
        want = np.abs(1 - 0.1 * gamma + 0.2j)
        np.testing.assert_allclose(np.linalg.svd(step, compute_uv=False), want, rtol=1e-12)
    assert want < 1 < np.abs(1 + 0.2j)


def test_half_a_matrix_of_parameters_and_the_papers_count():
    """128 units on pixel MNIST and ten classes: 10k in the paper's table 1, with and without the gate."""
    for spec, biases in ((AntisymmetricRNN, 1), (GatedAntisymmetricRNN, 2)):
        cell = spec(features=128).build(1, rngs=nnx.Rngs(0))
        count = sum(leaf.size for leaf in jax.tree.leaves(cell))
        assert count == 128 * 127 // 2 + 2 * 128 * biases
        assert round((count + 129 * 10) / 1000) == 10
        assert np.asarray(cell.w_h[...]).std() == pytest.approx(128**-0.5, rel=0.05)
    assert AntisymmetricRNN(features=1).build(1, rngs=nnx.Rngs(0)).recurrent_matrix() == -jnp.float32(0.15)
