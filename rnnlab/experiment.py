"""Run an experiment's arms, one after another, each arm's trials in one program; stop and go on at any point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import jax
import numpy as np

from rnnlab.background import start, wait
from rnnlab.checkpoint import Checkpoints
from rnnlab.folder import RunFolder, slug
from rnnlab.measure import Probe, flow_probe, measure, own_measurements, own_probes, plain, thin
from rnnlab.progress import Progress
from rnnlab.recorder import LINES, Recorder, map_lags, write_overview
from rnnlab.settings import ArmSpec, SettingError, flat, varied
from rnnlab.train import (
    DIVERGED,
    compile_windows,
    fit,
    initial_states,
    outcome,
)
from rnnlab.writers import read_json, read_jsonl, write_json

SHOWN = ("cell", "cell.features", "task", "task.length", "train.learning_rate")  # in TensorBoard's HParams always


def run_arms(
    arms: Mapping[str, ArmSpec],
    folder: RunFolder,
    progress: Progress,
    stopping: Callable[[], bool],
    probes: Callable[[ArmSpec], Mapping[str, Probe]] = lambda spec: {},
) -> list[dict[str, Any]]:
    """Trains and measures every arm; the results of all trials, as `results.json` holds them.

    `probes` gives an experiment's own probes of an arm, run before training, after it and every `probe_every` updates.
    An arm that had finished in an earlier run of the same folder is read, not run. Raises Interrupted when
    `stopping()` becomes true, after saving.
    """
    check_names(arms)
    settings = {name: flat(spec) for name, spec in arms.items()}
    domains = {path: list(dict.fromkeys(s[path] for s in settings.values())) for path in SHOWN} | varied(settings)
    write_overview(folder, domains)
    sizes: dict[str, Any] = {}
    trials = []
    for name, spec in arms.items():
        done = folder.trial_file(name)
        if not done.exists():
            _run_arm(name, spec, folder, domains, sizes, progress, stopping, tuple(probes(spec).items()))
        found = read_json(done)
        sizes = {file: max(sizes.get(file, 0), found["sizes"][file]) for file in LINES}  # an arm that ended stays
        trials += found["trials"]
        progress.finished(name, found["trials"])
    return trials


def check_names(arms: Mapping[str, ArmSpec]) -> None:
    """Two arms that would share a file are an error."""
    taken: dict[str, str] = {}
    for name in arms:
        if taken.setdefault(slug(name), name) != name:
            raise SettingError(f"arms {taken[slug(name)]!r} and {name!r} would share the file {slug(name)}: rename one")


def _run_arm(name, spec, folder, domains, sizes, progress, stopping, probes):
    checkpoints = Checkpoints(folder.checkpoints(name))
    state = jax.device_get(wait(start(initial_states, spec, list(range(spec.seeds))), stopping))  # it may floss
    restored = checkpoints.restore(state, progress.warn)
    if restored is not None:
        state, host = restored
        sizes, first = host["sizes"], host["first"]
        progress.say(f"{name}: going on from update {int(np.max(state.step))}")
    components = [plain(part, spec.layers) for part in jax.tree.leaves(state.model.names()[-1])]
    recorder = Recorder(folder, name, spec, components, domains, sizes)
    probe = flow_probe(spec.task, spec.flow, spec.layers, spec.seeds)
    program = start(compile_windows, spec, state) if spec.train.steps else None  # meanwhile the probes compile too
    own = own_probes(spec.task, spec.flow, probes, spec.seeds) if probes else None

    def measure_own(states, chosen):
        if own and chosen:
            found = wait(start(own_measurements, own, states, spec.seeds), stopping)
            recorder.probes(np.asarray(states.step).tolist(), found, chosen)

    if restored is None:
        first = wait(start(measure, spec, probe, state), stopping)
        recorder.flow("init", [0] * spec.seeds, first)
        measure_own(state, range(spec.seeds))
        first = {"reach": first["reach"], "thin": [thin(p) for p in first["profiles"]], "fits": first["fits"]}
    progress.begin(name, spec, int(np.sum(np.asarray(state.step))))

    def on_record(record, state):
        recorder.record(record)
        progress.window(record)
        every = spec.probe_every or spec.train.steps + 1
        due = record["step"] // every > (record["step"] - record["ran"]) // every
        measure_own(state, np.flatnonzero(due).tolist())

    def on_checkpoint(state):
        checkpoints.save(int(np.sum(state.step)), state, {"sizes": recorder.sizes(), "first": first})

    try:
        if program:
            run = wait(program, stopping)
            state = fit(spec, run, state, on_record=on_record, on_checkpoint=on_checkpoint, stopping=stopping)
            state = jax.device_get(state)
        last = wait(start(measure, spec, probe, state), stopping)
        recorder.flow("trained", state.step.tolist(), last)
        recorder.sizes()
        known = {(r["seed"], r["step"]) for r in _lines(folder, "probes", name)}
        measure_own(state, [seed for seed in range(spec.seeds) if (seed, int(state.step[seed])) not in known])
        recorder.sizes()
        records, probed = _lines(folder, "metrics", name), _lines(folder, "probes", name)
        recorder.end(records, np.asarray(state.status).tolist())
        trials = [_result(name, spec, state, seed, records, probed, first, last) for seed in range(spec.seeds)]
        fits = {"init": first["fits"]} | ({"trained": last["fits"]} if spec.train.steps else {})
        write_json(folder.trial_file(name), {"sizes": recorder.sizes(), "trials": trials, "fits": fits})
    finally:
        recorder.close()


def _map(records, length):
    """The adjoint's log10 norm over training and lag, as the taps of training found it."""
    if not records:
        return None
    log10 = [record["flow/log10_h"] for record in records]
    return {"step": [r["step"] for r in records], "lag": map_lags(length).tolist(), "log10": log10}


def _lines(folder, kind, arm):
    return [record for record in read_jsonl(folder.path / f"{kind}.jsonl") if record["arm"] == arm]


def _result(name, spec, state, seed, records, probed, first, last):
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
        "map": _map(mine, spec.task.length) if seed == 0 else None,
        "probes": [{"step": r["step"]} | r["found"] for r in probed if r["seed"] == seed],
        "profiles": {"init": first["thin"][seed], "trained": thin(last["profiles"][seed])},
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
    tasks = {arm.rpartition("/")[0]: spec.task for arm, spec in arms.items()}
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
        "needed_lag": {task: spec.needed_lag for task, spec in tasks.items() if spec.needed_lag is not None},
        "rule": {task: f"held-out accuracy of at least {spec.solved_accuracy:g}" for task, spec in tasks.items()},
        "chance": {arm: float(spec.task.chance) for arm, spec in arms.items()},
        "fits": {arm: read_json(folder.trial_file(arm))["fits"] for arm in arms},
        "trials": trials,
    }
