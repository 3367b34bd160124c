"""The memory horizon of a gradient from its log-norms over lag: decay rate, half-life and horizon, their intervals,
and whether one exponential describes the decay at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from rnnlab.stats.estimates import Interval, from_draws

BEND = 0.05  # of the line's fall: two halves whose slopes differ by a factor of 1.5 are just distinguished from one
FLAT = 0.1  # decades, a factor of 1.26: what is off by less is not worth another law
FEWEST = 4  # lags, below which any profile is nearly a line
CHUNK = 2**22  # numbers of resampled profiles at a time: 32 MiB


class NotFinite(ValueError):
    """A norm of a profile is nan or infinite, so that it has no horizon."""


class MemoryHorizon(NamedTuple):
    """How far back in time a gradient reaches, from its profile of log-norms over lag; nan where it is not finite."""

    decay_rate: float  # nats a step, the slope of the log-norm over lags: negative vanishes, positive explodes
    half_life: float  # steps in which the norm halves; infinite where it does not fall
    horizon: float  # a whole number: the largest lag still above `fraction` of lag 0
    censored: bool  # the profile ends there, above the fraction: the horizon may be longer


def memory_horizon(log10_norms: Float[np.ndarray, " T"], fraction: float = 1e-3) -> MemoryHorizon:
    """Decay rate, half-life and horizon of one profile (log10 norms by lag, averaged over examples).

    The rate is the least-squares slope over the lags where the norm is not exactly zero. A profile with
    fewer than two such lags has rate -inf, half-life 0 and horizon 0: no gradient leaves lag 0. One that is nan or
    infinite at any lag has none of them, and one of a single lag has no rate: all such are nan.
    """
    profile = np.asarray(log10_norms, np.float64)[None]
    if np.isnan(profile).any() or (profile == np.inf).any():
        return MemoryHorizon(math.nan, math.nan, math.nan, False)
    rate = float(_rates(profile)[0])
    horizon = int(_horizons(profile, fraction)[0])
    return MemoryHorizon(rate, float(_half_life(rate)), horizon, horizon >= last_lag(profile[0]))


def last_lag(log10_norms: Float[np.ndarray, "*S T"]) -> int:
    """The last lag at which any profile is not exactly zero; T - 1 where they are all zero from lag 1 on.

    Sequences of unequal length have no gradient beyond the longest of them. Where none leaves lag 0 it is cut off
    there, however long they are.
    """
    alive = np.isfinite(log10_norms).reshape(-1, np.shape(log10_norms)[-1]).any(axis=0)
    last = int(np.max(np.flatnonzero(alive), initial=0))
    return last or alive.size - 1


class ExponentialFit(NamedTuple):
    """How well an exponential describes a profile: a straight line of its log10 norms over lags."""

    decay_rate: float  # nats a step, the line's slope
    early: float  # nats a step, the slope over the first half of the lags
    late: float  # the same over the second half
    misfit: float  # decades: the furthest that the profile is from its line
    exponential: bool  # whether one rate describes all lags


def exponential_fit(log10_norms: Float[np.ndarray, " T"]) -> ExponentialFit:
    """Fits one exponential to a profile and decides whether it describes it.

    It does where the profile is nowhere further from its least-squares line than 5 % of the line's fall (or rise) over
    its lags, or than 0.1 decade if that is more. A bend halfway is detected when the slopes before and after it differ
    by a factor of 1.5; a power law seen over two decades, or an early drop of a decade before a slow decay, is far
    outside. The criterion is an effect size and no significance test: residuals of log-norms are sums over steps, so
    neighbours are correlated and an F-test rejects every long profile. (R^2 would reject every flat one.)

    A profile with a norm of exactly zero at some lag does not count as exponential, nor do fewer than 4 lags (misfit
    nan).
    """
    profile = np.asarray(log10_norms, np.float64)
    _check(profile)
    alive = np.isfinite(profile)
    if alive.sum() < FEWEST:
        return ExponentialFit(float(_rates(profile[None])[0]), math.nan, math.nan, math.nan, False)
    lags, values = np.flatnonzero(alive), profile[alive]
    slope, intercept = np.polyfit(lags, values, 1)
    misfit = float(np.abs(values - intercept - slope * lags).max())
    fall = abs(slope) * (lags[-1] - lags[0])
    half = len(lags) // 2
    early, late = (np.polyfit(lags[part], values[part], 1)[0] for part in (slice(half), slice(half, None)))
    nats = math.log(10)
    exponential = bool(alive.all() and misfit <= max(BEND * fall, FLAT))
    return ExponentialFit(float(slope * nats), float(early * nats), float(late * nats), misfit, exponential)


class HorizonIntervals(NamedTuple):
    """`MemoryHorizon` with intervals, and the exponential fit of the mean profile."""

    decay_rate: Interval  # nats a step
    half_life: Interval  # steps
    horizon: Interval  # lags
    censored: bool  # the profile ends at the horizon or its upper end, above the fraction: it may be longer
    line: ExponentialFit


def horizon_intervals(
    profiles: Sequence[Float[np.ndarray, "T _"]] | Float[np.ndarray, "S T B"],
    fraction: float = 1e-3,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> HorizonIntervals:
    """Decay rate, half-life and horizon of the profile averaged over examples and seeds, with bootstrap intervals.

    With several seeds whole seeds are drawn with replacement, each with all its examples; with one seed its examples
    are, and the intervals hold for that network alone. Drawing within the drawn seeds as well would count the scatter
    of examples twice, as a seed's mean already has it (Davison & Hinkley 1997, Bootstrap Methods and their Application,
    page 100: clusters drawn, each kept whole). The intervals are those of `stats.estimates.from_draws`. The half-life's
    ends are those of the rate; the horizon's are taken of log(1 + horizon), rounded outwards to whole lags and kept
    within the sequence. Where draws are infinite the ends are the least and the greatest.

    Args:
      profiles: log10 norms [T, B] of each seed, lag 0 first; B may differ between seeds. -inf is a norm of zero: an
        example counts at the lags where its norm is not zero.
      fraction: the horizon is the largest lag above this part of lag 0.
      confidence: of the intervals.
      resamples: draws.
      seed: of the draws; the same one gives the same intervals.

    Returns:
      Intervals whose n is the number of seeds, or of examples with one seed; of one value the ends are nan.

    Raises:
      NotFinite: nan or +inf in a profile.
      ValueError: no profile, profiles of different lengths, or a confidence outside (0, 1).
    """
    if not len(profiles):
        raise ValueError("profiles is empty: give the log10 norms [T, B] of at least one seed")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}: must lie between 0 and 1")
    arrays = [np.asarray(profile, np.float64) for profile in profiles]
    if len({len(array) for array in arrays}) > 1 or not all(array.size for array in arrays):
        raise ValueError(
            f"profiles have shapes {[array.shape for array in arrays]}: every seed needs the same T, B >= 1"
        )
    for array in arrays:
        _check(array)
    means = np.stack([mean_over_examples(array) for array in arrays])
    units = means if len(means) > 1 else arrays[0].T
    whole = mean_over_examples(means.T)
    found = memory_horizon(whole, fraction)
    rates, horizons = _resampled(units, fraction, resamples, np.random.default_rng(seed))
    n, end = len(units), len(whole) - 1
    rate = from_draws(found.decay_rate, rates, n, confidence)
    life = Interval(found.half_life, float(_half_life(rate.low)), float(_half_life(rate.high)), n)
    logs = from_draws(math.log1p(found.horizon), np.log1p(horizons), n, confidence)
    low, high = (np.clip(np.expm1(log), 0, end) for log in (logs.low, logs.high))
    lags = Interval(float(found.horizon), float(np.floor(low)), float(np.ceil(high)), n)
    return HorizonIntervals(rate, life, lags, found.censored or lags.high >= last_lag(whole), exponential_fit(whole))


def mean_over_examples(log10: Float[np.ndarray, "T B"]) -> Float[np.ndarray, " T"]:
    """The mean over the examples whose adjoint is not exactly zero at that lag; -inf where none is.

    An example that is exactly right, or whose ReLUs are all off, has an adjoint of zero: one such would
    otherwise make the whole profile -inf.
    """
    alive = log10 != -np.inf  # NaN and inf are no zeros: they make the mean what they are
    return _ratio(np.where(alive, log10, 0).sum(axis=1), alive.sum(axis=1))


def _check(log10: np.ndarray) -> None:
    wrong = np.argwhere(np.isnan(log10) | (log10 == np.inf))
    if len(wrong):
        raise NotFinite(f"log10 norm is {log10[tuple(wrong[0])]} at lag {wrong[0][0]}: that gradient is not finite")


def _ratio(total, count):
    return np.where(count > 0, total / np.maximum(count, 1), -np.inf)


def _resampled(units, fraction, resamples, rng) -> tuple[np.ndarray, np.ndarray]:
    """Rates and horizons [R] of means of `units` [N, T] drawn with replacement."""
    n, length = units.shape
    alive = np.isfinite(units)
    values = np.where(alive, units, 0)
    rates, horizons = [], []
    for start in range(0, resamples, size := max(1, CHUNK // length)):
        times = rng.multinomial(n, [1 / n] * n, size=min(size, resamples - start)).astype(np.float64)  # drawn [R, N]
        drawn = _ratio(times @ values, times @ alive)
        rates.append(_rates(drawn))
        horizons.append(_horizons(drawn, fraction))
    return np.concatenate(rates), np.concatenate(horizons)


def _rates(profiles: Float[np.ndarray, "R T"]) -> Float[np.ndarray, " R"]:
    """Least-squares slopes in nats a step over the lags where a profile is finite; -inf with fewer than two of them."""
    alive: Bool[np.ndarray, "R T"] = np.isfinite(profiles)
    count = alive.sum(axis=1)
    lags = np.arange(profiles.shape[1], dtype=np.float64)
    centre = (alive @ lags) / np.maximum(count, 1)
    away = np.where(alive, lags - centre[:, None], 0)
    spread = np.sum(away**2, axis=1)
    slope = np.sum(away * np.where(alive, profiles, 0), axis=1) / np.where(count > 1, spread, 1)
    none = -np.inf if profiles.shape[1] > 1 else np.nan  # one lag tells no rate, and zeros tell that all is lost
    return np.where(count > 1, slope * math.log(10), none)


def _horizons(profiles: Float[np.ndarray, "R T"], fraction: float) -> Float[np.ndarray, " R"]:
    """The largest lag above `fraction` of lag 0; 0 where lag 0 is zero itself."""
    first = profiles[:, :1]
    with np.errstate(invalid="ignore"):  # -inf less -inf: nan is above nothing
        above = np.isfinite(profiles) & (profiles - first >= math.log10(fraction)) & np.isfinite(first)
    return np.max(np.where(above, np.arange(profiles.shape[1]), 0), axis=1).astype(np.float64)


def _half_life(rates):
    """nan, which an end may be, is no half-life either."""
    rates = np.asarray(rates, np.float64)
    falling = rates < 0
    return np.where(falling, math.log(2) / np.where(falling, -rates, 1), np.where(np.isnan(rates), np.nan, np.inf))
