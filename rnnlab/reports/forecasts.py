"""A run's forecasts as arrays, their scores, and the table of all models."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from rnnlab.forecasting.scores import BANDS, ROUNDING, mean_score, values_of
from rnnlab.reports.tables import Table, format_interval, format_number
from rnnlab.runs.results import Arm, Results
from rnnlab.stats import estimates
from rnnlab.stats.blocks import block_mean
from rnnlab.stats.estimates import Interval

SHOWN = ("MASE", "CRPS", "RMSE", "sMAPE", *BANDS)
HEADS = {"sMAPE": "sMAPE, %", "80 %": "in the 80 % band", "95 %": "in the 95 % band"}


class Forecasts(NamedTuple):
    """What was to be forecast of one series, and every model's forecasts."""

    series: str
    found: Mapping[str, Any]  # what `rnnlab.forecasting.baselines` found; of several folds in the last, but for origins
    actual: Float[np.ndarray, "O h"]  # nan where not observed
    networks: Mapping[str, Float[np.ndarray, "S O h Q"]]  # by label, a trial each
    others: Mapping[str, Float[np.ndarray, "1 O h Q"]]  # without a network
    scale: Float[np.ndarray, "O 1"]  # of MASE: of the training part before each origin; nan without one
    folds: int = 1

    @property
    def models(self) -> dict[str, Float[np.ndarray, "S O h Q"]]:
        return {**self.networks, **self.others}

    @property
    def stride(self) -> int:
        """Rows from one origin to the next."""
        return int(np.min(np.diff(self.found["origins"]))) if len(self.found["origins"]) > 1 else self.actual.shape[1]

    @property
    def block(self) -> int:
        """Origins whose forecasts overlap; at least the cube root of how many there are, since errors of neighbours
        depend on each other beyond that.
        """
        return max(-(-self.actual.shape[1] // self.stride), round(len(self.actual) ** (1 / 3)))

    def values(self, score: str, model: str) -> Float[np.ndarray, "S O h"]:
        """What a score is the mean of."""
        return np.stack([values_of(score, self.actual, each, self.scale) for each in self.models[model]])

    def score(self, score: str, model: str) -> Interval:
        """The median over trials."""
        return estimates.median([float(mean_score(score, each)) for each in self.values(score, model)])

    def best_other(self, score: str = "CRPS") -> str:
        """The model without a network of the lowest score here, on the test part itself: the hardest to beat."""
        return min(self.others, key=lambda name: self.score(score, name).estimate)

    def difference(self, score: str, network: str, other: str) -> Interval:
        """The mean over trials of a network's score less another model's, over that one's mean: paired by origin.

        nan where the other makes no error.
        """
        ours, theirs = (
            mean_score(score, np.mean(self.values(score, name), axis=0), axis=1) for name in (network, other)
        )
        there = ~np.isnan(ours)
        scale = np.mean(theirs[there])
        if not scale > ROUNDING * np.nanmean(np.abs(self.actual)):
            return Interval(math.nan, math.nan, math.nan, int(there.sum()))
        return block_mean((ours - theirs)[there] / scale, self.block)

    def coverage(self, band: str, model: str) -> Interval:
        """The share of values within a band, over origins."""
        inside = mean_score(band, np.mean(self.values(band, model), axis=0), axis=1)
        return block_mean(inside[~np.isnan(inside)], self.block)


def forecasts_of(results: Results) -> list[Forecasts]:
    """Of every series of which there are forecasts without a network; networks that diverged are left out.

    Folds of a series are put together: origins of all, and networks of the seeds that each fold has.
    """
    folds: dict[str, list[tuple[Mapping[str, Any], Mapping[str, Mapping[int, np.ndarray]]]]] = {}
    for task, arms in results.tasks.items():
        if (baselines := next((arm.baselines for arm in arms.values() if arm.baselines), None)) is not None:
            networks = {label: _networks(arm) for label, arm in arms.items()}
            folds.setdefault(series_name(task, arms), []).append((baselines, networks))
    return [_together(series, *zip(*each, strict=True)) for series, each in folds.items()]


def last_folds(results: Results) -> Results:
    """The arms of each series' last fold, which has read the most: all, where there are no folds."""
    arms = {name: arm for name, arm in results.arms.items() if _fold(arm, "fold") == _fold(arm, "folds")}
    return dataclasses.replace(results, arms=arms or results.arms)


def fold_name(series: str, fold: int) -> str:
    """The task's name of one fold."""
    return f"{series}, fold {fold}"


def _fold(arm: Arm, name: str) -> int:
    return int(arm.settings.get(f"task.{name}", 1))


def series_name(task: str, arms: Mapping[str, Arm]) -> str:
    """The task's name without its fold."""
    return task.removesuffix(fold_name("", _fold(next(iter(arms.values())), "fold")))


def _networks(arm: Arm) -> dict[int, Float[np.ndarray, "O h Q"]]:
    """A network's quantiles by seed, of trials that have finite ones."""
    probed = {trial.seed: trial.probe("forecasts", "trained") for trial in arm.trials}
    found = {seed: np.asarray(each["quantiles"], np.float64) for seed, each in probed.items() if each}
    return {seed: each for seed, each in found.items() if np.isfinite(each).all()}


def _together(series: str, found: Sequence[Mapping[str, Any]], networks: Sequence[Mapping[str, Any]]) -> Forecasts:
    """The folds of one series as one, over the origins of all."""
    last = found[-1]
    actual = np.concatenate([np.array(each["actual"], np.float64) for each in found])
    scale = [np.full((len(each["origins"]), 1), each["mase_scale"] or math.nan) for each in found]
    of_all = {}
    for label in networks[-1]:
        seeds = [seed for seed in networks[-1][label] if all(seed in each.get(label, ()) for each in networks)]
        if seeds:
            of_all[label] = np.stack([np.concatenate([each[label][seed] for each in networks]) for seed in seeds])
    names = [name for name in last["models"] if all(name in each["models"] for each in found)]
    others = {
        n: np.concatenate([np.asarray(e["models"][n]["quantiles"], np.float64) for e in found])[None] for n in names
    }
    origins = [origin for each in found for origin in each["origins"]]
    return Forecasts(
        series, last | {"origins": origins} | _tail(found), actual, of_all, others, np.concatenate(scale), len(found)
    )


def _tail(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The values that are drawn, of all folds, each of which ends where its block does."""
    first = found[0]["tail"]["first"]
    values, time = list(found[0]["tail"]["values"]), list(found[0]["time"] or ())
    for each in found[1:]:
        new = first + len(values) - each["tail"]["first"]
        values += each["tail"]["values"][new:]
        time += (each["time"] or [])[new:]
    return {"tail": {"first": first, "values": values}, "time": time or None}


def models_table(results: Results) -> Table | None:
    """A row a model of each series, its scores over all origins and steps of the test part; None without forecasts."""
    rows, told = [], []
    for each in forecasts_of(results):
        origins = len(each.actual)
        in_folds = f" in {each.folds} folds" * (each.folds > 1)
        told.append(f"{each.series}: {origins} origins{in_folds}, {each.actual.shape[1]} steps, {each.found['unit']}")
        rows += [[f"{each.series}/{name}", *_cells(each, name)] for name in each.models]
    if not rows:
        return None
    caption = (
        "Forecasts of the test part; networks: medians over trials, with their intervals. MASE: absolute error over "
        "that of the seasonal naive forecast in training (of a series without a season, of the naive one); CRPS from "
        "seven quantiles; point forecasts are medians. CRPS and RMSE are in the series' own unit. "
    )
    return Table(f"{caption}{'; '.join(told)}.", ["model", *(HEADS.get(name, name) for name in SHOWN)], rows)


def steps_table(results: Results) -> Table:
    """Scores at the first and the last step after the origin, a row a model of each series."""
    rows, steps = [], []
    for each in forecasts_of(results):
        last = each.actual.shape[1] - 1
        steps.append(f"{each.series}: {last + 1}")
        for name in each.models:
            row = []
            for score in SHOWN:
                found = mean_score(score, np.mean(each.values(score, name), axis=0), axis=0)[[0, last]]
                row += [format_number(100 * value if score in BANDS else value) for value in found.tolist()]
            rows.append([f"{each.series}/{name}", *row])
    caption = (
        f"Forecasts of the test part at the first step after the origin, and at the last ({', '.join(steps)}). Means "
        "over origins, and over trials."
    )
    heads = [f"{HEADS.get(score, score)}, {which}" for score in SHOWN for which in ("first", "last")]
    return Table(caption, ["model", *heads], rows)


def kinds_table(results: Results) -> Table:
    """Which model of each kind was fitted to a series, and the number of errors its quantiles are taken from."""
    rows = [
        [f"{each.series}/{name}", model["says"], f"{each.found['errors']:,}", format_number(each.score("MAE", name)[0])]
        for each in forecasts_of(results)
        for name, model in each.found["models"].items()
    ]
    caption = (
        "Models without a network, fitted to the training part (of the last fold, where there are several); their "
        "quantiles are those of their errors at so many origins of the validation part."
    )
    return Table(caption, ["model", "which", "origins", "MAE"], rows)


def _cells(each: Forecasts, name: str) -> Sequence[str]:
    found = []
    for score in SHOWN:
        value = each.score(score, name)
        if score in BANDS:
            value = Interval(*(100 * part for part in value[:3]), value.n)
        shown = format_interval(value) if len(each.models[name]) > 1 else format_number(value.estimate)
        found.append(shown)
    return found
