"""How good forecasts are: of their median, of their quantiles, and of the bands between them.

Arrays are [O, h]: origins, and steps after each; a value that was not observed is nan and counts nowhere. Scores are
means of `values_of`, which keeps both axes, so that differences can be paired by origin.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float

from rnnlab.forecasting.scaling import MEDIAN, QUANTILES

ROUNDING = 1e-12  # an error that small, relative to the values, is none
SHARES = np.diff([0, *(np.array(QUANTILES)[1:] + QUANTILES[:-1]) / 2, 1])  # of levels, that each is nearest to
BANDS = {"80 %": (QUANTILES.index(0.1), QUANTILES.index(0.9)), "95 %": (0, len(QUANTILES) - 1)}


def values_of(
    score: str,
    actual: Float[np.ndarray, "O h"],
    quantiles: Float[np.ndarray, "O h Q"],
    scale: float | Float[np.ndarray, "O 1"] = 1.0,
) -> Float[np.ndarray, "O h"]:
    """What a score is the mean of, by origin and step; that of RMSE is squared.

    `MAE` and `RMSE` of the median; `sMAPE` in percent, 200 |y - f| / (|y| + |f|) (Makridakis 1993); `MASE`, absolute
    errors over `scale` (Hyndman & Koehler 2006); `CRPS`, the continuous ranked probability score in the series' unit:
    twice the integral of the quantile loss over levels (Gneiting & Raftery 2007), each of the seven for its share of
    them; `80 %` and `95 %`, whether a value lies within that band, its ends included.
    """
    if score in BANDS:
        low, high = BANDS[score]
        inside = (quantiles[..., low] <= actual) & (actual <= quantiles[..., high])
        return np.where(np.isnan(actual), np.nan, inside.astype(np.float64))
    error = actual - quantiles[..., MEDIAN]
    if score == "CRPS":
        levels = np.array(QUANTILES)
        each = actual[..., None] - quantiles
        return 2 * np.maximum(levels * each, (levels - 1) * each) @ SHARES
    if score == "RMSE":
        return error**2
    if score == "sMAPE":
        size = np.abs(actual) + np.abs(quantiles[..., MEDIAN])
        return 200 * np.abs(error) / np.where(size > 0, size, 1)
    return np.abs(error) / (scale if score == "MASE" else 1.0)


def mean_score(score: str, values: Float[np.ndarray, "..."], axis: int | None = None) -> np.ndarray:
    """The score of `values_of`; along one axis, or over all. nan where nothing was observed."""
    there = ~np.isnan(values)
    total = np.sum(np.where(there, values, 0), axis=axis)
    found = total / np.where(there.any(axis=axis), there.sum(axis=axis), np.nan)
    return np.asarray(np.sqrt(found) if score == "RMSE" else found)


def mase_scale(values: Float[np.ndarray, " n"], observed: Bool[np.ndarray, " n"], period: int) -> float:
    """The mean absolute error of the seasonal naive forecast within a training part; nan where it makes none."""
    both = observed[period:] & observed[:-period]
    errors = np.abs(values[period:] - values[:-period])[both]
    none = ROUNDING * np.abs(values).mean()
    return float(errors.mean()) if errors.size and errors.mean() > none else math.nan


def below(actual: Float[np.ndarray, "O h"], quantiles: Float[np.ndarray, "O h Q"]) -> Float[np.ndarray, "O h Q"]:
    """Whether a value lies at or below each quantile: on average its level, where forecasts are calibrated."""
    return np.where(np.isnan(actual)[..., None], np.nan, (actual[..., None] <= quantiles).astype(np.float64))
