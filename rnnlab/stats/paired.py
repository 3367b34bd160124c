"""Differences of two arms over trials of one seed: equal batches, and equal first weights where shapes agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy

from rnnlab.stats import estimates
from rnnlab.stats.estimates import Interval

EXACT = 13  # pairs up to which all 2^n signs are enumerated, also with ties and zeros


class Paired(NamedTuple):
    """One arm minus another, pair by pair."""

    mean: Interval
    median: Interval
    p: float  # two-sided, that neither arm is the better one; nan without a pair


def differences(a: Sequence[float | int], b: Sequence[float | int]) -> Paired:
    """a - b over pairs: mean with Student's t interval, median with order statistics', and Wilcoxon's test.

    Both intervals are exact, so nothing is resampled. Wilcoxon's signed-rank test (Wilcoxon 1945; zeros as Pratt 1959)
    asks whether the differences lie around 0 symmetrically. Its least p is 2^(1-n): with five pairs or fewer it
    cannot fall below 0.05, whatever the arms do.

    Raises:
      ValueError: lists of different lengths, or a value that is not finite (a pair with a diverged trial has no
        difference: leave it out and say so).
    """
    x, y = _pairs(a, b)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a pair holds a value that is not finite: leave it out, and say so")
    d = (x - y).tolist()
    if len(d) > 1 and any(d):
        method = scipy.stats.PermutationMethod(n_resamples=2**EXACT) if len(d) <= EXACT else "auto"
        p = float(scipy.stats.wilcoxon(d, zero_method="pratt", method=method).pvalue)
    else:
        p = 1.0 if d else math.nan
    return Paired(estimates.mean(d), estimates.median(d), p)


class PairedSuccess(NamedTuple):
    """One arm's success rate minus another's."""

    difference: Interval
    only_a: int  # pairs in which a alone succeeded
    only_b: int
    p: float  # two-sided; nan without a pair


def success_difference(a: Sequence[bool], b: Sequence[bool], confidence: float = 0.95) -> PairedSuccess:
    """The difference of two success rates over pairs, a - b, with McNemar's exact test.

    Only pairs that differ tell the arms apart, and without a difference either side is as likely: a binomial test
    (McNemar 1947). The interval is Wald's with one pair added to each way of differing (Bonett & Price 2012, Adjusted
    Wald confidence interval for a difference of binomial proportions based on paired data): it has a width where no
    pair differs.

    Raises:
      ValueError: lists of different lengths.
    """
    x, y = (side.astype(bool) for side in _pairs(a, b))
    n, only_a, only_b = len(x), int((x & ~y).sum()), int((y & ~x).sum())
    if n == 0:
        return PairedSuccess(Interval(math.nan, math.nan, math.nan, 0), 0, 0, math.nan)
    p = scipy.stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    up, down = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    half = scipy.stats.norm.ppf((1 + confidence) / 2) * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    low, high = max(up - down - half, -1.0), min(up - down + half, 1.0)
    return PairedSuccess(Interval((only_a - only_b) / n, float(low), float(high), n), only_a, only_b, float(p))


def holm(ps: Sequence[float]) -> list[float]:
    """The p of several tests, corrected so that the chance of any false positive is that of one test (Holm 1979).

    The smallest p is multiplied by the number of tests, the next by one less, and so on; none falls below that of a
    smaller p. A test that was not made (nan) does not count.
    """
    p = np.asarray(ps, np.float64)
    corrected = np.full(len(p), math.nan)
    order = np.argsort(p)[: np.isfinite(p).sum()]  # nan comes last
    corrected[order] = np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)).clip(max=1)
    return corrected.tolist()


def _pairs(a, b) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"{x.shape} values against {y.shape}: pairs need one of each, in the order of their seeds")
    return x, y
