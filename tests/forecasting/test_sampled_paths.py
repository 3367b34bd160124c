"""Paths drawn step by step from quantiles."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from rnnlab.forecasting.paths import drawn, sample_paths
from rnnlab.forecasting.scaling import QUANTILES, Scaling

NORMAL = jnp.asarray(scipy.stats.norm.ppf(QUANTILES), jnp.float32)


class Linear:
    """x_{t+1} = phi x_t + normal noise of this size: a model that reads its input alone."""

    def __init__(self, phi, size):
        self.phi, self.size = phi, size

    def outputs(self, x):
        return self.phi * x + self.size * NORMAL

    def step(self, carry, x):
        return carry, x

    def __call__(self, inputs, answers, return_carry):
        return self.outputs(inputs[-answers:]), jnp.zeros(())


def test_drawn_values_have_the_quantiles_they_are_drawn_from():
    uniform = (jnp.arange(20_000) + 0.5) / 20_000
    found = drawn(jnp.broadcast_to(jnp.flip(NORMAL), (20_000, 7)), uniform)  # given in any order
    np.testing.assert_allclose(np.quantile(found, QUANTILES), NORMAL, atol=2e-3)
    assert float(found.max()) < 3 and (np.diff(found) > 0).all()


def test_paths_of_an_autoregression_have_its_mean_and_variance():
    """phi^j x_o, and s^2 (1 - phi^2j) / (1 - phi^2), s^2 the variance of what is drawn at one step."""
    phi, size, start = 0.8, 0.5, 2.0
    scaling = Scaling("levels", (0.0,), (1.0,), (0.0,), (1.0,))
    windows = jnp.full((3, 1, 1), start)
    moved = sample_paths(Linear(phi, size), windows, scaling, 6, jax.random.key(0), 20_000)[0]
    uniform = (jnp.arange(100_000) + 0.5) / 100_000
    one = float(jnp.var(drawn(jnp.broadcast_to(size * NORMAL, (100_000, 7)), uniform)))
    assert abs(one / size**2 - 1) < 0.1, "seven quantiles are nearly the normal distribution"
    steps = np.arange(1, 7)
    np.testing.assert_allclose(moved.mean(axis=1), start * phi**steps, atol=0.02)
    np.testing.assert_allclose(moved.var(axis=1), one * (1 - phi ** (2 * steps)) / (1 - phi**2), rtol=0.04)


def test_changes_add_up_from_the_origin_whatever_the_scales():
    """Inputs and answers of other means and scales: changes of mean .1 and no noise reach .1 j."""
    scaling = Scaling("changes", (5.0,), (2.0,), (0.1,), (0.7,))
    moved = sample_paths(Linear(0.0, 0.0), jnp.zeros((3, 2, 1)), scaling, 4, jax.random.key(0), 5)
    assert moved.shape == (2, 4, 5)
    np.testing.assert_allclose(moved, np.broadcast_to(0.1 * np.arange(1, 5)[:, None], (2, 4, 5)), rtol=1e-5)
