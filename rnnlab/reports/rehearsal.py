"""An experiment's report and probes tried before anything is trained, on made-up results."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from rnnlab.cells.flax_cell import cell_class
from rnnlab.probes.gradients.flow import gradient_flow
from rnnlab.reports.report import all_tables, ask
from rnnlab.runs.environment import environment
from rnnlab.runs.gather_results import content
from rnnlab.runs.job import Job
from rnnlab.runs.ledger import Trial
from rnnlab.runs.measure import Measured, as_json, held_out, plain, thin
from rnnlab.runs.recorder import map_lags
from rnnlab.runs.results import Results
from rnnlab.runs.results_file import results_from
from rnnlab.runs.trial_result import trial_result
from rnnlab.settings.resolve import ArmSpec
from rnnlab.specs.contract import ContractError, forgotten, where_function
from rnnlab.specs.errors import Undefined
from rnnlab.tasks.base import steps_of
from rnnlab.training.spec import precision_of
from rnnlab.training.state import RUNNING, TrainState, initial_state

RECORDS = 20  # of a trial: a report may read any of them
SEEDS = 50  # trials an arm at most, every second of which has learned
RATE = -0.05  # decades a lag
SPAN = {"estimate": 1.0, "low": 0.5, "high": 2.0, "n": 4}
LINE = {"decay_rate": -0.1, "early": -0.1, "late": -0.1, "misfit": 0.0, "exponential": True}
FIT = {"decay_rate": SPAN, "half_life": SPAN, "horizon": SPAN, "censored": False, "line": LINE}


def rehearse(job: Job, results: Results) -> None:
    """Asks for the report and its tables. Raises what they raise: an error of the experiment's own code."""
    all_tables(results, ask(job.module, results))


def made_up(job: Job) -> Results:
    """Results such as the run will have: the right names and shapes, and numbers that mean nothing.

    The probes are traced for it; their errors are passed on.
    """
    made: dict[Any, list[dict[str, Any]]] = {}
    trials = []
    for arm, spec in job.arms.items():
        probes = job.probes(spec)
        size = spec.cell.features, spec.layers, spec.task.length, bool(spec.train.steps)
        kind = cell_class(spec.cell), type(spec.task), size, tuple(probes.items())
        if kind not in made:
            with precision_of(spec):
                shapes = jax.eval_shape(lambda spec=spec, probes=probes: _measurements(spec, probes))
            made[kind] = [_trial(Trial(arm, 0, spec), *shapes, learned=learned) for learned in (False, True)]
        for seed in spec.trial_seeds()[:SEEDS]:
            trials.append(made[kind][seed % 2] | {"arm": arm, "seed": seed})
    return results_from(content(job, environment(revision="made up"), trials, dict.fromkeys(job.arms, FIT)))


def _measurements(spec: ArmSpec, probes: Mapping[str, Any]):
    """What is measured of a trial at its beginning: gradient flow by name, what the probes find, and its metrics."""
    state = initial_state(spec, 0)
    batch, losses = held_out(spec.task, spec.flow, state)
    steps, found = steps_of(batch), {}
    for name, probe in probes.items():
        with contextlib.suppress(Undefined):
            found[name] = _probed(probe, steps, state.model, batch.inputs, losses, spec.task.answers)
    outputs = state.model(batch.inputs, answers=spec.task.answers, **steps)
    flow = gradient_flow(state.model, batch.inputs, losses, spec.task.answers, **steps)
    return flow, found, spec.task.metrics(outputs, batch)


def _probed(probe: Callable[..., Any], steps: Mapping[str, Any], *args: Any) -> Mapping[str, Any]:
    try:
        inspect.signature(probe).bind(*args, **steps)
    except TypeError as error:
        needed = ", ".join(["model", "inputs", "losses", "answers", *(f"{name}=" for name in steps)])
        told = f"takes other arguments than a probe's, ({needed})"
        raise ContractError(f"{where_function(probe)}: {told}") from error
    found = probe(*args, **steps)
    if not isinstance(found, Mapping):
        got = type(found).__name__ + forgotten(found)
        raise ContractError(f"{where_function(probe)}: gave {got}, where a dict {{name: array}} is needed")
    return found


def _trial(trial: Trial, flows, probed, metrics, learned: bool) -> dict[str, Any]:
    spec = trial.spec
    by_lag = RATE * np.arange(spec.task.length, dtype=np.float64)[:, None]
    measured = Measured({plain(name, spec.layers): by_lag for name in flows}, {})
    first = {"reach": measured.reach(spec.flow.fraction), "thin": thin(measured.profiles())}
    first["guessing"] = {"guesses": 32, "solved": 0, "best": 0.1}
    steps = RECORDS if spec.train.steps else 0
    at = steps if learned and steps else -1
    state = TrainState(None, None, *map(np.int32, (steps, RUNNING, at, 0)), {}, np.int32(0))
    falling = np.geomspace(1, 1e-3 if learned else 0.5, RECORDS)
    records = [
        {f"eval/{name}": 0.5 for name in metrics}
        | {"eval/loss": loss * spec.task.chance, "eval/accuracy": 1 - loss, "train/loss": loss * spec.task.chance}
        | {
            "step": step,
            "grad/norm": 1.0,
            "grad/norm_max": 1.0,
            "flow/log10_h": [0.0] * len(map_lags(spec.task.length)),
        }
        for step, loss in enumerate(map(float, falling), start=1)
    ]
    found = as_json(jax.tree.map(lambda leaf: _made(leaf.shape, leaf.dtype), probed), entry=0)
    lines = [{"step": step, "found": found} for step in (0, steps)][: 1 + bool(steps)] if probed else []
    return trial_result(trial, state, records[:steps], lines, first, measured if steps else None)


def _made(shape, dtype) -> np.ndarray:
    """Falling numbers of (0, 1] with a leading axis of one trial."""
    size = max(int(np.prod(shape)), 1)
    return np.linspace(1, 0.5, size).reshape(1, *shape).astype(dtype)
