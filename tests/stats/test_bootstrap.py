"""Bootstrap intervals equal Student's where those are exact, and cover what they claim to."""

import math

import numpy as np
import pytest

from rnnlab.stats import bootstrap, estimates


def test_of_a_mean_it_is_students_interval():
    values = [9.1, 10.4, 8.7, 11.2, 9.9]
    got = bootstrap.bootstrap([values], np.mean, resamples=50_000)
    np.testing.assert_allclose(got, estimates.mean(values), rtol=0.01)


def test_resampling_within_tasks_leaves_out_the_variance_between_them():
    """Two tasks a hundred apart: the mean's variance is that of a stratified sample, the sum of (n_k/N)^2 s_k^2/n_k."""
    easy, hard = [101.0, 103.0, 99.0, 100.0], [1.0, 0.0, 2.5, 0.7]
    got = bootstrap.bootstrap([easy, hard], np.mean, resamples=50_000)
    error = math.sqrt((np.var(easy, ddof=1) + np.var(hard, ddof=1)) / 16)
    half = 2.446912 * error  # t of 6 degrees of freedom
    np.testing.assert_allclose((got.low, got.high, got.n), (got.estimate - half, got.estimate + half, 8), rtol=2e-3)


def test_the_interquartile_mean_by_hand():
    """Of 8 the 2 least and 2 greatest are left out, of 6 one each (1.5 rounded down), of 3 none."""
    assert bootstrap.interquartile_mean([[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 1e9]]).estimate == 3.5
    assert bootstrap.interquartile_mean([[-1e9, 1.0, 2.0, 3.0, 6.0, 1e9]]).estimate == 3
    assert bootstrap.interquartile_mean([[1.0, 2.0, 6.0]]).estimate == 3


def test_the_interquartile_mean_is_covered_in_19_of_20():
    """Of five normal trials; percentiles of the same draws cover far less."""
    rng, covered, by_percentile = np.random.default_rng(0), [], []
    for number in range(400):
        values = rng.normal(size=5)
        got = bootstrap.interquartile_mean([values.tolist()], resamples=400, seed=number)
        covered.append(got.low <= 0 <= got.high)
        draws = np.sort(values[rng.integers(5, size=(400, 5))], axis=1)[:, 1:4].mean(axis=1)
        low, high = np.quantile(draws, [0.025, 0.975])
        by_percentile.append(low <= 0 <= high)
    assert 0.92 <= np.mean(covered) <= 0.985 and np.mean(by_percentile) < 0.9


def test_what_is_not_known_is_nan():
    np.testing.assert_equal(bootstrap.interquartile_mean([[3.0], [5.0]]), (4, math.nan, math.nan, 2))
    np.testing.assert_equal(bootstrap.interquartile_mean([]), (math.nan, math.nan, math.nan, 0))
    np.testing.assert_equal(bootstrap.interquartile_mean([[1.0, math.nan]]), (math.nan, math.nan, math.nan, 2))
    with pytest.raises(ValueError, match=r"scores\[1\]"):
        bootstrap.interquartile_mean([[1.0], []])
    with pytest.raises(ValueError, match=r"confidence=95"):
        bootstrap.interquartile_mean([[1.0, 2.0]], confidence=95.0)


def test_a_profile_is_one_minus_the_empirical_distribution():
    scores = [[0.1, 0.4, 0.4], [0.9, -math.inf]]
    got = bootstrap.performance_profile(scores, np.array([-1.0, 0.1, 0.4, 0.9]))
    np.testing.assert_allclose(got.share, [4 / 5, 3 / 5, 1 / 5, 0])
    np.testing.assert_allclose([got.low[1], got.high[1]], estimates.proportion(3, 5)[1:3])
    assert got.high[-1] > 0.4  # five trials that all failed are no certainty
    whole = bootstrap.performance_profile(scores)
    assert (whole.thresholds[0], whole.thresholds[-1]) == (0.1, 0.9) and (np.diff(whole.share) <= 0).all()


def test_a_profile_needs_trials():
    for scores, words in (([], "0 trials"), ([[math.nan]], "1 of them nan"), ([[math.inf]], "no score is finite")):
        with pytest.raises(ValueError, match=words):
            bootstrap.performance_profile(scores)
