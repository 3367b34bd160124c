"""Estimates over seeds with their intervals: a mean, a median, a proportion, or a statistic from bootstrap draws.

A single trial has no interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float


class Interval(NamedTuple):
    """An estimate, in the unit of its values, and the ends of its interval; nan means "not known"."""

    estimate: float
    low: float
    high: float
    n: int  # number of values


def mean(values: Sequence[float | int], confidence: float = 0.95) -> Interval:
    """The mean with Student's t interval (Student 1908), exact for normal values.

    One value has an estimate and no interval (nan), none has neither. Where a value is infinite no t interval
    exists: the estimate is that infinity (nan if both signs occur) and the interval runs from the least to the greatest
    value. A nan among the values makes all nan.
    """
    x = np.asarray(values, np.float64)
    if not len(x) or np.isnan(x).any():
        return Interval(math.nan, math.nan, math.nan, len(x))
    if np.isinf(x).any():
        low, high = float(x.min()), float(x.max())
        estimate = math.nan if low == -math.inf and high == math.inf else float(x[np.isinf(x)][0])
        return Interval(estimate, low, high, len(x)) if len(x) > 1 else Interval(estimate, math.nan, math.nan, 1)
    estimate = float(x.mean())
    if len(x) == 1:
        return Interval(estimate, math.nan, math.nan, 1)
    half = scipy.stats.t.ppf((1 + confidence) / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x))
    return Interval(estimate, float(estimate - half), float(estimate + half), len(x))


def median(values: Sequence[float | int], confidence: float = 0.95) -> Interval:
    """The median with the exact interval between order statistics (Thompson 1936), free of any distribution.

    Its ends are values that were measured, so it stays meaningful for censored, bounded, skewed and infinite ones, and
    it covers the median with at least `confidence`. For n <= 5 no pair of values does at 0.95: the interval is then
    the range, which covers it with 1 - 2^(1-n): 0.5, 0.75, 0.875 and 0.9375 for n = 2, 3, 4 and 5. One value has no
    interval (nan), none no estimate either; a nan among the values makes all nan.
    """
    x = np.sort(np.asarray(values, np.float64))
    n = len(x)
    if not n or np.isnan(x).any():
        return Interval(math.nan, math.nan, math.nan, n)
    below, above = float(x[(n - 1) // 2]), float(x[n // 2])
    estimate = below if below == above else (below + above) / 2
    if n == 1:
        return Interval(estimate, math.nan, math.nan, 1)
    rank = max(int(scipy.stats.binom.ppf((1 - confidence) / 2, n, 0.5)), 1)
    return Interval(estimate, float(x[rank - 1]), float(x[n - rank]), n)


def proportion(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """A success rate with Wilson's score interval (Wilson 1927), which has a width at 0 of n and n of n too."""
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    interval = scipy.stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return Interval(successes / n, float(interval.low), float(interval.high), n)


def from_draws(
    estimate: float, draws: Float[np.ndarray, " R"], n: int, confidence: float = 0.95, groups: int = 1
) -> Interval:
    """An `Interval` around an estimate from its bootstrap draws: Student's t with the standard error of the draws.

    The variance of resampled statistics is biased, as that of a sample divided by n is: the standard error is too small
    by sqrt((n - groups) / n), which is corrected here (Hesterberg 2015, What teachers should know about the bootstrap).
    Percentiles of the draws have the same bias: for three values their 95 % interval covers three times in four.

    Args:
      estimate: of all n values; with fewer than two values a group it has no interval (nan).
      draws: the same statistic of resampled values. Where one is not finite the ends are the least and the greatest.
      n: how many values there are.
      confidence: of the interval.
      groups: how many groups the values form, each resampled within itself; degrees of freedom are n - groups.
    """
    if n <= groups:
        return Interval(estimate, math.nan, math.nan, n)
    if not (np.isfinite(draws).all() and math.isfinite(estimate)):
        return Interval(estimate, float(draws.min()), float(draws.max()), n)
    error = draws.std() * math.sqrt(n / (n - groups))
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, n - groups) * error)
    return Interval(estimate, estimate - half, estimate + half, n)
