"""Run an experiment's arms, one after another, each arm's trials in one program; stop and go on at any point."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import chz
import jax
import numpy as np

from rnnlab.background import start, wait
from rnnlab.checkpoint import Checkpoints
from rnnlab.folder import RunFolder, slug
from rnnlab.probes.flow import FlowSpec, gradient_flow
from rnnlab.probes.horizon import mean_over_examples, reach
from rnnlab.progress import Progress
from rnnlab.recorder import Recorder, write_overview
from rnnlab.settings import ArmSpec, SettingError, flat, varied
from rnnlab.tasks import Task
from rnnlab.train import (
    DIVERGED,
    TrainState,
    compile_windows,
    fit,
    initial_states,
    outcome,
)
from rnnlab.trial import PROBES, stream
from rnnlab.trials import map_trials
from rnnlab.writers import read_json, read_jsonl, write_json

PROFILE_LAGS = 600  # points kept of a profile over lag in results.json


def run_arms(
    arms: Mapping[str, ArmSpec], folder: RunFolder, progress: Progress, stopping: Callable[[], bool]
) -> list[dict[str, Any]]:
    """Trains and measures every arm; the results of all trials, as `results.json` holds them.

    An arm that had finished in an earlier run of the same folder is read, not run. Raises Interrupted when
    `stopping()` becomes true, after saving.
    """
    check_names(arms)
    domains = varied({name: flat(spec) for name, spec in arms.items()})
    write_overview(folder, domains)
    sizes: dict[str, Any] = {}
    trials = []
    for name, spec in arms.items():
        done = folder.trial_file(name)
        if not done.exists():
            _run_arm(name, spec, folder, domains, sizes, progress, stopping)
        found = read_json(done)
        ends = {key: found["sizes"][key] for key in ("metrics", "timings")}
        sizes = max(sizes, ends, key=lambda end: end.get("metrics", 0))  # never cut below an arm that has ended
        trials += found["trials"]
        progress.finished(name, found["trials"])
    return trials


def check_names(arms: Mapping[str, ArmSpec]) -> None:
    """Two arms that would share a file are an error."""
    taken: dict[str, str] = {}
    for name in arms:
        if taken.setdefault(slug(name), name) != name:
            raise SettingError(f"arms {taken[slug(name)]!r} and {name!r} would share the file {slug(name)}: rename one")


def _run_arm(name, spec, folder, domains, sizes, progress, stopping):
    checkpoints = Checkpoints(folder.checkpoints(name))
    state = jax.device_get(initial_states(spec, list(range(spec.seeds))))
    restored = checkpoints.restore(state, progress.warn)
    if restored is not None:
        state, host = restored
        sizes, first = host["sizes"], host["first"]
        progress.say(f"{name}: going on from update {int(np.max(state.step))}")
    components = [_plain(part, spec.layers) for part in jax.tree.leaves(state.model.names()[-1])]
    recorder = Recorder(folder, name, spec, components, domains, sizes)
    probe = flow_probe(spec.task, spec.flow, spec.layers, spec.seeds)
    program = start(compile_windows, spec, state)  # meanwhile the probe compiles too
    if restored is None:
        first = wait(start(measure, spec, probe, state), stopping)
        recorder.flow("init", [0] * spec.seeds, first)
        first = {"reach": first["reach"], "thin": [_thin(p) for p in first["profiles"]]}
    progress.begin(name, spec, int(np.sum(np.asarray(state.step))))

    def on_record(record):
        recorder.record(record)
        progress.window(record)

    def on_checkpoint(state):
        checkpoints.save(int(np.sum(state.step)), state, {"sizes": recorder.sizes(), "first": first})

    try:
        run = wait(program, stopping)
        state = fit(spec, run, state, on_record=on_record, on_checkpoint=on_checkpoint, stopping=stopping)
        state = jax.device_get(state)
        last = wait(start(measure, spec, probe, state), stopping)
        recorder.flow("trained", state.step.tolist(), last)
        recorder.sizes()
        records = [r for r in read_jsonl(folder.path / "metrics.jsonl") if r["arm"] == name]
        recorder.end(records, np.asarray(state.status).tolist())
        trials = [_result(name, spec, state, seed, records, first, last) for seed in range(spec.seeds)]
        write_json(folder.trial_file(name), {"sizes": recorder.sizes(), "trials": trials})
    finally:
        recorder.close()


@functools.cache
def flow_probe(task: Task, flow: FlowSpec, layers: int, trials: int) -> Callable[[TrainState], Any]:
    """All trials' states -> (gradient flow, gate values of a few sequences) on held-out sequences, compiled once."""
    top = f"layer{layers - 1}/"

    def probe(state):
        batch = task.held_out(stream(state.seed, PROBES), flow.examples)
        losses = functools.partial(task.losses, batch=batch)
        inner = state.model.intermediates(batch.inputs[:, :4])
        gates = {gate: inner[top + gate] for gate in "ifo" if top + gate in inner}
        return gradient_flow(state.model, batch.inputs, losses, task.answers), gates

    return map_trials(probe, trials, 1)


def measure(spec: ArmSpec, probe: Callable[[TrainState], Any], states: TrainState) -> dict[str, list[Any]]:
    """Gradient flow and gates of every trial on held-out sequences of its own.

    Returns lists over trials: `profiles` {name: log10 norm [T] by lag, the mean over examples}, `reach`
    {name: decay rate, half-life, horizon} and `gates` {name: values}.
    """
    flows, gates = jax.device_get(probe(states))
    found: dict[str, list[Any]] = {"profiles": [], "reach": [], "gates": []}
    for seed in range(spec.seeds):
        profiles = {
            _plain(name, spec.layers): mean_over_examples(type(norm)(*(part[seed] for part in norm)).log10())
            for name, norm in flows.items()
        }
        found["profiles"].append(profiles)
        found["reach"].append({n: reach(profile, spec.flow.fraction)._asdict() for n, profile in profiles.items()})
        found["gates"].append({name: gate[seed] for name, gate in gates.items()})
    return found


def _plain(name, layers):
    """The top layer's names without their prefix."""
    return name.removeprefix(f"layer{layers - 1}/")


def _thin(profile):
    length = len(next(iter(profile.values())))
    lags = np.unique(
        np.concatenate([np.geomspace(1, length, PROFILE_LAGS // 2), np.linspace(1, length, PROFILE_LAGS // 2)])
    )
    lags = np.unique(lags.round().astype(int)) - 1
    return {"lag": lags.tolist()} | {name: np.round(log10[lags], 5).tolist() for name, log10 in profile.items()}


def _result(name, spec, state, seed, records, first, last):
    mine = [r for r in records if r["seed"] == seed]
    step, status = int(state.step[seed]), int(state.status[seed])
    keys = ("eval/loss", "eval/accuracy", "train/loss", "grad/norm")
    final = {"loss": mine[-1]["eval/loss"], "accuracy": mine[-1]["eval/accuracy"]} if mine else {}
    reason = f"loss or gradient not finite at update {step + 1}" if status == DIVERGED else None
    return {
        "arm": name,
        "seed": seed,
        "status": outcome(status, int(state.learned[seed])),
        "learned_at": int(state.learned[seed]),
        "reason": reason,
        "steps": step,
        "sequences": step * spec.train.batch_size,
        "eval": final,
        "curve": {"step": [r["step"] for r in mine]} | {key: [r[key] for r in mine] for key in keys},
        "reach": {"init": first["reach"][seed], "trained": last["reach"][seed]},
        "profiles": {"init": first["thin"][seed], "trained": _thin(last["profiles"][seed])},
    }


def gather(
    module: ModuleType,
    name: str,
    tier: str,
    arms: Mapping[str, ArmSpec],
    trials: list[dict[str, Any]],
    folder: RunFolder,
) -> dict[str, Any]:
    """All that a report reads: `results.json`."""
    environment = read_json(folder.path / "environment.json")
    timings = read_jsonl(folder.path / "timings.jsonl")
    seconds = {(r["arm"], r["step"]): r["seconds"] for r in timings}
    return {
        "experiment": name,
        "question": module.__doc__.strip().split("\n")[0],
        "tier": tier,
        "command": environment["command"],
        "fraction": next(iter(arms.values())).flow.fraction,
        "environment": environment,
        "seconds": round(sum(seconds.values()), 1),
        "settings": {arm: flat(spec) for arm, spec in arms.items()},
        "needed_lag": module.needed_lags(arms) if hasattr(module, "needed_lags") else {},
        "chance": {arm: float(spec.task.chance) for arm, spec in arms.items()},
        "trials": trials,
    }


def predict_seconds(arms: Mapping[str, ArmSpec]) -> float:
    """About how long a run takes at most on this machine, from a few updates and a probe of each kind of arm.

    Two lengths of window are timed, so that updates and evaluations are told apart; their times grow with
    the length of the sequence, so long ones are timed at 500 steps and scaled. Compilation counts once an arm.
    """
    measured: dict[Any, _Seconds] = {}
    total = 0.0
    for spec in arms.values():
        short = chz.replace(spec, task=chz.replace(spec.task, length=min(spec.task.length, 500)))
        kind = (type(spec.cell), spec.cell.features, spec.layers, short.task, spec.train, spec.seeds, spec.flow)
        if kind not in measured:
            measured[kind] = _seconds(short)
        cost = measured[kind]
        updates = spec.train.steps * (cost.update + cost.evaluation / spec.train.window)
        total += cost.compilation + (updates + 2 * cost.probe) * spec.task.length / short.task.length
    return total


class _Seconds(NamedTuple):
    """What one kind of arm costs, all its trials together."""

    compilation: float
    update: float
    evaluation: float
    probe: float


def _seconds(spec: ArmSpec) -> _Seconds:
    taken = []
    compilation = 0.0
    for window in (1, 4):
        train = chz.replace(spec.train, window=window, steps=3 * window, stop_when_solved=False)
        short = chz.replace(spec, train=train)
        state = jax.device_get(initial_states(short, list(range(spec.seeds))))
        compilation, run = _timed(lambda short=short, state=state: compile_windows(short, state))
        state, _ = run(state)
        taken.append(_timed(lambda run=run, state=state: jax.block_until_ready(run(state)))[0])
    update = max(taken[1] - taken[0], 1e-6) / 3
    probe = flow_probe(spec.task, spec.flow, spec.layers, spec.seeds)
    first, later = (_timed(lambda: measure(spec, probe, state))[0] for _ in range(2))
    return _Seconds(compilation + first - later, update, max(taken[0] - update, 0.0), later)


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.monotonic()
    found = function()
    return time.monotonic() - start, found
