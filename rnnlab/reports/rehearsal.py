"""An experiment's report and probes tried before anything is trained, on made-up results of one update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from rnnlab.probes.gradients.flow import gradient_flow
from rnnlab.reports.report import all_tables, ask
from rnnlab.runs.gather_results import content
from rnnlab.runs.job import Job
from rnnlab.runs.ledger import Trial
from rnnlab.runs.measure import Measured, as_json, held_out, plain, thin
from rnnlab.runs.recorder import MAP_LAGS
from rnnlab.runs.results import Results
from rnnlab.runs.results_file import results_from
from rnnlab.runs.trial_result import trial_result
from rnnlab.settings.resolve import ArmSpec
from rnnlab.training.spec import precision_of
from rnnlab.training.state import RUNNING, TrainState, initial_state

SEEDS = 4  # trials an arm at most, every second of which has learned
RATE = -0.05  # decades a lag


def rehearse(job: Job) -> None:
    """Traces the probes and asks for the report. Raises what they raise: an error of the experiment's own code."""
    results = one_update(job)
    all_tables(results, ask(job.module, results))


def one_update(job: Job) -> Results:
    """Results such as a run of one update has: the right names and shapes, and numbers that mean nothing."""
    made: dict[Any, list[dict[str, Any]]] = {}
    trials = []
    for arm, spec in job.arms.items():
        probes = job.probes(spec)
        size = spec.cell.features, spec.layers, spec.task.length, bool(spec.train.steps)
        kind = type(spec.cell), type(spec.task), size, tuple(probes.items())
        if kind not in made:
            with precision_of(spec):
                shapes = jax.eval_shape(lambda spec=spec, probes=probes: _measurements(spec, probes))
            made[kind] = [_trial(Trial(arm, 0, spec), *shapes, learned=learned) for learned in (False, True)]
        for seed in spec.trial_seeds()[:SEEDS]:
            trials.append(made[kind][seed % 2] | {"arm": arm, "seed": seed})
    return results_from(content(job, {"command": ""}, trials, {}))


def _measurements(spec: ArmSpec, probes: Mapping[str, Any]):
    """What is measured of a trial at its beginning: gradient flow by name, what the probes find, and its metrics."""
    state = initial_state(spec, 0)
    batch, losses = held_out(spec.task, spec.flow, state)
    found = {name: probe(state.model, batch.inputs, losses, spec.task.answers) for name, probe in probes.items()}
    outputs = state.model(batch.inputs, answers=spec.task.answers)
    return gradient_flow(state.model, batch.inputs, losses, spec.task.answers), found, spec.task.metrics(outputs, batch)


def _trial(trial: Trial, flows, probed, metrics, learned: bool) -> dict[str, Any]:
    spec = trial.spec
    by_lag = RATE * np.arange(spec.task.length, dtype=np.float64)[:, None]
    measured = Measured({plain(name, spec.layers): by_lag for name in flows}, {})
    first = {"reach": measured.reach(spec.flow.fraction), "thin": thin(measured.profiles())}
    steps = min(spec.train.steps, 1)
    at = steps if learned and steps else -1
    state = TrainState(None, None, *map(np.int32, (steps, RUNNING, at, 0)), {}, np.int32(0))
    record = {f"eval/{name}": 0.5 for name in metrics} | {"train/loss": 0.5, "grad/norm": 1.0, "grad/norm_max": 1.0}
    record |= {"step": 1, "flow/log10_h": [0.0] * min(MAP_LAGS, spec.task.length)}
    found = as_json(jax.tree.map(lambda leaf: _made(leaf.shape, leaf.dtype), probed), entry=0)
    lines = [{"step": step, "found": found} for step in range(steps + 1)] if probed else []
    return trial_result(trial, state, [record] * steps, lines, first, measured if steps else None)


def _made(shape, dtype) -> np.ndarray:
    """Falling numbers of (0, 1] with a leading axis of one trial."""
    size = max(int(np.prod(shape)), 1)
    return np.linspace(1, 0.5, size).reshape(1, *shape).astype(dtype)
