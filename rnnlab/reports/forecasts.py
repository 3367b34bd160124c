"""A run's forecasts as arrays, their scores, and the table of all models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from rnnlab.forecasting.scores import BANDS, ROUNDING, mean_score, values_of
from rnnlab.reports.tables import Table, format_interval, format_number
from rnnlab.runs.results import Results
from rnnlab.stats import estimates
from rnnlab.stats.blocks import block_mean
from rnnlab.stats.estimates import Interval

SHOWN = ("MASE", "CRPS", "RMSE", "sMAPE", *BANDS)
HEADS = {"sMAPE": "sMAPE, %", "80 %": "in the 80 % band", "95 %": "in the 95 % band"}


class Forecasts(NamedTuple):
    """What was to be forecast of one series, and every model's forecasts."""

    series: str
    found: Mapping[str, Any]  # what `rnnlab.forecasting.baselines` found
    actual: Float[np.ndarray, "O h"]  # nan where not observed
    networks: Mapping[str, Float[np.ndarray, "S O h Q"]]  # by label, a trial each
    others: Mapping[str, Float[np.ndarray, "1 O h Q"]]  # without a network

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
        scale = self.found["mase_scale"] or math.nan
        return np.stack([values_of(score, self.actual, each, scale) for each in self.models[model]])

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
    """Of every series of which there are forecasts without a network; networks that diverged are left out."""
    found = []
    for task, arms in results.tasks.items():
        baselines = next((arm.baselines for arm in arms.values() if arm.baselines), None)
        if baselines is None:
            continue
        networks = {}
        for label, arm in arms.items():
            probed = [trial.probe("forecasts", "trained") for trial in arm.trials]
            kept = [np.asarray(each["quantiles"], np.float64) for each in probed if each]
            if kept := [each for each in kept if np.isfinite(each).all()]:
                networks[label] = np.stack(kept)
        others = {name: np.asarray(m["quantiles"], np.float64)[None] for name, m in baselines["models"].items()}
        found.append(Forecasts(task, baselines, np.array(baselines["actual"], np.float64), networks, others))
    return found


def models_table(results: Results) -> Table | None:
    """A row a model of each series, its scores over all origins and steps of the test part; None without forecasts."""
    rows, told = [], []
    for each in forecasts_of(results):
        origins = len(each.actual)
        told.append(f"{each.series}: {origins} origins, {each.actual.shape[1]} steps, in {each.found['unit']}")
        rows += [[f"{each.series}/{name}", *_cells(each, name)] for name in each.models]
    if not rows:
        return None
    caption = (
        "Forecasts of the test part; networks: medians over trials, with their intervals. MASE: absolute error over "
        "that of the seasonal naive forecast in training; CRPS from seven quantiles; point forecasts are medians. "
        "CRPS and RMSE are in the series' own unit. "
    )
    return Table(f"{caption}{'; '.join(told)}.", ["model", *(HEADS.get(name, name) for name in SHOWN)], rows)


def kinds_table(results: Results) -> Table:
    """Which model of each kind was fitted to a series, and the number of errors its quantiles are taken from."""
    rows = [
        [f"{each.series}/{name}", model["says"], f"{each.found['errors']:,}", format_number(each.score("MAE", name)[0])]
        for each in forecasts_of(results)
        for name, model in each.found["models"].items()
    ]
    caption = (
        "Models without a network, fitted to the training part; their quantiles are those of their errors at so many "
        "origins of the validation part."
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
