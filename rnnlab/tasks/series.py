"""Forecast a series: the next h steps from the last T, as quantiles."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import chz
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from rnnlab.data import series as data
from rnnlab.data.card import DataCard
from rnnlab.data.csv_series import csv_series
from rnnlab.data.known_series import known_series
from rnnlab.forecasting import scaling
from rnnlab.forecasting.baselines import forecasts_without_network
from rnnlab.forecasting.parts import Parts, split, spread
from rnnlab.forecasting.scaling import QUANTILES, Scaling
from rnnlab.specs.errors import UserError
from rnnlab.specs.fields import field
from rnnlab.tasks.base import Batch, Task, mean_over_answers

Q = np.array(QUANTILES, np.float32)


class Prepared(NamedTuple):
    """A series in its parts, scaled by the training part alone."""

    series: data.Series
    parts: Parts
    scaling: Scaling
    inputs: Float[np.ndarray, "n D"]  # float32
    targets: Float[np.ndarray, "n h"]  # float32, of each row as origin; nan where not observed


def of_file(self: Any, name: str) -> None:
    """A chz validator: settings of a file without one."""
    value = getattr(self, name)
    if value and not self.csv:
        raise ValueError(f"{name.removeprefix('X_')}={value}: only of a file of one's own, csv=FILE")


@chz.chz
class Series(Task):
    """Forecast the next h steps of a series from its last T, as the quantiles .025, .1, .25, .5, .75, .9 and .975.

    The loss is the quantile loss (Koenker & Bassett 1978), the mean over quantiles, steps and observed targets, in
    units of the training part's standard deviation. Training, validation (the held-out sequences) and test part follow
    each other in time; nothing of the test part enters training, scaling or the choice of a network.

    `direct`: one answer after the last step, all h steps at once. `autoregressive`: the next step after every step;
    longer forecasts are paths, of which each step is drawn from the one before.

    `folds`: an expanding window (Tashman 2000): the test part in blocks, fold k of which knows what is before block k.
    """

    series: str = chz.field(default="sp500", doc="sp500, sunspots, co2 or electricity; not read where csv is given")
    csv: str | None = chz.field(default=None, doc="a file of one's own in its place: UTF-8, with a header")
    column: str | None = chz.field(default=None, validator=of_file, doc="its values; None: the only column of numbers")
    time: str | None = chz.field(default=None, validator=of_file, doc="their times; None: the only column of times")
    covariates: tuple[str, ...] = chz.field(default=(), validator=of_file, doc="other columns, known until the origin")
    length: int = field(64, "window T before an origin, in steps", low=1)
    horizon: int = field(12, "steps h that are forecast", low=1)
    transform: Literal["auto", "levels", "changes", "returns"] = chz.field(
        default="auto", doc="what is read and forecast; auto: by the training part, see rnnlab.forecasting.scaling"
    )
    mode: Literal["direct", "autoregressive"] = chz.field(
        default="direct", doc="all h steps at once, or one after the other"
    )
    period: int | None = field(
        None, "seasonal period in steps, of baselines and MASE; None: as the step suggests", low=1
    )
    validation: float = field(0.15, "fraction, or number, of rows that choose the network", above=0)
    test: float = field(0.2, "fraction, or number, of rows at the end that are forecast", above=0)

    folds: int = field(1, "blocks of the test part, each forecast by what was fitted to all before it", low=1)
    fold: int = field(1, "which of the blocks, from 1", low=1)

    @chz.validate
    def _fold_fits(self):
        if self.fold > self.folds:
            raise ValueError(f"fold={self.fold}: at most folds = {self.folds}")

    @chz.validate
    def _mode_fits(self):
        if self.covariates and self.mode == "autoregressive":
            told = "not with covariates, whose values after the origin are not known"
            raise ValueError(f"mode=autoregressive: {told}; the nearest is direct")

    @property
    def in_features(self) -> int:
        return 1 + len(self.covariates)

    @property
    def out_features(self) -> int:
        return len(QUANTILES) * (1 if self.autoregressive else self.horizon)

    @property
    def answers(self) -> int:
        return self.length if self.autoregressive else 1

    @property
    def autoregressive(self) -> bool:
        """Whether it answers at every step, with the next one."""
        return self.mode == "autoregressive"

    @property
    def steps(self) -> int:
        """Steps of one answer."""
        return 1 if self.autoregressive else self.horizon

    @property
    def files(self) -> tuple[str, ...]:
        return (self.csv,) if self.csv else ()

    @property
    def chance(self) -> float:
        """The validation part's loss of the training part's own quantiles, the same at every origin."""
        return _chance(self, self.read_series())

    @property
    def card(self) -> DataCard:
        series, parts, fitted, *_ = self.prepared()
        read = f"read as {fitted.transform}, scaled by the training part alone"
        return DataCard(
            series.name, series.source, series.licence, len(series), parts.told(series.when), series.sha256,
            (*series.repairs, read),
        )  # fmt: skip

    def prepared(self) -> Prepared:
        """The series in its parts. Raises UserError where it cannot be had, or is too short."""
        return _prepare(self, self.read_series())

    def read_series(self) -> data.Series:
        """The series as it is. Raises UserError."""
        if self.csv:
            return csv_series(self.csv, self.column, self.time, self.covariates)
        return known_series(self.series)

    def origins(self, part: str) -> np.ndarray:
        """The last rows that forecasts of the training, validation or test part read; of the test part some."""
        series, parts, *_ = self.prepared()
        if part == "test":
            period = self.period or max(series.periods, default=1)
            return spread(parts.origins(part, self.length, self.horizon), self.horizon, period)
        return parts.origins(part, self.length, self.steps)

    def sample(self, key: Array, batch_size: int) -> Batch:
        origins = self.origins("training")
        return self._windows(jax.random.randint(key, (batch_size,), origins[0], origins[-1] + 1, jnp.int32))

    def held_out(self, key: Array, batch_size: int) -> Batch:
        """`batch_size` windows of the validation part, each once while they last; only targets in it count."""
        origins = self.origins("validation")
        which = jax.random.permutation(key, len(origins))[jnp.arange(batch_size) % len(origins)]
        batch = self._windows(jnp.asarray(origins, jnp.int32)[which])
        if not self.autoregressive:
            return batch
        at = origins[0] + which - self.length + 1 + jnp.arange(self.length)[:, None]  # what the answer is after
        return batch._replace(mask=at + 1 >= self.prepared().parts.training)

    def _windows(self, origins: Array) -> Batch:
        """Windows that end at these rows [B], with what follows."""
        _, parts, _, inputs, targets = self.prepared()
        seen = parts.validation  # what lies behind it is no part of the program that trains
        rows = origins - self.length + 1 + jnp.arange(self.length)[:, None]
        read = jnp.asarray(inputs[:seen])[rows]
        asked = rows if self.autoregressive else origins[None]
        return Batch(read, jnp.asarray(targets[:seen, : self.steps])[asked])

    def losses(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        found, there = self._answered(outputs), ~jnp.isnan(batch.targets)
        error = jnp.where(there, batch.targets, 0)[..., None] - found
        loss = jnp.mean(jnp.maximum(Q * error, (Q - 1) * error), axis=-1)
        return mean_over_answers(_mean_of(loss, there), batch)

    def right(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        """The share of targets on the same side of the training part's mean as the median."""
        found, there = self._answered(outputs)[..., scaling.MEDIAN], ~jnp.isnan(batch.targets)
        same = (jnp.where(there, batch.targets, 0) >= 0) == (found >= 0)
        return mean_over_answers(_mean_of(same.astype(outputs.dtype), there), batch)

    @property
    def has_stop_rule(self) -> bool:
        return False

    def _answered(self, outputs: Float[Array, "N B K"]) -> Float[Array, "N B h Q"]:
        return outputs.reshape(*outputs.shape[:-1], self.steps, len(QUANTILES))

    def baselines(self) -> Mapping[str, Any]:
        """What was to be forecast, and forecasts without a network: see `rnnlab.forecasting.baselines`."""
        series, parts, fitted, inputs, targets = self.prepared()
        return forecasts_without_network(
            series, parts, fitted, inputs, targets, self.length, self.horizon, self.origins("test"), self.period
        )


def _mean_of(loss: Float[Array, "N B h"], there: Bool[Array, "N B h"]) -> Float[Array, "N B"]:
    return jnp.sum(jnp.where(there, loss, 0), axis=-1) / jnp.maximum(jnp.sum(there, axis=-1), 1)


@functools.lru_cache(maxsize=16)
def _prepare(task: Series, series: data.Series) -> Prepared:
    parts = split(len(series), task.validation, task.test, task.length, task.horizon, task.fold, task.folds)
    series = series.until(parts.test)
    if task.transform == "returns" and series.values.min() <= 0:
        row = int(np.argmin(series.values))
        told = f"{series.name}, {series.when(row)}: {series.values[row]:g}"
        raise UserError(f"transform=returns: {told}: needs values above 0; the nearest is changes")
    known = slice(parts.training)
    try:
        fitted = scaling.fit(
            task.transform, series.values[known], series.observed[known], series.covariates[known], task.horizon
        )
    except UserError as error:
        raise UserError(f"{series.name}: {error}") from error
    if fitted.transform == "returns" and series.values.min() <= 0:  # only later: training must not depend on it
        raise UserError(f"{series.name}: positive in training, {series.values.min():g} later: choose transform=changes")
    inputs = fitted.inputs(series.values, series.covariates).astype(np.float32)
    targets = fitted.targets(series.values, series.observed).astype(np.float32)
    return Prepared(series, parts, fitted, inputs, targets)


@functools.lru_cache(maxsize=16)
def _chance(task: Series, series: data.Series) -> float:
    prepared = _prepare(task, series)
    steps = slice(0, task.steps)
    past = prepared.targets[task.origins("training"), steps]
    later = prepared.targets[task.origins("validation"), steps]
    constant = np.nanquantile(past, QUANTILES, axis=0).T
    error = later[..., None] - constant
    return float(np.nanmean(np.maximum(Q * error, (Q - 1) * error)))
