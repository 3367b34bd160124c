"""From layers of {dotted path: value} to frozen specs: experiment < command line < arm, and who set what."""

from __future__ import annotations

import fnmatch
import inspect
import re
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

import chz
from chz.blueprint import Castable

from rnnlab.probes.gradients.flow import FlowSpec
from rnnlab.settings.errors import WRONG, SettingError, check_class, described, explain, nearest, shown
from rnnlab.specs.fields import field
from rnnlab.specs.grid import TRIALS
from rnnlab.specs.grid import name as named
from rnnlab.training.spec import TrialSpec

TIERS = ("smoke", "quick", "paper")
GROUPS = ("train", "flow", "dropout")  # paths that settings stand under, and that are none themselves


@chz.chz
class ArmSpec(TrialSpec):
    """One setting compared in an experiment: trials that differ in their seed alone."""

    seeds: int = field(3, "trials an arm, with seeds 0, 1, ... unless first_seed says otherwise", low=1)
    first_seed: int = field(0, "seed of an arm's first trial", low=0, high=2**31)
    probe_every: int | None = field(None, "updates between an experiment's own probes; None: first and last", low=1)
    flow: FlowSpec = chz.field(
        default_factory=FlowSpec, blueprint_unspecified=FlowSpec, doc="how gradient flow is measured"
    )

    def trial_seeds(self) -> range:
        """The seeds of this arm's trials."""
        return range(self.first_seed, self.first_seed + self.seeds)


def parse_overrides(words: Iterable[str]) -> dict[str, str]:
    """`path=value` words of a command line."""
    found = {}
    for word in words:
        path, equals, value = word.partition("=")
        if not equals or not path:
            raise SettingError(f"{word}: settings are written path=value, as in task.length=500")
        found[path] = value
    return found


def parse_shard(text: str, flag: str = "--shard") -> tuple[int, int]:
    """A flag's `i/n` as (i, n), 1 <= i <= n."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match:
        raise SettingError(f"{flag}={text}: write {flag}=i/n, as in {flag}=1/4")
    i, n = int(match[1]), int(match[2])
    if not 1 <= i <= n:
        raise SettingError(f"{flag}={text}: must be from 1/{max(n, 1)} to {max(n, 1)}/{max(n, 1)}")
    return i, n


def resolve(
    module: ModuleType,
    tier: str,
    overrides: Mapping[str, str],
    pattern: str | None = None,
    sweep: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, ArmSpec]:
    """The arms of an experiment as frozen specs, by name. Raises SettingError.

    `pattern`: only the arms whose name matches this shell pattern, as in `--arms='*/LSTM*'`.
    `sweep`: arms in place of the experiment's own, over its configuration (see rnnlab.settings.language); text in it is
    read as on a command line, and what a name leaves out of task and cell is put into it.
    """
    if sweep is not None:
        return _swept(module, tier, overrides, pattern, sweep)
    arms = _chosen(module, tier, pattern, overrides)
    for path in overrides:
        check_class(path, overrides[path])
        varying = sorted({str(shown(arm[path])) for arm in arms.values() if path in arm})
        if varying:
            raise SettingError(
                f"{path}={overrides[path]}: the arms of this experiment set it ({', '.join(varying)}); "
                f"choose among them with --arms, or put others in their place: --sweep='{path}={overrides[path]}'"
            )
    found, wrong = {}, {}
    for name, arm in arms.items():
        try:
            found[name] = _make(module, tier, overrides, name, arm)
        except SettingError as error:
            wrong[name] = error
    if wrong:
        first = next(iter(wrong.values()))
        if not found or ": no such setting of " not in str(first):
            raise first
        told = str(first).partition("; the nearest is")[0]
        raise SettingError(f"{told}; {_some(found)} can have it: choose them with --arms") from first
    return found


def _some(names: Iterable[str]) -> str:
    """A few names, and that there are more."""
    every = list(names)
    return ", ".join(every[:2]) + (f" and {len(every) - 2} more" if len(every) > 2 else "")


def _swept(module, tier, overrides, pattern, sweep) -> dict[str, ArmSpec]:
    _check_tier(tier)
    for path in overrides:
        if values := list(dict.fromkeys(str(shown(arm[path])) for arm in sweep.values() if path in arm)):
            raise SettingError(f"{path}={overrides[path]}: --sweep sets it too ({', '.join(values)}); keep one of them")
    found: dict[str, ArmSpec] = {}
    names: dict[ArmSpec, str] = {}
    for name, arm in sweep.items():
        typed = {path: Castable(value) if isinstance(value, str) else value for path, value in arm.items()}
        spec = _make(module, tier, overrides, name, typed)
        full = _full_name(name, arm, spec)
        if names.setdefault(spec, full) != full:
            raise SettingError(f"--sweep: {names[spec]} and {full} are the same setting")
        found[full] = spec
    return _matching(found, pattern)


def _full_name(name: str, arm: Mapping[str, Any], spec: ArmSpec) -> str:
    """`TASK LENGTH/CELL ...`, as reports read names; one that a user gave stays."""
    if name != named(arm):
        return name
    parts = {"task": type(spec.task), "task.length": spec.task.length}
    if all(path.split(".")[0] == "task" or path in TRIALS for path in arm):
        parts["cell"] = type(spec.cell)
    return named(parts | dict(arm))


def _chosen(module, tier, pattern, overrides):
    """The arms {name: {path: value}} of a tier whose name matches.

    An experiment whose `arms` takes `settings` is given those of the command line, and can leave them to it.
    """
    _check_tier(tier)
    given = {"settings": overrides} if "settings" in inspect.signature(module.arms).parameters else {}
    return _matching(module.arms(tier, **given), pattern)


def _check_tier(tier):
    if tier not in TIERS:
        raise SettingError(f"--tier={tier}: no such tier{nearest(tier, TIERS)}")


def _matching(every, pattern):
    arms = {name: arm for name, arm in every.items() if pattern is None or fnmatch.fnmatchcase(name, pattern)}
    if not arms:
        raise SettingError(f"--arms={pattern}: matches no arm{nearest(str(pattern), every)}")
    return arms


def _make(module, tier, overrides, name, arm) -> ArmSpec:
    for path in ("cell", "task"):
        check_class(path, (module.config(tier) | arm).get(path))
    try:
        return _blueprint(module, tier, overrides, name, arm).make()
    except WRONG as error:
        raise SettingError(explain(error, module.config(tier) | overrides | arm, ArmSpec)) from error


def _blueprint(module, tier, overrides, name, arm) -> chz.Blueprint:
    """The layers of one arm."""
    layers = chz.Blueprint(ArmSpec).apply(module.config(tier), layer_name=f"experiment, --tier={tier}")
    layers.apply({path: Castable(value) for path, value in overrides.items()}, layer_name="command line")
    return layers.apply(arm, layer_name=f"arm {name}")


def help_text(module: ModuleType, tier: str, overrides: Mapping[str, str], pattern: str | None = None) -> str:
    """Every path of the chosen arms with type, value, where that comes from, and its doc."""
    found: dict[str, tuple[str, dict[str, None], str]] = {}
    owners: dict[str, dict[str, None]] = {}  # which cells, or tasks, have a setting
    for name, arm in _chosen(module, tier, pattern, overrides).items():
        rows = described(_blueprint(module, tier, overrides, name, arm))
        chosen = {path: value.split()[0] for path, _, value, _ in rows if path in ("cell", "task")}
        for path, kind, value, doc in rows:
            values = found.setdefault(path, (kind, {}, doc))[1]
            values[value.replace(f"(from arm {name})", "(from arms)")] = None
            owners.setdefault(path, {})[chosen.get(path.split(".")[0], "")] = None
    found = {path: row for path, row in found.items() if path not in GROUPS}
    groups = {path.split(".")[0]: None for path in found}
    paths = [path for group in groups for path in found if path.split(".")[0] == group]
    shown = []
    for path in paths:
        kind, values, doc = found[path]
        given = " | ".join(values).replace(" (from arms) |", " |")
        kind = kind.replace("Literal", "one of ")
        given = re.sub(r"\(([-\d., ]+)\)", lambda match: match[1].replace(" ", ""), given)  # as one types it
        group = path.split(".")[0]
        only = "" if len(owners[path]) == len(owners[group]) else f" (only {', '.join(owners[path])})"
        shown.append(f"{path}  {given}\n    {kind}; {doc}{only}")
    return "Settings: value (where it comes from), type, meaning.\n\n" + "\n".join(shown)


def flat(spec: ArmSpec) -> dict[str, str]:
    """A spec as {dotted path: value}, all text: what config.json holds and `resolve` could read back."""
    values = chz.beta_to_blueprint_values(spec)
    return {path: as_text(value) for path, value in values.items() if path not in GROUPS}


def as_text(value: Any) -> str:
    """A value as one types it on the command line."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(shown(value))


def from_flat(values: Mapping[str, str]) -> ArmSpec:
    """The spec that `flat` wrote down. Raises SettingError."""
    typed = {path: Castable(value) for path, value in values.items()}
    try:
        return chz.Blueprint(ArmSpec).apply(typed).make()
    except WRONG as error:
        raise SettingError(explain(error, typed, ArmSpec)) from error


def varied(settings: Mapping[str, Mapping[str, str]]) -> dict[str, list[Any]]:
    """The settings that differ between arms, each with its values in order of appearance."""
    paths = dict.fromkeys(path for arm in settings.values() for path in arm)
    values = {p: list(dict.fromkeys(arm[p] for arm in settings.values() if p in arm)) for p in paths}
    return {path: found for path, found in values.items() if len(found) > 1}
