"""Forecasts of a series without a recurrent network: what one has to beat.

All are fitted to the training part, as a network is, and read the series up to each origin. Their median is the
forecast itself; the other quantiles lie about it as its own errors do in the validation part, at the same step.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from rnnlab.data.series import Series, needs_extra
from rnnlab.forecasting.parts import Parts
from rnnlab.forecasting.scaling import MEDIAN, QUANTILES, Scaling, logged
from rnnlab.forecasting.scores import mase_scale

LONGEST_SEASON = 60  # steps, of exponential smoothing: a state each
FEWEST_ROWS = 10  # that exponential smoothing begins from
MOST_LAGS = 60  # of the autoregression
TAIL = 3  # times the test part: the rows that are kept to be drawn
DIGITS = 7


class Forecaster(NamedTuple):
    """A fitted model."""

    says: str  # which one, in a few words
    at: Callable[[Int[np.ndarray, " O"]], Float[np.ndarray, "O h"]]  # what follows each origin, in u


def forecasts_without_network(
    series: Series,
    parts: Parts,
    scaling: Scaling,
    inputs: Float[np.ndarray, "n D"],
    targets: Float[np.ndarray, "n h"],
    length: int,
    horizon: int,
    origins: Int[np.ndarray, " O"],
    period: int | None,
) -> dict[str, Any]:
    """What was to be forecast at the test part's origins, and each model's quantiles, as JSON holds it.

    `inputs` and `targets` are scaled, as a network has them. u stands for the values, or their logarithm where changes
    are relative.
    """
    periods = (period,) if period else series.periods
    u = logged(scaling.transform, series.values)
    following = origins[:, None] + 1 + np.arange(horizon)
    models = fitted_models(u, parts, scaling, inputs, targets, length, horizon, periods)
    checked = parts.origins("validation", length, horizon)
    later = checked[:, None] + 1 + np.arange(horizon)
    errors_at = np.where(series.observed[later], u[later], np.nan)
    found = {}
    for name, model in models.items():
        errors = np.nanquantile(errors_at - model.at(checked), QUANTILES, axis=0).T  # [h, Q]
        quantiles = model.at(origins)[..., None] + errors - errors[:, MEDIAN, None]
        quantiles = np.exp(quantiles) if scaling.transform == "returns" else quantiles
        found[name] = {"says": model.says, "quantiles": rounded(quantiles)}
    actual = np.where(series.observed[following], series.values[following], np.nan)
    known, m = slice(parts.training), max(periods, default=1)
    start = max(0, parts.validation - TAIL * (parts.test - parts.validation))
    return {
        "series": series.name, "unit": series.unit, "step": series.step, "horizon": horizon, "periods": list(periods),
        "scaling": scaling.as_json(), "parts": list(parts), "errors": len(checked),
        "mase_scale": rounded(mase_scale(series.values[known], series.observed[known], m)),
        "origins": origins.tolist(), "origin_values": series.values[origins].tolist(), "actual": rounded(actual),
        "tail": {"first": start, "values": rounded(np.where(series.observed, series.values, np.nan)[start:])},
        "time": None if series.time is None else [str(time) for time in series.time[start:]],
        "autocorrelation": rounded(autocorrelation(inputs[: parts.training, 0], length)), "models": found,
    }  # fmt: skip


def fitted_models(u, parts, scaling, inputs, targets, length, horizon, periods) -> dict[str, Forecaster]:
    """Every model by name, fitted to rows before `parts.training` alone."""
    past, steps = u[: parts.training], np.arange(1, horizon + 1)
    slope = (past[-1] - past[0]) / (len(past) - 1)
    models = {
        "naive": Forecaster("the last value", lambda at: np.repeat(u[at][:, None], horizon, axis=1)),
        "drift": Forecaster("the last value and the mean change", lambda at: u[at][:, None] + slope * steps),
    }
    if periods and max(periods) <= len(past):
        m = max(periods)
        models["seasonal naive"] = Forecaster(
            f"the value {m} steps before", lambda at: u[at[:, None] + steps - m * -(-steps // m)]
        )
    models["AR"] = autoregression(u, parts.training, scaling.transform, horizon)
    if len(past) >= FEWEST_ROWS:
        models["ETS"] = exponential_smoothing(u, parts.training, horizon, periods)
    models["ridge"] = ridge(u, parts, scaling, inputs, targets, length, horizon)
    return models


def autoregression(u: Float[np.ndarray, " n"], training: int, transform: str, horizon: int) -> Forecaster:
    """Of u, or of its changes, by least squares; the order of the least BIC (Schwarz 1978)."""
    try:
        from statsmodels.tsa.ar_model import ar_select_order  # here: it takes seconds to import
    except ImportError as error:
        raise needs_extra(error) from error
    level = transform == "levels"
    z = u if level else np.diff(u, prepend=u[0])
    past = z[:training] if level else z[1:training]
    most = min(MOST_LAGS, len(past) // 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an index without frequency, which is not used
        chosen = ar_select_order(past, most, ic="bic", trend="c")
        constant, *weights = chosen.model.fit().params
    order = len(weights)
    backwards = np.array(weights)[::-1]

    def at(origins):
        window = z[np.maximum(origins[:, None] - np.arange(order)[::-1], 0)] if order else np.zeros((len(origins), 0))
        found = []
        for _ in range(horizon):
            found.append(constant + window[:, -order or window.shape[1] :] @ backwards)
            window = np.concatenate([window, found[-1][:, None]], axis=1)
        moved = np.stack(found, axis=1)
        return moved if level else u[origins][:, None] + np.cumsum(moved, axis=1)

    return Forecaster(f"AR({order}) of {'levels' if level else 'changes'}, order by BIC", at)


def exponential_smoothing(
    u: Float[np.ndarray, " n"], training: int, horizon: int, periods: tuple[int, ...]
) -> Forecaster:
    """Of additive errors (Hyndman, Koehler, Ord & Snyder 2008): without trend, with one, damped or not, with a season
    of up to 60 steps; that of the least BIC.
    """
    try:
        from statsmodels.tsa.exponential_smoothing.ets import ETSModel
    except ImportError as error:
        raise needs_extra(error) from error
    seasons = [m for m in periods if 1 < m <= LONGEST_SEASON and 2 * m + 10 < training]
    kinds = [(trend, damped, m) for trend, damped in ((None, False), ("add", True), ("add", False))
             for m in (None, *seasons)]  # fmt: skip
    best = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fits that did not converge: their BIC tells
        for trend, damped, m in kinds:
            options = {"error": "add", "trend": trend, "damped_trend": damped, "seasonal": "add" if m else None,
                       "seasonal_periods": m, "initialization_method": "heuristic"}  # fmt: skip
            fit = ETSModel(u[:training], **options).fit(disp=False)
            if best is None or fit.bic < best[0]:
                best = fit.bic, (trend, damped, m), fit, options
        _, (trend, damped, m), fit, options = best
        begins = {f"initial_{part}": getattr(fit, f"initial_{part}", None) for part in ("level", "trend", "seasonal")}
        begins = {name: value for name, value in begins.items() if value is not None}
        options |= begins | {"initialization_method": "known"}  # not made anew of what the training part lacks
        states = np.asarray(ETSModel(u, **options).smooth(fit.params).states)
    phi = dict(zip(fit.param_names, fit.params, strict=True)).get("damping_trend", 1.0)
    steps = np.arange(1, horizon + 1)

    def at(origins):
        found = np.repeat(states[origins, :1], horizon, axis=1)
        if trend:
            found = found + states[origins, 1:2] * np.cumsum(phi**steps)
        return found + states[origins[:, None] + steps - m * -(-steps // m), -1] if m else found

    kind = f"A,{'Ad' if damped else 'A' if trend else 'N'},{'A' if m else 'N'}"
    return Forecaster(f"ETS({kind}{f', period {m}' if m else ''}), kind by BIC", at)


def ridge(u, parts, scaling, inputs, targets, length, horizon) -> Forecaster:
    """Each step by ridge regression on what a network reads; its penalty by leave-one-out errors.

    Steps that were observed at the same training origins share a fit; one observed at a single origin is its mean.
    """
    from sklearn.linear_model import RidgeCV  # here: scikit-learn takes a second to import

    def windows(origins):
        return inputs[origins[:, None] - np.arange(length)[::-1]].reshape(len(origins), -1)

    known = parts.origins("training", length, horizon)
    there = ~np.isnan(targets[known])
    models = []
    for seen in np.unique(there, axis=1).T:
        steps = np.flatnonzero((there == seen[:, None]).all(axis=0))
        rows = known[seen]
        if len(rows) > 1:
            fit = RidgeCV(alphas=np.logspace(-2, 5, 8)).fit(windows(rows), targets[rows][:, steps])
            models.append((steps, fit))
    penalties = " or ".join(dict.fromkeys(f"{fit.alpha_:g}" for _, fit in models)) or "none"
    mean, scale = np.array(scaling.mean), np.array(scaling.scale)

    def at(origins):
        moved, read = np.zeros((len(origins), horizon)), windows(origins)
        for steps, fit in models:
            moved[:, steps] = fit.predict(read).reshape(len(origins), len(steps))
        moved = moved * scale + mean
        return moved if scaling.transform == "levels" else u[origins][:, None] + moved

    return Forecaster(f"ridge on the last {length} steps, penalty {penalties}", at)


def autocorrelation(x: Float[np.ndarray, " n"], lags: int) -> Float[np.ndarray, " K"]:
    """At lags 0 to `lags` - 1 (Box & Jenkins 1976, section 2.1)."""
    x = np.asarray(x, np.float64) - np.mean(x)
    return np.array([x[lag:] @ x[: len(x) - lag] for lag in range(min(lags, len(x)))]) / (x @ x)


def rounded(values: Any) -> Any:
    """As JSON holds it, to 7 significant digits; None where it is nan."""
    if isinstance(values, np.ndarray) and values.ndim:
        return [rounded(part) for part in values]
    return None if np.isnan(values) else float(f"{values:.{DIGITS}g}")
