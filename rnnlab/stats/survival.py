"""How long until a trial solves its task, where some trials never did: Kaplan & Meier's curve, its median, a test.

A trial that had not solved its task when its budget ended is censored: all that is known is "not by then". Leaving it
out, or counting its budget as its time, makes a setting that rarely solves look fast.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float, Int

from rnnlab.stats.estimates import Interval

NEARLY = 1e-9  # a survival of 1/2 is a product of ratios, and may miss it by rounding
SPLITS = 20_000  # of trials into two arms that a permutation test enumerates, or draws where there are more
MANY = 20  # trials in each arm, above which the asymptotic test is as good


class Times(NamedTuple):
    """One time for each trial, in any unit: when it solved its task, or when its observation ended without."""

    solved: Sequence[float | int]
    unsolved: Sequence[float | int]


class Curve(NamedTuple):
    """The share of trials that have not solved their task after each time, with its pointwise band."""

    times: Float[np.ndarray, " K"]  # of any solving or censoring, rising
    survival: Float[np.ndarray, " K"]
    low: Float[np.ndarray, " K"]
    high: Float[np.ndarray, " K"]
    censored: Int[np.ndarray, " K"]  # trials whose observation ended there


def survival_curve(times: Times, confidence: float = 0.95) -> Curve:
    """Kaplan & Meier's estimate (1958), its band from Greenwood's variance on the scale log(-log S).

    On that scale (Kalbfleisch & Prentice 1980) the band stays within 0 and 1, and it covers well with few trials too
    (Klein & Moeschberger 2003, section 4.3). Before the first trial solves, and after the last of all did, the variance
    is zero and so is the band's width.

    Raises:
      ValueError: no trial, or a time that is negative or not finite.
    """
    data = _censored(times)
    found = scipy.stats.ecdf(data).sf
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The confidence interval is undefined", RuntimeWarning)
        band = found.confidence_interval(confidence, method="log-log")
    survival = found.probabilities
    certain = (survival < NEARLY) | (survival > 1 - NEARLY)
    low, high = (np.where(certain, survival, end.probabilities) for end in (band.low, band.high))
    at = np.searchsorted(found.quantiles, np.asarray(times.unsolved, np.float64))
    return Curve(found.quantiles, survival, low, high, np.bincount(at, minlength=len(survival)))


def median_time(times: Times, confidence: float = 0.95) -> Interval:
    """The median time to solve with the interval of Brookmeyer & Crowley 1982: where the curve's band crosses 1/2.

    Where the curve is 1/2 over a stretch the estimate is its middle. What is not reached while trials are watched is
    infinite, first the upper end, then the estimate: fewer than half have solved. One trial has no interval (nan), and
    nor have trials of which none solved. Of few trials that all solved, the interval is their range at most.

    Raises:
      ValueError: no trial, or a time that is negative or not finite.
    """
    curve = survival_curve(times, confidence)
    n = len(times.solved) + len(times.unsolved)
    below = np.flatnonzero(curve.survival <= 0.5 + NEARLY)
    estimate = float(curve.times[below[0]]) if len(below) else math.inf
    later = np.flatnonzero(curve.survival < 0.5 - NEARLY)
    if len(below) and len(later):
        estimate = (estimate + float(curve.times[later[0]])) / 2
    if n == 1 or not len(times.solved):
        return Interval(estimate, math.nan, math.nan, n)
    low, high = (np.append(curve.times[end <= 0.5], math.inf)[0] for end in (curve.low, curve.high))
    return Interval(estimate, float(low), float(high), n)


class LogRank(NamedTuple):
    """The log-rank test of two arms."""

    p: float  # two-sided
    least: float  # the smallest p that any split of the same times could have: above .05 the test has no power
    excess: float  # observed minus expected solutions of a: above 0 where a solves sooner than b


def logrank(a: Times, b: Times) -> float:
    """The two-sided p that the curves of a and b are one: the log-rank test (Mantel 1966), 1 where no trial solved.

    It compares which arm solves first among the trials still at risk, so it suits curves that do not cross. See
    `logrank_test` for how p is computed.

    Raises:
      ValueError: an arm without trials, or a time that is negative or not finite.
    """
    return logrank_test(a, b).p


def logrank_test(a: Times, b: Times) -> LogRank:
    """The log-rank test by permutation; by its asymptotic distribution where each arm has more than `MANY` trials.

    Observed minus expected solutions of an arm are a sum of one score a trial, 1 or 0 minus the Nelson-Aalen hazard
    until its time, so under the hypothesis any split of all trials into the two arms is as likely. Up to `SPLITS` all
    splits are enumerated (7 against 7 trials have 3,432), of more that many are drawn with a fixed seed and the one
    observed is added (Phipson & Smyth 2010). The asymptotic p of 3 against 3 trials is as low as .025, with 20 splits.

    Raises:
      ValueError: an arm without trials, or a time that is negative or not finite.
    """
    x, y = _censored(a), _censored(b)
    if not len(a.solved) and not len(b.solved):
        return LogRank(1.0, 1.0, 0.0)
    n, k = sum(map(len, (*a, *b))), len(a.solved) + len(a.unsolved)
    scores = _scores(a, b)
    excess = float(scores[:k].sum())
    if min(k, n - k) > MANY:
        with np.errstate(invalid="ignore"):  # 0 / 0: whenever a trial solved, only trials of its arm were left
            p = float(scipy.stats.logrank(x, y).pvalue)
        return LogRank(1.0 if math.isnan(p) else p, 0.0, excess)
    if math.comb(n, k) <= SPLITS:
        sums = np.abs(scores[np.array(list(combinations(range(n), k)))].sum(axis=1))
        return LogRank(*(float(np.mean(sums >= least - NEARLY)) for least in (abs(excess), sums.max())), excess)
    rng = np.random.default_rng(0)
    batches = [np.tile(scores, (SPLITS // 20, 1))] * 20
    sums = np.abs(np.concatenate([rng.permuted(batch, axis=1)[:, :k].sum(axis=1) for batch in batches]))
    as_far = int((sums >= abs(excess) - NEARLY).sum())
    furthest = max(abs(np.sort(scores)[end].sum()) for end in (slice(k), slice(n - k, n)))
    as_furthest = int((sums >= furthest - NEARLY).sum())
    return LogRank((1 + as_far) / (1 + SPLITS), (1 + as_furthest) / (1 + SPLITS), excess)


def _scores(a: Times, b: Times) -> Float[np.ndarray, " N"]:
    """Each trial's term of observed minus expected solutions: a's trials first. They sum to 0."""
    times = np.array([*a.solved, *a.unsolved, *b.solved, *b.unsolved], np.float64)
    solved = np.repeat([True, False, True, False], [len(a.solved), len(a.unsolved), len(b.solved), len(b.unsolved)])
    at, deaths = np.unique(times[solved], return_counts=True)
    hazard = np.concatenate([[0], np.cumsum(deaths / (times >= at[:, None]).sum(axis=1))])
    return solved - hazard[np.searchsorted(at, times, side="right")]


def _censored(times: Times) -> scipy.stats.CensoredData:
    every = np.array([*times.solved, *times.unsolved], np.float64)
    if not len(every):
        raise ValueError("times hold no trial: a curve needs one at least")
    if not (np.isfinite(every).all() and (every >= 0).all()):
        raise ValueError(f"times hold {every[~(np.isfinite(every) & (every >= 0))][0]}: each must be finite, and >= 0")
    return scipy.stats.CensoredData(uncensored=list(times.solved), right=list(times.unsolved))
