"""Run an experiment's arms: trials that share a program together, each counted once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping

from rnnlab.runs.compiled_programs import kept_compiled
from rnnlab.runs.ledger import Ledger, Trial, all_trials, of_shard
from rnnlab.runs.measure import Probe
from rnnlab.runs.program_group import Group
from rnnlab.runs.progress import Progress
from rnnlab.runs.recorder import write_overview
from rnnlab.settings.resolve import ArmSpec, flat, varied
from rnnlab.training.layout import layout
from rnnlab.training.spec import precision_of
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
            where = layout(len(members), spec.train.batch_size, inner, spec.layer_bytes)
            own = tuple(probes(spec).items())
            with precision_of(spec), kept_compiled(ledger.folder.path, ledger.folder.shard):
                Group(group_name(members), pending, ledger, domains, where, own, progress, stopping).run()
    return all(map(ledger.ended, left))


def by_program(trials: list[Trial], probes: Probes, shard: tuple[int, int]) -> list[tuple[list[Trial], list[Trial]]]:
    """(The trials that share a program, the shard's own of them), in the order of their first."""
    mine = set(of_shard(trials, shard))
    found: dict[Hashable, list[Trial]] = {}
    kinds: dict[str, Hashable] = {}
    for trial in trials:
        if trial.arm not in kinds:
            spec = trial.spec
            with precision_of(spec):
                key = program_key(spec)
            kinds[trial.arm] = (key, spec.layers, spec.flow, spec.probe_every, tuple(probes(spec).items()))
        found.setdefault(kinds[trial.arm], []).append(trial)
    return [(members, [trial for trial in members if trial in mine]) for members in found.values()]


def group_name(members: list[Trial]) -> str:
    """The first arm's name, and how many others there are."""
    arms = list(dict.fromkeys(trial.arm for trial in members))
    return arms[0] + (f" and {len(arms) - 1} more" if len(arms) > 1 else "")
