"""Spectra of matrices whose spectra are known."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import nnx

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.probes.dynamics.weight_spectra import recurrent_spectra, spectrum


def test_an_orthogonal_matrix_is_normal_and_keeps_every_length():
    w = scipy.stats.ortho_group.rvs(40, random_state=0)
    np.testing.assert_allclose(spectrum(w), (1, 1, 0, 0), atol=1e-13)


def test_a_symmetric_matrix_is_normal():
    w = np.random.default_rng(0).normal(size=(20, 20))
    found = spectrum(w + w.T)
    np.testing.assert_allclose(found.radius, found.norm)
    np.testing.assert_allclose(found.departure, 0, atol=1e-12)


@pytest.mark.parametrize("a", [0.0, 0.9])
def test_a_jordan_block_is_the_least_normal(a):
    """a on the diagonal, 1 above it, n = 5: all eigenvalues a, so the departure is sqrt(n - 1) = 2."""
    found = spectrum(a * np.eye(5) + np.diag(np.ones(4), 1))
    np.testing.assert_allclose(found.radius, a, atol=1e-12)
    np.testing.assert_allclose(found.departure, 2)
    np.testing.assert_allclose(found.relative, 2 / math.sqrt(5 * a**2 + 4))
    if a == 0:
        np.testing.assert_allclose((found.norm, found.relative), 1)


def test_henricis_own_definition():
    w = np.random.default_rng(1).normal(size=(30, 30))
    found = spectrum(w)
    eigenvalues = np.linalg.eigvals(w)
    np.testing.assert_allclose(found.departure**2, (w**2).sum() - (np.abs(eigenvalues) ** 2).sum())
    np.testing.assert_allclose((found.radius, found.norm), (np.abs(eigenvalues).max(), np.linalg.svd(w)[1][0]))


def test_every_gate_of_a_cell():
    found = recurrent_spectra(LSTM(features=16).build(2, rngs=nnx.Rngs(0)))
    assert list(found) == ["i", "f", "g", "o"]
    for gate in found.values():  # orthogonal blocks in float32
        np.testing.assert_allclose(gate, (1, 1, 0, 0), atol=1e-5)
    lstm = LSTM(features=3).build(2, rngs=nnx.Rngs(0))
    lstm.w_h[...] = jnp.concatenate([k * jnp.eye(3, dtype=jnp.float32) for k in range(4)], axis=1)
    assert {name: gate.radius for name, gate in recurrent_spectra(lstm).items()} == {"i": 0, "f": 1, "g": 2, "o": 3}
    vanilla = VanillaRNN(features=16, recurrent="normal", spectral_radius=0.95).build(2, rngs=nnx.Rngs(0))
    (name, only), *_ = recurrent_spectra(vanilla).items()
    assert name == "h" and only.radius == pytest.approx(0.95, rel=1e-4) and only.norm > only.radius


def test_zero_nan_and_a_foreign_cell():
    assert spectrum(np.zeros((3, 3))) == (0, 0, 0, 0)
    assert spectrum(np.full((1, 1), -2.0)) == (2, 2, 0, 0)
    cell = VanillaRNN(features=3).build(2, rngs=nnx.Rngs(0))
    cell.w_h[...] = jnp.full((3, 3), jnp.nan)
    assert np.isnan(recurrent_spectra(cell)["h"]).all()
    foreign = nnx.OptimizedLSTMCell(2, 3, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="OptimizedLSTMCell has no projection"):
        recurrent_spectra(foreign)
    assert spectrum(np.asarray(foreign.dense_h.kernel[:, :3])).norm > 0
