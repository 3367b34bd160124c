"""A trained network and what was found of it, as `load` and `fit` give it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnlab.model import SequenceModel
from rnnlab.tasks.base import Task
from rnnlab.training.spec import TrainSpec, TrialSpec
from rnnlab.training.state import TrainState

At = Literal["end", "best"]


class Snapshot(NamedTuple):
    """A network at one evaluation."""

    model: SequenceModel
    steps: int  # updates made by then
    metrics: Mapping[str, float]  # held-out: the loss, and whatever else its task measures


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Trained:
    """A trained network, at its training's end or at its best evaluation; it unpacks as (model, spec, seed, steps).

    Attributes:
      task: what it was trained on; `task.sample(key, batch_size)` draws from it.
      train: how.
      spec: what it was built from; None where the user gave a model.
      seed: of its random streams.
      outcome: `learned` (it met its task's stop rule), `not learned`, `diverged` or `interrupted`; with arrays of
        one's own `ended` or `stopped early` in place of the first two.
      end: the network at the end, its updates and held-out metrics.
      best: the same at the lowest held-out loss; None: it was not kept, or no evaluation was finite.
      at: which of these two `model`, `steps` and `metrics` are of.
      history: one value an evaluation, by name: step, train/loss, grad/norm, eval/loss, ...
    """

    task: Task
    train: TrainSpec
    spec: TrialSpec | None
    seed: int
    outcome: str
    end: Snapshot
    best: Snapshot | None
    at: At
    history: Mapping[str, np.ndarray]

    @property
    def model(self) -> SequenceModel:
        """The network: `model(inputs)` takes [T, B, D], `model.step(carries, x)` one step [B, D]."""
        return self._chosen.model

    @property
    def steps(self) -> int:
        """Updates that made the network."""
        return self._chosen.steps

    @property
    def metrics(self) -> Mapping[str, float]:
        """Its held-out metrics."""
        return self._chosen.metrics

    @property
    def _chosen(self) -> Snapshot:
        return self.end if self.at == "end" or self.best is None else self.best

    def __iter__(self) -> Iterator[Any]:
        return iter((self.model, self.spec, self.seed, self.steps))

    def __repr__(self) -> str:
        found = ", ".join(f"{name} {value:.4g}" for name, value in self.metrics.items())
        best = f", the best of {self.end.steps}" if self._chosen is self.best else ""
        return f"<Trained {describe(self.model, self.task)}: {self.outcome}; after {self.steps} updates{best}: {found}>"


def describe(model: SequenceModel, task: Task) -> str:
    """Its cell and task, as in `LSTM on Adding 30`."""
    cell = model.cells[0]
    for around in ("cell", "module"):  # zoneout, or what makes a cell of Flax one of rnnlab
        cell = getattr(cell, around, cell)
    return f"{type(cell).__name__.removesuffix('Cell')} on {type(task).__name__} {task.length}"


def snapshots(state: TrainState, history: Mapping[str, np.ndarray]) -> tuple[Snapshot, Snapshot | None]:
    """The network of a trial's state at the end and at its best evaluation, with the metrics of its history."""

    def at(model, step, row):
        held_out = {name: found[row] for name, found in history.items() if name.startswith("eval/")}
        metrics = {name.removeprefix("eval/"): float(value) for name, value in held_out.items()}
        return Snapshot(jax.tree.map(jnp.asarray, model), int(step), metrics)

    if not len(history["step"]):
        return Snapshot(jax.tree.map(jnp.asarray, state.model), int(state.step), {}), None
    end, best = at(state.model, state.step, -1), state.best
    if best is None or not np.isfinite(best.loss):
        return end, None
    # What diverged in its window is recorded at the update that it tried, one beyond those it made.
    return end, at(best.model, best.step, int(np.searchsorted(history["step"], best.step)))
