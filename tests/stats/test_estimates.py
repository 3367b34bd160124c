"""Intervals equal those of textbooks and of scipy's own tests, and say what they do not know."""

import math

import numpy as np
import pytest
import scipy.stats

from rnnlab.stats import estimates


def test_the_mean_has_students_interval():
    """scipy's one-sample t test inverts to the same interval."""
    values = [9.1, 10.4, 8.7, 11.2, 9.9]
    got = estimates.mean(values, 0.9)
    wanted = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.9)
    np.testing.assert_allclose(got, (np.mean(values), wanted.low, wanted.high, 5), rtol=1e-12)


def test_two_values_are_a_cauchy_interval():
    """With one degree of freedom t is Cauchy: the half width is tan(.475 pi) = 12.706 half ranges."""
    np.testing.assert_allclose(estimates.mean([0.0, 2.0]), (1, 1 - math.tan(0.475 * math.pi), 13.7062, 2), rtol=1e-6)


def test_wilsons_interval_at_the_ends():
    """At 0 of n its upper end is z^2 / (n + z^2); Newcombe 1998, table I, gives .0624 to .1605 for 15 of 148."""
    z2 = scipy.stats.norm.ppf(0.975) ** 2
    np.testing.assert_allclose(estimates.proportion(0, 3), (0, 0, z2 / (3 + z2), 3), atol=1e-12)
    np.testing.assert_allclose(estimates.proportion(3, 3), (1, 3 / (3 + z2), 1, 3), atol=1e-12)
    np.testing.assert_allclose(estimates.proportion(15, 148), (15 / 148, 0.0624, 0.1605, 148), atol=5e-5)


@pytest.mark.parametrize("n", [6, 7, 20, 51])
def test_the_median_has_the_sign_tests_interval(n):
    values = np.random.default_rng(n).standard_cauchy(n).tolist()
    wanted = scipy.stats.quantile_test(values, p=0.5).confidence_interval()
    np.testing.assert_allclose(estimates.median(values), (np.median(values), wanted.low, wanted.high, n), rtol=1e-12)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_median_of_few_values_comes_with_their_range(n):
    assert estimates.median([float(v) for v in range(n)]) == ((n - 1) / 2, 0, n - 1, n)


def test_infinite_values_are_kept():
    """A half-life that is infinite in most trials is infinite; the interval still shows the finite trial."""
    assert estimates.mean([1.0, math.inf]) == (math.inf, 1, math.inf, 2)
    assert estimates.median([3.0, math.inf, math.inf]) == (math.inf, 3, math.inf, 3)
    assert estimates.mean([-math.inf, -math.inf]) == (-math.inf, -math.inf, -math.inf, 2)
    assert math.isnan(estimates.median([-math.inf, math.inf]).estimate)
    assert math.isnan(estimates.mean([-math.inf, math.inf]).estimate)


@pytest.mark.parametrize("average", [estimates.mean, estimates.median])
def test_what_is_not_known_is_nan(average):
    """One value has no interval, no value no estimate, and a nan is never averaged away."""
    np.testing.assert_equal(average([7.0]), (7, math.nan, math.nan, 1))
    np.testing.assert_equal(average([math.inf]), (math.inf, math.nan, math.nan, 1))
    np.testing.assert_equal(average([]), (math.nan, math.nan, math.nan, 0))
    np.testing.assert_equal(average([1.0, math.nan]), (math.nan, math.nan, math.nan, 2))
    np.testing.assert_equal(estimates.proportion(0, 0), (math.nan, math.nan, math.nan, 0))


@pytest.mark.parametrize("n", [3, 30])
def test_draws_of_a_mean_have_the_means_interval(n):
    """The standard error of resampled means is s / sqrt(n) once freed of its bias, whose interval is Student's."""
    rng = np.random.default_rng(n)
    values = rng.normal(size=n)
    draws = values[rng.integers(n, size=(200_000, n))].mean(axis=1)
    np.testing.assert_allclose(
        estimates.from_draws(values.mean(), draws, n), estimates.mean(values.tolist()), rtol=0.01
    )
