"""Rates, half-lives and horizons of profiles whose decay is known, and how often their intervals hold the truth."""

import math

import numpy as np
import pytest

from rnnlab.probes.gradients.horizon import exponential_fit, horizon_intervals, mean_over_examples, memory_horizon
from rnnlab.stats.estimates import Interval, mean

LAGS = np.arange(200)
NATS = math.log(10)


def test_memory_horizon_of_simple_profiles():
    lags = np.arange(100)
    assert memory_horizon(np.zeros(100)).half_life == np.inf
    assert memory_horizon(np.zeros(100))[2:] == (99, True)
    assert memory_horizon(0.1 * lags).decay_rate == pytest.approx(0.1 * np.log(10))
    assert memory_horizon(-0.5 * lags, fraction=1e-2)[2:] == (4, False)
    dead = np.full(100, -np.inf)
    assert memory_horizon(dead) == (-np.inf, 0.0, 0, False)
    dead[0] = 0.0
    assert memory_horizon(dead) == (-np.inf, 0.0, 0, False)
    assert memory_horizon(np.zeros(1))[2:] == (0, True) and np.isnan(memory_horizon(np.zeros(1))[:2]).all()


@pytest.mark.parametrize(
    "profile", [[np.nan, -np.inf, -np.inf], [0, -1, np.nan, -3], [0, 5, np.inf, np.inf], [np.inf] * 3]
)
def test_a_gradient_that_is_not_finite_does_not_vanish(profile):
    """It has no rate, no half-life and no horizon, wherever along the lags it is lost."""
    assert np.isnan(memory_horizon(np.array(profile))[:3]).all()


@pytest.mark.parametrize("a", [0.5, 0.99, 1.0, 1.1])
def test_an_exponential_is_one_and_has_its_own_rate(a):
    found = exponential_fit(np.log10(a) * LAGS + 3)
    np.testing.assert_allclose(found[:3], np.log(a), atol=1e-12)
    assert found.exponential and found.misfit < 1e-9


@pytest.mark.parametrize(
    "norms",
    [
        pytest.param(0.5**LAGS + 1e-3 * 0.98**LAGS, id="two exponentials"),
        pytest.param(0.9**LAGS + 0.05 * 0.98**LAGS, id="two rates near one another"),
        pytest.param((1.0 + LAGS) ** -1, id="power law"),
        pytest.param((1.0 + LAGS) ** -3, id="steep power law"),
        pytest.param(np.exp(-((LAGS / 40) ** 2)), id="Gaussian"),
    ],
)
def test_what_is_not_exponential_is_not_called_so(norms):
    found = exponential_fit(np.log10(norms))
    assert not found.exponential
    assert abs(found.early - found.late) > 0.3 * abs(found.decay_rate)


def test_a_bend_halfway_is_seen_from_a_factor_of_one_and_a_half():
    """Two halves with slopes s and r s are off their line by |r - 1| / (4 (r + 1)) of its fall: 0.05 at r = 1.5."""

    def bent(ratio):
        return exponential_fit(-0.05 * np.where(LAGS < 100, LAGS, 100 + ratio * (LAGS - 100))).exponential

    assert bent(1.3) and not bent(1.7)


def test_a_random_walk_about_a_line_is_an_exponential():
    """A log-norm is a sum over steps, so its residuals are correlated; still all 200 count as exponential."""
    rng = np.random.default_rng(0)
    walks = np.cumsum(-0.05 + 0.02 * rng.normal(size=(200, 1000)), axis=1)
    assert all(exponential_fit(walk).exponential for walk in walks)
    assert exponential_fit(0.02 * rng.normal(size=1000)).exponential  # and a flat one is flat


def test_too_few_lags_and_a_norm_of_zero_are_no_exponential():
    assert not exponential_fit(np.zeros(3)).exponential and math.isnan(exponential_fit(np.zeros(3)).misfit)
    cut = np.where(LAGS < 50, -0.1 * LAGS, -np.inf)
    assert exponential_fit(cut).decay_rate == pytest.approx(-0.1 * NATS) and not exponential_fit(cut).exponential
    assert exponential_fit(np.full(9, -np.inf)).decay_rate == -np.inf


def drawn(rng, seeds, examples, between, within):
    """Exact exponentials [S, T, B] whose rates scatter about -0.05 decades a step: a horizon of 60 at 1e-3."""
    rates = -0.05 + between * rng.normal(size=(seeds, 1, 1)) + within * rng.normal(size=(seeds, 1, examples))
    return LAGS[:150, None] * rates


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "examples", "between"), [(1, 16, 0.0), (3, 8, 0.005), (3, 8, 0.0), (5, 8, 0.005), (10, 8, 0.005)]
)
def test_intervals_hold_the_truth_in_about_95_of_100(seeds, examples, between):
    """Binomial scatter of 200 repetitions is 1.5 points; the truth is the mean rate over all seeds and examples."""
    rng = np.random.default_rng(seeds)
    held = np.zeros(3)
    for _ in range(200):
        found = horizon_intervals(drawn(rng, seeds, examples, between, 0.005), resamples=400)
        truth = (-0.05 * NATS, math.log(2) / (0.05 * NATS), 60)
        held += [i.low <= t <= i.high for i, t in zip(found[:3], truth, strict=True)]
    assert (held >= 180).all() and (held[:2] <= 198).all(), held


def test_the_interval_of_rates_is_students_where_examples_agree():
    """The rate is linear in the profiles, so seeds of one example have the t interval of their rates, but for draws."""
    rates = np.array([-0.04, -0.05, -0.07, -0.05])
    found = horizon_intervals([LAGS[:, None] * rate for rate in rates], resamples=20_000)
    np.testing.assert_allclose(found.decay_rate, mean((rates * NATS).tolist()), rtol=0.02)
    assert found.line.exponential and not found.censored
    np.testing.assert_allclose(found.half_life.low, math.log(2) / -found.decay_rate.low)


def test_the_same_seed_gives_the_same_interval_and_confidence_widens_it():
    profiles = drawn(np.random.default_rng(0), 5, 8, 0.005, 0.005)
    assert horizon_intervals(profiles) == horizon_intervals(list(profiles))
    wide, narrow = (horizon_intervals(profiles, confidence=c).decay_rate for c in (0.99, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_seeds_may_differ_in_examples_and_dead_ones_do_not_count():
    a, b = np.zeros((30, 4)), np.full((30, 2), -np.inf)
    b[:, 0] = -0.1 * np.arange(30)
    found = horizon_intervals([a, b])
    assert found.decay_rate.estimate == pytest.approx(-0.05 * NATS)
    np.testing.assert_allclose(mean_over_examples(b), b[:, 0])


def test_what_is_not_known_is_nan_and_bad_profiles_are_refused():
    alone = horizon_intervals([LAGS[:, None] * -0.05])
    assert alone.decay_rate[0] == pytest.approx(-0.05 * NATS) and np.isnan(alone.horizon[1:3]).all()
    assert alone.horizon[0] == 60 and alone.decay_rate.n == 1
    single = horizon_intervals(np.zeros((3, 1, 4)))  # T = 1
    np.testing.assert_equal(single[:3], [Interval(*[math.nan] * 3, 3), Interval(*[math.nan] * 3, 3), (0, 0, 0, 3)])
    assert single.censored and not single.line.exponential
    dead = horizon_intervals(np.full((3, 9, 4), -np.inf))
    assert dead.decay_rate.estimate == -np.inf and dead.horizon[:3] == (0, 0, 0)
    with pytest.raises(ValueError, match="at lag 2: that gradient is not finite"):
        horizon_intervals([np.where(np.arange(9) == 2, np.nan, 0.0)[:, None]])
    with pytest.raises(ValueError, match="profiles is empty"):
        horizon_intervals([])
    with pytest.raises(ValueError, match="every seed needs the same T"):
        horizon_intervals([np.zeros((0, 2))])
    with pytest.raises(ValueError, match="confidence=95"):
        horizon_intervals([np.zeros((9, 2))], confidence=95.0)


def test_a_profile_that_ends_above_the_fraction_is_censored_and_one_that_is_cut_off_is_not():
    """Of sequences of unequal length nothing is left beyond the longest; a truncated gradient never leaves lag 0."""
    ends = np.array([0, -0.5, -1.0, -np.inf, -np.inf])
    assert memory_horizon(ends)[2:] == (2, True)
    assert memory_horizon(np.array([0, -1.0, -4.0, -np.inf, -np.inf]))[2:] == (1, False)
    assert memory_horizon(np.array([0.0, -np.inf, -np.inf]))[2:] == (0, False)
    whole = np.stack([ends + 0.01 * number for number in range(6)], axis=1)
    assert horizon_intervals([whole]).censored
