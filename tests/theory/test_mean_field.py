"""Predicted horizons against measured gradient flow, and closed forms against exact series and simulation."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.integrate import quad

from rnnlab.cells import VanillaRNN
from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.flow import gradient_flow
from rnnlab.probes.gradients.horizon import memory_horizon
from rnnlab.theory.mean_field import linear_sensitivity_variance, linear_state_variance, tanh_network


def test_without_input_the_critical_point_is_sigma_w_equal_1():
    """Up to 1 the only fixed point is q* = 0, where tanh is the identity and chi = sigma_w^2; above, chaos."""
    quiet = tanh_network(0.8)
    np.testing.assert_allclose(quiet[:3], (0, 0.64, math.log(0.8)), rtol=1e-12)
    np.testing.assert_allclose(quiet.time_scale, -1 / math.log(0.64))
    np.testing.assert_allclose(quiet.horizon(1e-3), math.log(1e-3) / math.log(0.8))
    assert tanh_network(1.0).time_scale == math.inf and tanh_network(1.0).horizon() == math.inf
    chaotic = tanh_network(1.5)
    assert chaotic.variance > 0.1 and 1 < chaotic.chi < 1.5**2 and chaotic.horizon() == math.inf
    assert tanh_network(0.0, input_variance=1.0)[:3] == (1.0, 0.0, -math.inf)
    assert tanh_network(0.0).horizon() == 0


@pytest.mark.parametrize(("sigma_w", "drive"), [(0.5, 0.1), (1.0, 0.01), (1.01, 0.0), (1.3, 1.0), (3.0, 4.0)])
def test_the_variance_is_a_fixed_point_of_its_own_map(sigma_w, drive):
    """Against adaptive quadrature; sigma_b^2 and the input's variance act alike."""
    found = tanh_network(sigma_w, sigma_b=math.sqrt(drive / 2), input_variance=drive / 2)

    def mean(f):
        def weighted(u):
            return f(math.sqrt(found.variance) * u) * math.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)

        return quad(weighted, -10, 10, epsabs=1e-12, limit=500, points=[-1, 0, 1])[0]

    np.testing.assert_allclose(sigma_w**2 * mean(lambda z: math.tanh(z) ** 2) + drive, found.variance, rtol=1e-9)
    np.testing.assert_allclose(sigma_w**2 * mean(lambda z: math.cosh(z) ** -4), found.chi, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("sigma_w", "drive"), [(0.9, 0.49), (1.6, 4.0), (3.0, 0.49)])
def test_the_predicted_rate_is_the_measured_one(sigma_w, drive):
    """Width 600, driven by noise: the slope of log ||dL/dh_t|| over 150 lags is (log chi)/2, falling or growing.

    Single lags scatter by 1 / sqrt(H) and the mean log is lower by about 1 / H nats: 0.4 % at width 1000.
    """
    spec = VanillaRNN(features=600, recurrent="normal")
    model = SequenceModel(spec, 100, 1, rngs=nnx.Rngs(0))
    model.cells[0].w_h[...] = sigma_w * model.cells[0].w_h[...]
    inputs = math.sqrt(drive) * jax.random.normal(jax.random.key(0), (180, 8, 100), jnp.float32)
    flow = jax.jit(lambda model, xs: gradient_flow(model, xs, lambda ys: ys[-1, :, 0])["layer0/h"])(model, inputs)
    measured = memory_horizon(flow.log10().mean(axis=1)[:151]).decay_rate  # the first 29 steps settle
    predicted = tanh_network(sigma_w, input_variance=drive)  # w_x's entries have variance 1 / D
    np.testing.assert_allclose(measured, predicted.rate, rtol=0.02)


@pytest.mark.parametrize("eigenvalue", [0.0, 0.5, -0.9, 0.99])
def test_the_curse_of_memory_closed_forms_equal_their_series(eigenvalue):
    """h = sum_n lambda^n x_{t-n}, its derivative sum_n n lambda^(n-1) x_{t-n}: squares of the weights add up."""
    n = np.arange(6000)
    np.testing.assert_allclose(linear_state_variance(eigenvalue), np.sum(eigenvalue ** (2 * n)), rtol=1e-12)
    derivative = np.sum((n[1:] * eigenvalue ** (n[1:] - 1.0)) ** 2)
    np.testing.assert_allclose(linear_sensitivity_variance(eigenvalue), derivative, rtol=1e-11)


@pytest.mark.slow
def test_the_curse_of_memory_closed_forms_equal_a_simulation():
    """20,000 runs of 300 steps at lambda = .9, differentiated forwards by JAX, within five standard errors."""
    xs = jax.random.normal(jax.random.key(0), (300, 20_000))

    def last(eigenvalue):
        return jax.lax.scan(lambda h, x: (eigenvalue * h + x, None), jnp.zeros(20_000), xs)[0]

    h, dh = jax.jit(lambda e: jax.jvp(last, (e,), (jnp.ones_like(e),)))(jnp.float64(0.9))
    for sample, want in ((h, linear_state_variance(0.9)), (dh, linear_sensitivity_variance(0.9))):
        assert abs(jnp.mean(sample**2) - want) < 5 * want * math.sqrt(2 / 20_000)  # Gaussian: Var x^2 = 2 sigma^4


def test_complex_eigenvalues_and_the_edge_of_stability():
    values = np.array([0.6 + 0.3j, 1.0, -1.2])
    np.testing.assert_allclose(linear_state_variance(values), [1 / 0.55, np.inf, np.inf])
    np.testing.assert_allclose(linear_sensitivity_variance(values), [1.45 / 0.55**3, np.inf, np.inf])


@pytest.mark.parametrize("settings", [{"sigma_w": -1.0}, {"sigma_w": 1.0, "sigma_b": math.nan}])
def test_bad_values_are_named(settings):
    with pytest.raises(ValueError, match="must be finite and at least 0"):
        tanh_network(**settings)
    with pytest.raises(ValueError, match="fraction=0"):
        tanh_network(0.5).horizon(0.0)
