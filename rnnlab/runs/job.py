"""What a command, or a call from Python, asks to be run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from rnnlab.runs.folder import slug
from rnnlab.settings.errors import SettingError
from rnnlab.settings.experiments import load_experiment
from rnnlab.settings.language import parse_sweep
from rnnlab.settings.resolve import ArmSpec, flat, resolve


class Job(NamedTuple):
    """An experiment whose arms are settled."""

    name: str
    module: ModuleType
    tier: str
    arms: dict[str, ArmSpec]
    swept: bool  # its arms are a typed sweep's, not the experiment's own
    workdir: Path

    def probes(self, spec: ArmSpec) -> Mapping[str, Any]:
        """The experiment's own probes of an arm."""
        return self.module.probes(spec) if hasattr(self.module, "probes") else {}

    def config(self, layout: str) -> dict[str, Any]:
        """What config.json holds, by which a folder knows its run."""
        arms = {name: flat(spec) for name, spec in self.arms.items()}
        return {"experiment": self.name, "tier": self.tier, "layout": layout, "arms": arms}


def make_job(
    name: str,
    tier: str,
    overrides: Mapping[str, str],
    pattern: str | None = None,
    sweep: str | None = None,
    workdir: str | Path | None = None,
) -> Job:
    """The job that these words mean. Raises SettingError.

    Args:
      name: the experiment's.
      tier: smoke, quick or paper.
      overrides: {dotted path: text}.
      pattern: only the arms whose name matches this shell pattern.
      sweep: arms in place of the experiment's own, in the language of `settings.language`.
      workdir: the run's folder; left out, one in ./runs named for the rest.
    """
    module = load_experiment(name)
    swept = None if sweep is None else parse_sweep(sweep)
    arms = resolve(module, tier, overrides, pattern, swept)
    _check_names(arms)
    chosen = f"-{slug(pattern).replace('/', '-').strip('-')}".rstrip("-") if pattern else ""
    chosen += "-sweep" if swept else ""
    return Job(name, module, tier, arms, swept is not None, Path(workdir or f"runs/{name}-{tier}{chosen}"))


def _check_names(arms: Mapping[str, ArmSpec]) -> None:
    """Two arms that would share a file are an error."""
    taken: dict[str, str] = {}
    for name in arms:
        if taken.setdefault(slug(name), name) != name:
            raise SettingError(f"arms {taken[slug(name)]!r} and {name!r} would share the file {slug(name)}: rename one")
