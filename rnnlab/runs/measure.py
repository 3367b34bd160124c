"""Run probes on trials, each on held-out sequences of its own."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from rnnlab.probes.gradients.extended_range import LogNorm
from rnnlab.probes.gradients.flow import FlowSpec, gradient_flow
from rnnlab.probes.gradients.horizon import NotFinite, horizon_intervals, mean_over_examples, memory_horizon
from rnnlab.probes.precision import at_full_precision
from rnnlab.settings.resolve import ArmSpec
from rnnlab.specs.errors import Undefined
from rnnlab.tasks import Task
from rnnlab.tasks.base import steps_of
from rnnlab.training.guessing import Guesses, guess
from rnnlab.training.layout import Layout, map_trials
from rnnlab.training.spec import GUESSES, PROBES, stream
from rnnlab.training.state import TrainState

GUESSES_A_TRIAL, GUESSED_ON = 32, 64  # networks with guessed weights, and sequences that each is judged by
PROFILE_LAGS = 600  # points kept of a profile over lag in results.json

Probe = Callable[..., Mapping[str, Any]]  # (model, inputs [T, B, D], losses, answers) -> {name: array or LogNorm}


def held_out(task: Task, flow: FlowSpec, state: TrainState):
    """The sequences on which one trial is probed, and their losses [B] from outputs."""
    batch = task.held_out(stream(state.seed, PROBES), flow.examples)
    return batch, functools.partial(task.losses, batch=batch)


class Measured(NamedTuple):
    """Gradient flow and gates of one trial."""

    logs: dict[str, np.ndarray]  # log10 norms [T, B] by lag
    gates: dict[str, np.ndarray]

    def profiles(self) -> dict[str, np.ndarray]:
        """log10 norm [T] by lag, the mean over examples."""
        return {name: mean_over_examples(log10) for name, log10 in self.logs.items()}

    def reach(self, fraction: float) -> dict[str, dict[str, Any]]:
        """Decay rate, half-life and horizon by name."""
        return {name: memory_horizon(profile, fraction)._asdict() for name, profile in self.profiles().items()}

    def not_finite(self) -> dict[str, dict[str, int]]:
        """By name: the first lag at which an example's norm is nan or infinite, and of how many examples one is."""
        found = {}
        for name, log10 in self.logs.items():
            broken = np.isnan(log10) | (log10 == np.inf)
            if broken.any():
                lag, examples = int(np.argmax(broken.any(axis=1))), int(broken.any(axis=0).sum())
                found[name] = {"lag": lag, "examples": examples, "of": log10.shape[1]}
        return found


@functools.cache
def flow_probe(task: Task, flow: FlowSpec, layers: int, where: Layout) -> Callable[[TrainState], Any]:
    """All entries' states -> (gradient flow, gate values of a few sequences) on held-out sequences, compiled once."""
    top = f"layer{layers - 1}/"

    @at_full_precision
    def probe(state):
        batch, losses = held_out(task, flow, state)
        few = {name: part[..., :4] for name, part in steps_of(batch).items()}
        inner = state.model.intermediates(batch.inputs[:, :4], **few)
        gates = {gate: inner[top + gate] for gate in "ifo" if top + gate in inner}
        return gradient_flow(state.model, batch.inputs, losses, task.answers, **steps_of(batch)), gates

    return map_trials(probe, where.whole_batches())


def measure(spec: ArmSpec, where: Layout, states: TrainState, chosen: Sequence[int]) -> list[Measured]:
    """Gradient flow and gates of the trials in the chosen entries, on held-out sequences of their own."""
    flows, gates = jax.device_get(flow_probe(spec.task, spec.flow, spec.layers, where)(states))
    found = []
    for entry in chosen:
        logs = {plain(n, spec.layers): LogNorm(*(part[entry] for part in norm)).log10() for n, norm in flows.items()}
        found.append(Measured(logs, {name: gate[entry] for name, gate in gates.items()}))
    return found


@functools.cache
def guess_program(task: Task, where: Layout) -> Callable[[TrainState], Guesses]:
    """All entries' states -> what GUESSES_A_TRIAL networks with guessed weights reach on held-out sequences."""

    def run(state):
        drawn, guessed = jax.random.split(stream(state.seed, GUESSES))
        return guess(state.model, task, task.held_out(drawn, GUESSED_ON), guessed, GUESSES_A_TRIAL)

    return map_trials(run, where.whole_batches())


def guessing(spec: ArmSpec, where: Layout, states: TrainState, chosen: Sequence[int]) -> list[dict[str, Any]]:
    """Random weight guessing beside the trials in the chosen entries: guesses, how many solved, the best accuracy."""
    found = jax.device_get(guess_program(spec.task, where)(states))
    return [
        {
            "guesses": GUESSES_A_TRIAL,
            "solved": int(found.solved[entry].sum()),
            "best": float(found.accuracy[entry].max()),
        }
        for entry in chosen
    ]


def fitted(seeds: Sequence[np.ndarray], fraction: float) -> dict[str, Any] | None:
    """`HorizonIntervals` of the trials' log10 norms [T, B] as JSON holds it; None without a fit."""
    if not all(np.isfinite(log10[1:]).any() for log10 in seeds):
        return None
    try:
        found = horizon_intervals(seeds, fraction)
    except NotFinite:
        return None
    intervals = {name: getattr(found, name)._asdict() for name in ("decay_rate", "half_life", "horizon")}
    return intervals | {"censored": bool(found.censored), "line": found.line._asdict()}


def plain(name: str, layers: int) -> str:
    """The top layer's names without their prefix."""
    return name.removeprefix(f"layer{layers - 1}/")


def thin(profile: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
    """A profile at PROFILE_LAGS lags at most, denser near lag 0: {lag: [...], name: [...]}."""
    length = len(next(iter(profile.values())))
    lags = np.unique(
        np.concatenate([np.geomspace(1, length, PROFILE_LAGS // 2), np.linspace(1, length, PROFILE_LAGS // 2)])
    )
    lags = np.unique(lags.round().astype(int)) - 1
    return {"lag": lags.tolist()} | {name: np.round(log10[lags], 5).tolist() for name, log10 in profile.items()}


@functools.cache
def own_probes(task: Task, flow: FlowSpec, probes: tuple[tuple[str, Probe], ...], where: Layout):
    """All entries' states -> {probe: {name: array}} for an experiment's own probes, in one program.

    One that is not defined for the cell is left out.
    """

    @at_full_precision
    def run(state):
        batch, losses = held_out(task, flow, state)
        found = {}
        for name, probe in probes:
            with contextlib.suppress(Undefined):
                found[name] = probe(state.model, batch.inputs, losses, task.answers, **steps_of(batch))
        return found

    return map_trials(run, where.whole_batches())


def own_measurements(
    run: Callable[[TrainState], Any], states: TrainState, chosen: Sequence[int]
) -> list[dict[str, Any]]:
    """What an experiment's own probes find in the chosen entries, as JSON holds it: see `as_json`."""
    found = jax.device_get(run(jax.device_get(states)))  # which may lie on other devices
    return [as_json(found, entry) for entry in chosen]


def as_json(found: Mapping[str, Mapping[str, Any]], entry: int) -> dict[str, Any]:
    """What probes found in one entry of the batch: {probe: {name: number or lists}}.

    A LogNorm becomes {lag: [...], log10: [...]}: the mean of the logarithm over examples, at up to PROFILE_LAGS lags.
    """
    return {probe: {name: _listed(value, entry) for name, value in values.items()} for probe, values in found.items()}


def _listed(value, entry):
    if isinstance(value, LogNorm):
        return thin({"log10": mean_over_examples(LogNorm(*(part[entry] for part in value)).log10())})
    own = np.asarray(value[entry])
    if own.dtype == np.float32:  # with as many digits as tell it from its neighbours, not those of a float64
        own = own.astype(str)
    return own.astype(np.float64).tolist()
