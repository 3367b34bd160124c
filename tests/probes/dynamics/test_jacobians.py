"""Singular values of long products of Jacobians against direct ones, closed forms and Lyapunov exponents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.probes.dynamics import jacobians as probe
from rnnlab.probes.dynamics.lyapunov import lyapunov_spectrum

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}


def singular_values(cell, xs, lags, **settings):
    return jax.jit(lambda cell, xs: probe.singular_values(cell, xs, lags, **settings))(cell, xs)


def linear_cell(matrix, dtype="float64"):
    """h_t = h_{t-1} matrix."""
    spec = VanillaRNN(features=len(matrix), activation="linear", dtype=dtype, param_dtype=dtype)
    cell = spec.build(1, rngs=nnx.Rngs(0))
    cell.w_h[...] = jnp.asarray(matrix, dtype)
    return cell


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("a", [0.5, 1.25])
def test_a_times_a_rotation_gives_a_to_the_k_at_lag_10_000(a, dtype):
    """All singular values are a^k: 2^-10000 is far below any float, and the condition number stays 1."""
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    found = singular_values(linear_cell(a * rotation, dtype), jnp.zeros((10_000, 1, 1), dtype), [10_000, 1])
    np.testing.assert_array_equal(found.lags, [10_000, 1])
    wide = 1e-10 if dtype == "float64" else 2e-6
    np.testing.assert_allclose(found.log[:, 0] / np.log(a), [[10_000] * 3, [1] * 3], rtol=wide)
    assert (found.log_condition() < 10_000 * (1e-10 if dtype == "float64" else 1e-6)).all()


def test_symmetric_and_sheared_linear_maps_at_lag_1000():
    """A symmetric map's are |eigenvalue|^k: a condition number of 10^2699 and each log right to 1e-9.

    For [[1, 1], [0, 1]]^k they are (sqrt(k^2 + 4) +- k) / 2: they part as k and 1/k, not exponentially.
    """
    values = np.array([1.2, 0.7, -0.05, 0.0024])
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    found = singular_values(linear_cell(basis @ np.diag(values) @ basis.T), jnp.zeros((1000, 1, 1)), [1000])
    np.testing.assert_allclose(found.log[0, 0], 1000 * np.log(np.abs(values)), rtol=1e-9)
    found = singular_values(linear_cell([[1.0, 1.0], [0.0, 1.0]]), jnp.zeros((1000, 1, 1)), [1000, 10])
    for log, k in zip(found.log[:, 0], (1000, 10), strict=True):
        largest = np.log((np.sqrt(k**2 + 4) + k) / 2)
        np.testing.assert_allclose(log, [largest, -largest], rtol=1e-8)


def lstm(features=4):
    cell = LSTM(features=features, forget_bias=2.0, **FLOAT64).build(2, rngs=nnx.Rngs(1))
    return cell, jax.random.normal(jax.random.key(0), (40, 2, 2), jnp.float64)


@pytest.mark.slow
@pytest.mark.parametrize(("part", "where"), [(None, slice(0, 8)), ("c", slice(0, 4)), ("h", slice(4, 8))])
def test_an_lstms_equal_the_svd_of_the_product_where_that_is_accurate(part, where):
    """Whole carry and each block of it; direct: jacfwd of all steps at once, whose error is rounding x largest."""
    cell, xs = lstm()
    lags = (0, 1, 2, 5, 12)
    found = singular_values(cell, xs, lags, part=part)

    @jax.jit
    def direct(xs):
        def run(v, xs):
            return jax.lax.scan(lambda v, x: (jnp.concatenate(cell((v[:4], v[4:]), x)[0]), None), v, xs)[0]

        jacobians = [jax.jacfwd(run)(run(jnp.zeros(8), xs[: 40 - k]), xs[40 - k :]) for k in lags]
        return [jnp.linalg.svd(j[where, where], compute_uv=False) for j in jacobians]

    for b in range(2):
        for log, want in zip(found.log[:, b], direct(xs[:, b]), strict=True):
            np.testing.assert_allclose(np.exp(log), want, rtol=1e-9, atol=1e-14 * want[0])


def test_slopes_over_lags_are_the_lyapunov_exponents():
    """Oseledets 1968: (1/k) log of each singular value tends to an exponent; the same matrices, here backwards."""
    cell = LSTM(features=3, **FLOAT64).build(2, rngs=nnx.Rngs(1))
    xs = jax.random.normal(jax.random.key(1), (1500, 1, 2), jnp.float64)
    log = singular_values(cell, xs, [100, 1400]).log[:, 0]
    exponents = jax.jit(lambda c, x: lyapunov_spectrum(c, x, warmup=100))(cell, xs).exponents[0]
    np.testing.assert_allclose((log[1] - log[0]) / 1300, exponents, atol=0.02)
    assert log[1].min() < np.log(np.finfo(np.float64).tiny)  # the product itself is zero in float64


def test_rank_deficient_weights_lose_directions_to_minus_infinity():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(5, 2)) @ rng.normal(size=(2, 5))
    found = singular_values(linear_cell(matrix), jnp.zeros((30, 2, 1)), [1, 30])
    for log, k in zip(found.log, (1, 30), strict=True):
        want = np.linalg.svd(np.linalg.matrix_power(matrix, k), compute_uv=False)[:2]
        np.testing.assert_allclose(np.exp(log[:, :2]), [want] * 2, rtol=1e-8)
        assert np.isneginf(log[:, 2:]).all()
    assert np.isposinf(found.log_condition()).all()


def test_nan_weights_give_nan():
    cell = linear_cell(np.eye(3))
    cell.w_h[0, 0] = jnp.nan
    assert np.isnan(singular_values(cell, jnp.zeros((5, 1, 1)), [3]).log).all()


def test_flaxs_own_cell_and_its_parts():
    cell = nnx.OptimizedLSTMCell(2, 3, rngs=nnx.Rngs(0))
    xs = jax.random.normal(jax.random.key(0), (20, 2, 2), jnp.float32)
    whole, part = (singular_values(cell, xs, [1, 20], part=name).log for name in (None, "c"))
    assert whole.shape == (2, 2, 6) and part.shape == (2, 2, 3)
    assert (part[..., 0] <= whole[..., 0] + 1e-5).all()  # a block's norm is at most the whole's


@pytest.mark.parametrize(("length", "lags", "part", "message"), [
    (1, [1], None, "T=1"), (20, [3, 21], None, r"lags \[21\]: T=20"), (20, [-1], None, "lags"), (20, [], None, "lags"),
    (20, [1], "c", "part='c' is no component of this carry: it has h"),
])  # fmt: skip
def test_bad_settings_are_named(length, lags, part, message):
    with pytest.raises(ValueError, match=message):
        probe.singular_values(linear_cell(np.eye(3)), jnp.zeros((length, 1, 1)), lags, part=part)
