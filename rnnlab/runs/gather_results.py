"""From a ledger in which every trial stands to the content of results.json."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from rnnlab.runs.changed_code import files_changed
from rnnlab.runs.files import read_json, read_jsonl
from rnnlab.runs.job import Job
from rnnlab.runs.ledger import Ledger, Trial, all_trials
from rnnlab.runs.measure import fitted
from rnnlab.runs.results_file import SCHEMA, split_name
from rnnlab.settings.resolve import ArmSpec, flat
from rnnlab.tasks import Task


def gather(job: Job, ledger: Ledger) -> dict[str, Any]:
    """What `results.json` holds, but for the verdict and the claims. Every trial must be in the ledger."""
    trials = all_trials(job.arms)
    ledger.collect(trials)
    found = {trial: ledger.result(trial) for trial in trials}
    codes = {trial: result.get("sources") for trial, result in found.items()}
    timings = read_jsonl(ledger.folder.path / "timings.jsonl")
    also = {
        "changed_since": files_changed(job, codes, ledger.folder.sources()),
        "seconds": round(sum((r["seconds"] for r in timings), 0.0), 1),
        "baselines": _baselines(job.arms),
    }
    fits = {arm: _fit(ledger, arm, spec) for arm, spec in job.arms.items()}
    return content(job, read_json(ledger.folder.path / "environment.json"), list(found.values()), fits) | also


def content(
    job: Job, environment: Mapping[str, Any], trials: Sequence[Mapping[str, Any]], fits: Mapping[str, Any]
) -> dict[str, Any]:
    """The same of these results of trials and the fits of their arms, if no code has changed."""
    return {
        "schema": SCHEMA,
        "experiment": job.name,
        "question": job.module.__doc__.strip().split("\n")[0],
        "tier": job.tier,
        "swept": job.swept,
        "changed_since": [],
        "command": environment["command"],
        "fraction": next(iter(job.arms.values())).flow.fraction,
        "environment": environment,
        "seconds": 0.0,
        "arms": {arm: _described(arm, spec) | {"fit": fits.get(arm)} for arm, spec in job.arms.items()},
        "trials": trials,
    }


def _described(arm: str, spec: ArmSpec) -> dict[str, Any]:
    settings, streak = flat(spec), spec.train.streak
    task, label = split_name(arm, settings)
    return {
        "task": task,
        "label": label,
        "settings": settings,
        "chance": float(spec.task.chance),
        "needed_lag": spec.task.needed_lag,
        "card": spec.task.card and spec.task.card._asdict(),
        "rule": f"{streak:,} training sequences in a row right" if streak else stop_rule(spec.task),
    }


def _baselines(arms: Mapping[str, ArmSpec]) -> list[dict[str, Any]]:
    """Of every task that has some, and the arms it is the task of."""
    names: dict[Task, list[str]] = {}
    for arm, spec in arms.items():
        names.setdefault(spec.task, []).append(arm)
    found = [{"arms": of, "found": dict(task.baselines())} for task, of in names.items()]
    return [each for each in found if each["found"]]


def stop_rule(task: Task) -> str | None:
    """When a task counts as learned, in words: of a `solved` of a task's own, its docstring; None: nothing says so."""
    if not task.has_stop_rule:
        return None
    if type(task).solved is Task.solved:
        return f"held-out accuracy of at least {task.solved_accuracy:g}"
    doc = inspect.getdoc(vars(type(task)).get("solved")) or ""
    return doc.split("\n")[0].rstrip(".") or "the task's own: see its `solved`"


def _fit(ledger, arm, spec):
    logs = [ledger.flow(Trial(arm, seed, spec), "init") for seed in spec.trial_seeds()]
    return fitted([of["h"] for of in logs], spec.flow.fraction) if all(logs) else None
