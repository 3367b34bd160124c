"""Lyapunov spectra against maps whose exponents are known, and against the determinants of a cell's Jacobians."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.probes.dynamics import lyapunov as probe
from rnnlab.probes.dynamics.lyapunov import kaplan_yorke, spectrum

STATIC = ("k", "warmup", "blocks", "every")
lyapunov_spectrum = jax.jit(probe.lyapunov_spectrum, static_argnames=STATIC)
FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}


def of_map(step, state, length, **settings):
    return jax.jit(lambda state: spectrum(step, state, jnp.arange(length), **settings))(state)


def linear_cell(matrix):
    """h_t = h_{t-1} matrix."""
    cell = VanillaRNN(features=len(matrix), activation="linear", **FLOAT64).build(1, rngs=nnx.Rngs(0))
    cell.w_h[...] = jnp.asarray(matrix)
    return cell


@pytest.mark.parametrize("every", [1, 16])
def test_a_linear_map_has_the_logs_of_its_eigenvalues_moduli(every):
    moduli = np.array([1.3, 0.9, 0.4, 1e-3])
    basis = np.random.default_rng(0).normal(size=(4, 4))
    matrix = basis @ np.diag(moduli * [1, -1, 1, 1]) @ np.linalg.inv(basis)
    found = lyapunov_spectrum(linear_cell(matrix), jnp.zeros((400, 1, 1)), every=every, warmup=200)
    np.testing.assert_allclose(found.exponents[0], np.log(moduli), atol=1e-8 if every == 1 else 1e-6)
    np.testing.assert_allclose(found.standard_error[0], 0, atol=1e-6)


def test_a_growth_beyond_the_range_of_float64_in_a_few_steps():
    """1e120 and 1e119, or their inverses: the third step would overflow or underflow, so QR comes in time."""
    for values in ([1e120, 1e119], [1e-119, 1e-120]):
        found = lyapunov_spectrum(linear_cell(np.diag(values)), jnp.zeros((60, 1, 1)), warmup=30)
        np.testing.assert_allclose(found.exponents[0], np.log(values), rtol=1e-9)


def test_the_logistic_map_at_4_has_ln_2():
    found = of_map(lambda x, _: 4 * x * (1 - x), jnp.float64(0.3), 100_000)
    assert found.exponents.shape == (1,) and found.running.shape == (10, 1)
    np.testing.assert_allclose(found.exponents[0], math.log(2), atol=2e-3)
    assert found.standard_error[0] < 2e-3


def henon(state, _):
    return {"x": 1 - 1.4 * state["x"] ** 2 + state["y"], "y": 0.3 * state["x"]}


def test_the_henon_map():
    """Exponents .419 and ln .3 - .419 (det J = -.3 everywhere), dimension 1.26 (Henon 1976's a = 1.4, b = .3)."""
    found = of_map(henon, {"x": jnp.float64(0.1), "y": jnp.float64(0.1)}, 100_000)
    np.testing.assert_allclose(found.exponents[0], 0.419, atol=3e-3)
    np.testing.assert_allclose(found.exponents.sum(), math.log(0.3), rtol=1e-7)  # every=1: to rounding
    np.testing.assert_allclose(kaplan_yorke(found.exponents), 1.258, atol=3e-3)
    first = of_map(henon, {"x": jnp.float64(0.1), "y": jnp.float64(0.1)}, 100_000, k=1)
    np.testing.assert_allclose(first.exponents[0], found.exponents[0], atol=1e-6)


@pytest.mark.parametrize(("exponents", "dimension"), [
    ([-0.1, -0.2], 0.0), ([0.0, -1.0], 1.0), ([0.5, -1.0], 1.5), ([0.5, 0.1, -0.2, -4.0], 3.1), ([0.3, -0.1], 2.0),
    ([0.5, -math.inf], 1.0), ([-math.inf, -math.inf], 0.0), ([math.nan, math.nan], math.nan),
])  # fmt: skip
def test_kaplan_yorke_of_simple_spectra(exponents, dimension):
    np.testing.assert_allclose(kaplan_yorke(np.array([exponents] * 2)), [dimension] * 2)


@pytest.mark.parametrize(("gain", "sign"), [(0.8, -1), (1.5, 1)])
def test_a_random_network_turns_chaotic_at_gain_1(gain, sign):
    """h_t = tanh(g W h_{t-1}), W_ij ~ N(0, 1/N): Sompolinsky, Crisanti & Sommers 1988, here in discrete time."""
    cell = VanillaRNN(features=150, recurrent="normal", **FLOAT64).build(1, rngs=nnx.Rngs(3))
    cell.w_h[...] = cell.w_h[...] * gain
    start = jax.random.normal(jax.random.key(0), (1, 150))
    found = lyapunov_spectrum(cell, jnp.zeros((400, 1, 1)), carry=start, k=2, warmup=100)
    assert sign * found.exponents[0, 0] > 5 * found.standard_error[0, 0]
    if sign < 0:  # the state dies out, and what is left is the spectral radius of g W
        radius = np.abs(np.linalg.eigvals(np.asarray(cell.w_h[...]))).max()
        np.testing.assert_allclose(found.exponents[0, 0], np.log(radius), atol=0.02)


@pytest.mark.parametrize("every", [1, 16])
def test_an_lstms_exponents_add_up_to_its_mean_log_determinant(every):
    cell = LSTM(features=6, **FLOAT64).build(2, rngs=nnx.Rngs(0))
    xs = jax.random.normal(jax.random.key(0), (300, 3, 2), jnp.float64)
    found = lyapunov_spectrum(cell, xs, every=every, warmup=0)

    def log_determinant(carry, x):
        def flat(v):
            return jnp.concatenate(cell((v[:6], v[6:]), x)[0])

        return cell(carry, x)[0], jnp.linalg.slogdet(jax.jacfwd(flat)(jnp.concatenate(carry)))[1]

    def mean(xs):
        return jnp.mean(jax.lax.scan(log_determinant, (jnp.zeros(6), jnp.zeros(6)), xs)[1])

    want = jax.jit(jax.vmap(mean, in_axes=1))(xs)
    np.testing.assert_allclose(found.exponents.sum(axis=-1), want, rtol=1e-6 if every > 1 else 1e-12)


def test_a_batch_equals_its_sequences_one_by_one():
    cell = LSTM(features=4, **FLOAT64).build(2, rngs=nnx.Rngs(0))
    xs = jax.random.normal(jax.random.key(0), (60, 2, 2), jnp.float64)
    together = lyapunov_spectrum(cell, xs, blocks=4)
    for b in range(2):
        alone = lyapunov_spectrum(cell, xs[:, b : b + 1], blocks=4)
        jax.tree.map(lambda a, t: np.testing.assert_allclose(a[..., 0, :], t[..., b, :], atol=1e-6), alone, together)  # noqa: B023


def test_flaxs_own_cell_in_float32_and_a_bare_function():
    cell = nnx.GRUCell(2, 5, rngs=nnx.Rngs(0))
    xs = jax.random.normal(jax.random.key(0), (60, 2, 2), jnp.float32)
    found = lyapunov_spectrum(cell, xs, k=3)
    assert found.exponents.shape == (2, 3) and found.exponents.dtype == jnp.float32
    assert (found.exponents < 0).all() and (jnp.diff(found.exponents) <= 0).all()
    zeros = jnp.zeros((2, 5), jnp.float32)
    bare = jax.jit(lambda xs: probe.lyapunov_spectrum(lambda c, x: cell(c, x), xs, k=3, carry=zeros))(xs)
    np.testing.assert_allclose(bare.exponents, found.exponents, rtol=1e-5)


def test_directions_that_a_singular_matrix_loses_have_minus_infinity():
    """W of rank 2 in 5 dimensions: two exponents, and three that are -inf and not the log of a rounding error."""
    rng = np.random.default_rng(0)
    cell = VanillaRNN(features=5, **FLOAT64).build(2, rngs=nnx.Rngs(0))
    cell.w_h[...] = jnp.asarray(rng.normal(size=(5, 2)) @ rng.normal(size=(2, 5)))
    xs = jax.random.normal(jax.random.key(0), (200, 2, 2), jnp.float64)
    found = lyapunov_spectrum(cell, xs)
    assert np.isfinite(found.exponents[:, :2]).all() and np.isneginf(found.exponents[:, 2:]).all()
    np.testing.assert_allclose(found.exponents[:, :2], lyapunov_spectrum(cell, xs, k=2).exponents, rtol=1e-6)
    assert (kaplan_yorke(found.exponents) <= 2).all()
    assert np.isnan(found.standard_error[:, 2:]).all()


def test_zero_weights_give_minus_infinity_and_nan_weights_nan():
    cell = linear_cell(np.zeros((3, 3)))
    assert np.isneginf(lyapunov_spectrum(cell, jnp.zeros((20, 1, 1))).exponents).all()
    cell.w_h[0, 0] = jnp.nan
    assert np.isnan(lyapunov_spectrum(cell, jnp.zeros((20, 1, 1))).exponents).all()


@pytest.mark.parametrize(("length", "settings", "message"), [
    (1, {}, "T=1"), (20, {"k": 4}, "k=4: this state has 3 numbers"), (20, {"k": 0}, "k=0"),
    (20, {"warmup": 19}, "at least two steps"), (20, {"every": 0}, "every=0"), (20, {"blocks": 1}, "blocks=1"),
])  # fmt: skip
def test_bad_settings_are_named(length, settings, message):
    with pytest.raises(ValueError, match=message):
        probe.lyapunov_spectrum(linear_cell(np.eye(3)), jnp.zeros((length, 1, 1)), **settings)
    if length == 20 and not settings.get("k", 0):
        with pytest.raises(ValueError, match="pass carry="):
            probe.lyapunov_spectrum(functools.partial(lambda c, x: (c, x)), jnp.zeros((length, 1, 3)))
