"""From a ledger in which every trial stands to the content of results.json."""

from __future__ import annotations

from typing import Any

from rnnlab.runs.changed_code import files_changed
from rnnlab.runs.files import read_json, read_jsonl
from rnnlab.runs.job import Job
from rnnlab.runs.ledger import Ledger, Trial, all_trials
from rnnlab.runs.measure import fitted
from rnnlab.runs.results_file import SCHEMA, split_name
from rnnlab.settings.resolve import ArmSpec, flat


def gather(job: Job, ledger: Ledger) -> dict[str, Any]:
    """What `results.json` holds, but for the verdict and the claims. Every trial must be in the ledger."""
    trials = all_trials(job.arms)
    ledger.collect(trials)
    environment = read_json(ledger.folder.path / "environment.json")
    found = {trial: ledger.result(trial) for trial in trials}
    codes = {trial: result.get("sources") for trial, result in found.items()}
    timings = read_jsonl(ledger.folder.path / "timings.jsonl")
    return {
        "schema": SCHEMA,
        "experiment": job.name,
        "question": job.module.__doc__.strip().split("\n")[0],
        "tier": job.tier,
        "swept": job.swept,
        "changed_since": files_changed(job, codes, ledger.folder.sources()),
        "command": environment["command"],
        "fraction": next(iter(job.arms.values())).flow.fraction,
        "environment": environment,
        "seconds": round(sum((r["seconds"] for r in timings), 0.0), 1),
        "arms": {arm: _described(ledger, arm, spec) for arm, spec in job.arms.items()},
        "trials": list(found.values()),
    }


def _described(ledger: Ledger, arm: str, spec: ArmSpec) -> dict[str, Any]:
    settings, streak = flat(spec), spec.train.streak
    task, label = split_name(arm, settings)
    held_out = f"held-out accuracy of at least {spec.task.solved_accuracy:g}"
    return {
        "task": task,
        "label": label,
        "settings": settings,
        "chance": float(spec.task.chance),
        "needed_lag": spec.task.needed_lag,
        "rule": f"{streak:,} training sequences in a row right" if streak else held_out,
        "fit": _fit(ledger, arm, spec),
    }


def _fit(ledger, arm, spec):
    logs = [ledger.flow(Trial(arm, seed, spec), "init") for seed in spec.trial_seeds()]
    return fitted([of["h"] for of in logs], spec.flow.fraction) if all(logs) else None
