"""Run probes on every trial of an arm, on held-out sequences of its own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from rnnlab.probes.flow import FlowSpec, gradient_flow
from rnnlab.probes.horizon import NotFinite, horizon, mean_over_examples, reach
from rnnlab.probes.scaled import LogNorm
from rnnlab.settings import ArmSpec
from rnnlab.tasks import Task
from rnnlab.train import TrainState
from rnnlab.trial import PROBES, stream
from rnnlab.trials import map_trials

PROFILE_LAGS = 600  # points kept of a profile over lag in results.json

Probe = Callable[..., Mapping[str, Any]]  # (model, inputs [T, B, D], losses, answers) -> {name: array or LogNorm}


def _held_out(task: Task, flow: FlowSpec, state: TrainState):
    """The sequences on which one trial is probed, and their losses [B] from outputs."""
    batch = task.held_out(stream(state.seed, PROBES), flow.examples)
    return batch, functools.partial(task.losses, batch=batch)


@functools.cache
def flow_probe(task: Task, flow: FlowSpec, layers: int, trials: int) -> Callable[[TrainState], Any]:
    """All trials' states -> (gradient flow, gate values of a few sequences) on held-out sequences, compiled once."""
    top = f"layer{layers - 1}/"

    def probe(state):
        batch, losses = _held_out(task, flow, state)
        inner = state.model.intermediates(batch.inputs[:, :4])
        gates = {gate: inner[top + gate] for gate in "ifo" if top + gate in inner}
        return gradient_flow(state.model, batch.inputs, losses, task.answers), gates

    return map_trials(probe, trials, 1)


def measure(spec: ArmSpec, probe: Callable[[TrainState], Any], states: TrainState) -> dict[str, Any]:
    """Gradient flow and gates of every trial on held-out sequences of its own.

    Returns lists over trials: `profiles` {name: log10 norm [T] by lag, the mean over examples}, `reach`
    {name: decay rate, half-life, horizon} and `gates` {name: values}; and `fits`, over all trials, {name: `Horizon`
    as JSON holds it, or None where nothing leaves lag 0 or a norm is no number}.
    """
    flows, gates = jax.device_get(probe(states))
    found: dict[str, Any] = {"profiles": [], "reach": [], "gates": []}
    logs = {
        plain(name, spec.layers): [LogNorm(*(part[seed] for part in norm)).log10() for seed in range(spec.seeds)]
        for name, norm in flows.items()
    }
    found["fits"] = {name: _fit(seeds, spec.flow.fraction) for name, seeds in logs.items()}
    for seed in range(spec.seeds):
        profiles = {name: mean_over_examples(seeds[seed]) for name, seeds in logs.items()}
        found["profiles"].append(profiles)
        found["reach"].append({n: reach(profile, spec.flow.fraction)._asdict() for n, profile in profiles.items()})
        found["gates"].append({name: gate[seed] for name, gate in gates.items()})
    return found


def _fit(seeds, fraction):
    if not all(np.isfinite(log10[1:]).any() for log10 in seeds):
        return None
    try:
        found = horizon(seeds, fraction)
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
def own_probes(task: Task, flow: FlowSpec, probes: tuple[tuple[str, Probe], ...], trials: int):
    """All trials' states -> {probe: {name: array}} for an experiment's own probes, in one program."""

    def run(state):
        batch, losses = _held_out(task, flow, state)
        return {name: probe(state.model, batch.inputs, losses, task.answers) for name, probe in probes}

    return map_trials(run, trials, 1)


def own_measurements(run: Callable[[TrainState], Any], states: TrainState, trials: int) -> list[dict[str, Any]]:
    """What an experiment's own probes find in each trial, as JSON holds it: {probe: {name: number or lists}}.

    A LogNorm becomes {lag: [...], log10: [...]}: the mean of the logarithm over examples, at up to PROFILE_LAGS lags.
    """
    found = jax.device_get(run(states))
    return [
        {probe: {name: _listed(value, trial) for name, value in values.items()} for probe, values in found.items()}
        for trial in range(trials)
    ]


def _listed(value, trial):
    if isinstance(value, LogNorm):
        return thin({"log10": mean_over_examples(LogNorm(*(part[trial] for part in value)).log10())})
    return np.asarray(value[trial], np.float64).tolist()
