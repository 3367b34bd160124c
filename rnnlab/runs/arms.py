"""Run an experiment's arms: trials that share a program together, each counted once, and all gathered for a report."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from types import ModuleType
from typing import Any

from rnnlab.runs.files import read_json, read_jsonl
from rnnlab.runs.folder import slug
from rnnlab.runs.group import Group
from rnnlab.runs.ledger import Ledger, Trial, all_trials, of_shard
from rnnlab.runs.measure import Probe, fits
from rnnlab.runs.progress import Progress
from rnnlab.runs.recorder import write_overview
from rnnlab.settings.errors import SettingError
from rnnlab.settings.resolve import ArmSpec, flat, varied
from rnnlab.training.layout import layout
from rnnlab.training.updates import program_key

SHOWN = ("cell", "cell.features", "task", "task.length", "train.learning_rate")  # in TensorBoard where none differ

Probes = Callable[[ArmSpec], Mapping[str, Probe]]


def run_arms(
    arms: Mapping[str, ArmSpec],
    ledger: Ledger,
    progress: Progress,
    stopping: Callable[[], bool],
    probes: Probes = lambda spec: {},
    shard: tuple[int, int] = (1, 1),
    inner: str = "auto",
) -> bool:
    """Trains and measures every trial that the ledger lacks; whether it holds all of them then.

    `probes` gives an experiment's own probes of an arm; `shard` (i, n) takes every n-th trial from the i-th;
    `inner` is a kind of layout (`rnnlab.training.layout.KINDS`). Raises Interrupted when `stopping()`, after saving.
    """
    trials = all_trials(arms)
    settings = {name: flat(spec) for name, spec in arms.items()}
    domains = varied(settings) or {path: [next(iter(settings.values()))[path]] for path in SHOWN}
    if shard[0] == 1:
        write_overview(ledger.folder, domains)
    left = set(trials)
    for members, mine in by_program(trials, probes, shard):
        for trial in members:
            if result := ledger.ended(trial):
                left.remove(trial)
                progress.finished(result)
        if pending := [trial for trial in mine if trial in left]:
            spec = pending[0].spec
            where = layout(len(members), spec.train.batch_size, inner)
            own = tuple(probes(spec).items())
            Group(group_name(members), pending, ledger, domains, where, own, progress, stopping).run()
    return all(map(ledger.ended, left))


def by_program(trials: list[Trial], probes: Probes, shard: tuple[int, int]) -> list[tuple[list[Trial], list[Trial]]]:
    """(The trials that share a program, the shard's own of them), in the order of their first."""
    mine = set(of_shard(trials, shard))
    found: dict[Hashable, list[Trial]] = {}
    kinds: dict[ArmSpec, Hashable] = {}
    for trial in trials:
        spec = trial.spec
        if spec not in kinds:
            kinds[spec] = (program_key(spec), spec.layers, spec.flow, spec.probe_every, tuple(probes(spec).items()))
        found.setdefault(kinds[spec], []).append(trial)
    return [(members, [trial for trial in members if trial in mine]) for members in found.values()]


def group_name(members: list[Trial]) -> str:
    """The first arm's name, and how many others there are."""
    arms = list(dict.fromkeys(trial.arm for trial in members))
    return arms[0] + (f" and {len(arms) - 1} more" if len(arms) > 1 else "")


def check_names(arms: Mapping[str, ArmSpec]) -> None:
    """Two arms that would share a file are an error."""
    taken: dict[str, str] = {}
    for name in arms:
        if taken.setdefault(slug(name), name) != name:
            raise SettingError(f"arms {taken[slug(name)]!r} and {name!r} would share the file {slug(name)}: rename one")


def gather(module: ModuleType, name: str, tier: str, arms: Mapping[str, ArmSpec], ledger: Ledger) -> dict[str, Any]:
    """All that a report reads: `results.json`. Every trial must be in the ledger."""
    trials = all_trials(arms)
    ledger.collect(trials)
    environment = read_json(ledger.folder.path / "environment.json")
    timings = read_jsonl(ledger.folder.path / "timings.jsonl")
    tasks = {arm.rpartition("/")[0]: spec.task for arm, spec in arms.items()}
    return {
        "experiment": name,
        "question": module.__doc__.strip().split("\n")[0],
        "tier": tier,
        "command": environment["command"],
        "fraction": next(iter(arms.values())).flow.fraction,
        "environment": environment,
        "seconds": round(sum(r["seconds"] for r in timings), 1),
        "settings": {arm: flat(spec) for arm, spec in arms.items()},
        "needed_lag": {task: spec.needed_lag for task, spec in tasks.items() if spec.needed_lag is not None},
        "rule": rules(arms),
        "chance": {arm: float(spec.task.chance) for arm, spec in arms.items()},
        "fits": {arm: _fits(ledger, arm, spec) for arm, spec in arms.items()},
        "trials": [ledger.result(trial) for trial in trials],
    }


def rules(arms: Mapping[str, ArmSpec]) -> dict[str, str]:
    """Each task's stop rule in words."""
    found = {}
    for arm, spec in arms.items():
        held_out = f"held-out accuracy of at least {spec.task.solved_accuracy:g}"
        streak = spec.train.streak
        found[arm.rpartition("/")[0]] = f"{streak:,} training sequences in a row right" if streak else held_out
    return found


def _fits(ledger, arm, spec):
    found = {}
    for when in ("init", "trained"):
        logs = [ledger.flow(Trial(arm, seed, spec), when) for seed in spec.trial_seeds()]
        if all(logs):
            found[when] = fits(logs, spec.flow.fraction)
    return found
