"""Times to solve with censored trials equal the textbooks' values, and a plain median where nothing is censored."""

import math

import numpy as np
import pytest
import scipy.stats

from rnnlab.stats import survival
from rnnlab.stats.survival import Times

# Weeks of remission of leukaemia: Freireich et al. 1963, as in Klein & Moeschberger 2003, section 1.2.
MERCAPTOPURINE = Times([6, 6, 6, 7, 10, 13, 16, 22, 23], [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35])
PLACEBO = Times([1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23], [])


def test_the_curve_is_that_of_the_textbook():
    """Klein & Moeschberger 2003, table 4.1: S(t), and Greenwood's standard error through the log-log band."""
    curve = survival.survival_curve(MERCAPTOPURINE)
    solved = np.isin(curve.times, MERCAPTOPURINE.solved)
    wanted = [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448]
    np.testing.assert_allclose(curve.survival[solved], wanted, atol=5e-4)
    error = np.array([0.0764, 0.0869, 0.0963, 0.1068, 0.1141, 0.1282, 0.1346])
    power = np.exp(scipy.stats.norm.ppf(0.975) * error / (wanted * np.log(wanted)))
    np.testing.assert_allclose(curve.low[solved], np.array(wanted) ** (1 / power), atol=1e-3)
    np.testing.assert_allclose(curve.high[solved], np.array(wanted) ** power, atol=1e-3)
    assert curve.censored.sum() == 12 and curve.censored[curve.times == 32] == 2


def test_the_median_and_its_interval_are_those_of_statistics_programs():
    """SAS PROC LIFETEST and R's survfit(conf.type = "log-log") give 23 [13, .) and 8 [4, 11] weeks."""
    assert survival.median_time(MERCAPTOPURINE) == (23, 13, math.inf, 21)
    assert survival.median_time(PLACEBO) == (8, 4, 11, 21)


def test_the_logrank_test_is_that_of_the_textbook():
    """Its chi-square is 16.79 with one degree of freedom; the order of the arms does not matter."""
    wanted = scipy.stats.chi2.sf(16.79, 1)
    np.testing.assert_allclose(survival.logrank(MERCAPTOPURINE, PLACEBO), wanted, rtol=5e-3)
    np.testing.assert_allclose(survival.logrank(PLACEBO, MERCAPTOPURINE), wanted, rtol=5e-3)


@pytest.mark.parametrize("n", [2, 3, 4, 9, 10, 33])
def test_without_censoring_the_median_is_the_median(n):
    times = np.random.default_rng(n).exponential(size=n).tolist()
    found = survival.median_time(Times(times, []))
    np.testing.assert_allclose(found.estimate, np.median(times), rtol=1e-12)
    assert min(times) <= found.low <= found.estimate <= found.high <= max(times)


def test_the_interval_covers_the_median_in_19_of_20():
    """Exponential times, budgets that cut a quarter of them off: the median ln 2 is in the interval at about .95."""
    rng, covered = np.random.default_rng(0), []
    for _ in range(300):
        times, budget = rng.exponential(size=20), rng.uniform(0.5, 6, size=20)
        cut = times > budget
        found = survival.median_time(Times(times[~cut].tolist(), budget[cut].tolist()))
        covered.append(found.low <= math.log(2) <= found.high)
    assert 0.92 <= np.mean(covered) <= 0.985


def test_what_is_not_reached_is_infinite():
    """With fewer than half solved there is no median yet; with none solved not even an interval's lower end."""
    few = survival.median_time(Times([30, 40], [100] * 6))
    assert few.estimate == math.inf == few.high and few.low == 30
    np.testing.assert_equal(survival.median_time(Times([], [100, 100])), (math.inf, math.nan, math.nan, 2))
    np.testing.assert_equal(survival.median_time(Times([7], [])), (7, math.nan, math.nan, 1))
    assert survival.logrank(Times([], [100, 100]), Times([], [100])) == 1


def test_equal_arms_do_not_differ_significantly():
    assert survival.logrank(PLACEBO, PLACEBO) == pytest.approx(1)
    assert survival.logrank(Times([5], []), Times([], [2, 2])) == 1  # b's trials had all stopped by then


def test_the_scores_sum_to_the_textbooks_observed_minus_expected():
    """Freireich's arms: 9 relapses where 19.25 are expected, 21 where 10.75 are (Klein & Moeschberger 2003, 7.3)."""
    scores = survival._scores(MERCAPTOPURINE, PLACEBO)
    np.testing.assert_allclose([scores[:21].sum(), scores[21:].sum()], [9 - 19.25, 21 - 10.75], atol=5e-3)


def test_the_p_of_few_trials_is_enumerated():
    """Three against three, one arm wholly first: 2 of the 20 splits, where the asymptotic p is .025."""
    assert survival.logrank_test(Times([1, 2, 3], []), Times([4, 5, 6], []))[:2] == pytest.approx((0.1, 0.1))
    assert scipy.stats.logrank([1, 2, 3], [4, 5, 6]).pvalue < 0.03
    assert survival.logrank_test(Times([1], []), Times([2, 3], [9])).least == 0.25
    assert survival.logrank_test(Times([1, 2], []), Times([], [9, 9])).excess > 0  # a solves sooner
    p = survival.logrank(Times([9, 12], [20]), Times([3, 5, 7, 8], []))
    assert p == survival.logrank(Times([3, 5, 7, 8], []), Times([9, 12], [20]))


def test_few_trials_give_no_more_false_positives_than_they_may():
    """Two arms of 5 with the same exponential times and a budget: p < .05 in 1 of 20 at most."""
    rng, ps = np.random.default_rng(3), []
    for _ in range(400):
        arms = rng.exponential(size=(2, 5))
        ps.append(survival.logrank(*(Times(arm[arm < 1.5].tolist(), [1.5] * int((arm >= 1.5).sum())) for arm in arms)))
    assert 0.02 < np.mean(np.array(ps) < 0.05) <= 0.06


def test_drawn_splits_agree_with_the_asymptotic_test():
    """Fifteen against fifteen have too many splits to count, and are enough for the normal distribution."""
    rng = np.random.default_rng(1)
    a, b = (Times(rng.exponential(scale, size=15).tolist(), []) for scale in (1, 1.8))
    found = survival.logrank_test(a, b)
    assert found.p == pytest.approx(scipy.stats.logrank(a.solved, b.solved).pvalue, abs=0.01)
    assert found.least < 1e-3 and found == survival.logrank_test(a, b)


@pytest.mark.parametrize(
    "times, words", [(Times([], []), "no trial"), (Times([1, math.nan], []), "nan"), (Times([2], [-1]), "-1")]
)
def test_bad_times_are_named(times, words):
    with pytest.raises(ValueError, match=words):
        survival.median_time(times)
