"""Bootstrap intervals where there is no closed form, and aggregates over tasks that are robust to outliers.

Agarwal et al. 2021, Deep reinforcement learning at the edge of the statistical precipice, section 4. Scores come as
one list of trials a task: trials are drawn with replacement within each task (the stratified bootstrap), since the
tasks are chosen and only the trials are random.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

from rnnlab.stats.estimates import Interval, from_draws, proportion

Scores = Sequence[Sequence[float | int]]  # trials of each task


def bootstrap(
    scores: Scores,
    statistic: Callable[..., np.ndarray],
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Any statistic of all trials, with the interval of `rnnlab.stats.estimates.from_draws`.

    Args:
      scores: trials of each task; tasks may differ in number of trials. For one task `[values]`.
      statistic: `(values [..., N], axis=-1) -> [...]`, as numpy's own are.
      confidence: of the interval.
      resamples: draws.
      seed: of the draws; the same one gives the same interval.

    Returns:
      The estimate and its ends: nan ends where no task has two trials, all nan for a nan among the values or no value.
      A task with one trial beside others adds nothing to the variance.

    Raises:
      ValueError: a task without trials, or a confidence outside (0, 1).
    """
    groups = _groups(scores)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}: must lie between 0 and 1")
    values = np.concatenate(groups) if groups else np.zeros(0)
    if not len(values) or np.isnan(values).any():
        return Interval(math.nan, math.nan, math.nan, len(values))
    rng = np.random.default_rng(seed)
    drawn = [group[rng.integers(len(group), size=(resamples, len(group)))] for group in groups]
    draws = statistic(np.concatenate(drawn, axis=-1), axis=-1)
    return from_draws(float(statistic(values, axis=-1)), draws, len(values), confidence, len(groups))


def interquartile_mean(scores: Scores, confidence: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """The mean of the middle half of all trials, with its bootstrap interval.

    A quarter of them, rounded down, is left out at each end: of three trials none, which is their mean. It varies
    less than a median, and an outlier does not move it. Arguments and errors are those of `bootstrap`.
    """
    return bootstrap(
        scores, lambda values, axis: scipy.stats.trim_mean(values, 0.25, axis), confidence, resamples, seed
    )


class Profile(NamedTuple):
    """The share of trials above each threshold, and the band around it."""

    thresholds: Float[np.ndarray, " K"]
    share: Float[np.ndarray, " K"]
    low: Float[np.ndarray, " K"]
    high: Float[np.ndarray, " K"]


def performance_profile(
    scores: Scores, thresholds: Float[np.ndarray, " K"] | None = None, confidence: float = 0.95
) -> Profile:
    """The share of all trials whose score is above a threshold: the whole distribution, where an average is a point.

    The band is Wilson's, at each threshold on its own. The bootstrap's, which Agarwal et al. draw, has no width where
    all trials agree, as if five successes were certainty; over several tasks Wilson's is the wider, since drawing
    within tasks only lowers the variance.

    Args:
      scores: trials of each task; more is better. -inf is a trial that failed.
      thresholds: where the share is taken; left out, from the least to the greatest finite score.
      confidence: of the band at one threshold.

    Raises:
      ValueError: no trial, a task without trials, a nan, or no finite score where thresholds are left out.
    """
    values = np.concatenate(_groups(scores) or [np.zeros(0)])
    if not len(values) or np.isnan(values).any():
        raise ValueError(f"scores hold {len(values)} trials, {np.isnan(values).sum()} of them nan: needs one, and none")
    if thresholds is None:
        finite = values[np.isfinite(values)]
        if not len(finite):
            raise ValueError("no score is finite: give the thresholds")
        thresholds = np.linspace(finite.min(), finite.max(), 201)
    above = (values > thresholds[:, None]).sum(axis=1)
    bands = {count: proportion(count, len(values), confidence) for count in set(above.tolist())}
    share, low, high, _ = np.array([bands[count] for count in above.tolist()], np.float64).T
    return Profile(np.asarray(thresholds, np.float64), share, low, high)


def _groups(scores: Scores) -> list[np.ndarray]:
    groups = [np.asarray(group, np.float64) for group in scores]
    empty = [number for number, group in enumerate(groups) if group.ndim != 1 or not len(group)]
    if empty:
        raise ValueError(f"scores[{empty[0]}] is {scores[empty[0]]!r}: a list of at least one trial for each task")
    return groups
