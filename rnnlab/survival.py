"""How long until a trial solves its task, where some trials never did: Kaplan & Meier's curve, its median, a test.

A trial that had not solved its task when its budget ended is censored: all that is known is "not by then". Leaving it
out, or counting its budget as its time, makes a setting that rarely solves look fast.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float, Int

from rnnlab.stats import Interval

NEARLY = 1e-9  # a survival of 1/2 is a product of ratios, and may miss it by rounding


class Times(NamedTuple):
    """Of each trial one time, in any unit: when it solved its task, or until when it had not."""

    solved: Sequence[float | int]
    unsolved: Sequence[float | int]


class Curve(NamedTuple):
    """The share of trials that have not solved their task after each time, with its pointwise band."""

    times: Float[np.ndarray, " K"]  # of any solving or censoring, rising
    survival: Float[np.ndarray, " K"]
    low: Float[np.ndarray, " K"]
    high: Float[np.ndarray, " K"]
    censored: Int[np.ndarray, " K"]  # trials whose observation ended there


def sequences_to_solve(trials: Sequence[Mapping[str, Any]]) -> Times:
    """Training sequences until each trial of one arm learned its task, from the trials of `results.json`.

    A trial that did not is censored where it stopped; one that diverged where the longest of the arm stopped, for it
    would not have learned with more sequences either. Trials that made no update are left out. Learning is seen at an
    evaluation, so times are multiples of what lies between two.
    """
    ran = [trial for trial in trials if trial["steps"]]
    longest = max((trial["sequences"] for trial in ran), default=0)
    solved = [trial for trial in ran if trial["status"] == "learned"]
    unsolved = [longest if t["status"] == "diverged" else t["sequences"] for t in ran if t["status"] != "learned"]
    return Times([trial["learned_at"] * trial["sequences"] / trial["steps"] for trial in solved], unsolved)


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


def logrank(a: Times, b: Times) -> float:
    """The two-sided p that the curves of a and b are one: the log-rank test (Mantel 1966), 1 where no trial solved.

    It compares who solves first among the trials still at it, so that it is made for curves that do not cross.

    Raises:
      ValueError: an arm without trials, or a time that is negative or not finite.
    """
    x, y = _censored(a), _censored(b)
    if not len(a.solved) and not len(b.solved):
        return 1.0
    with np.errstate(invalid="ignore"):  # 0 / 0: whenever a trial solved, only trials of its arm were left
        p = float(scipy.stats.logrank(x, y).pvalue)
    return 1.0 if math.isnan(p) else p


def _censored(times: Times) -> scipy.stats.CensoredData:
    every = np.array([*times.solved, *times.unsolved], np.float64)
    if not len(every):
        raise ValueError("times hold no trial: a curve needs one at least")
    if not (np.isfinite(every).all() and (every >= 0).all()):
        raise ValueError(f"times hold {every[~(np.isfinite(every) & (every >= 0))][0]}: each must be finite, and >= 0")
    return scipy.stats.CensoredData(uncensored=list(times.solved), right=list(times.unsolved))
