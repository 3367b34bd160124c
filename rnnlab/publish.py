"""Keep the result of a run beside its experiment: `python -m rnnlab.publish runs/NAME experiments/results/NAME`.

Writes NAME.json, small enough for a repository and complete enough for the experiment's own report, and NAME.md, the
tables that the report makes from it.
"""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.reports.report import all_tables
from rnnlab.reports.reporting import report_on
from rnnlab.reports.sentences import other_code
from rnnlab.reports.tables import markdown
from rnnlab.runs.console import Screen, one_line
from rnnlab.runs.files import Damaged, as_read, read_json, write_line, write_whole
from rnnlab.runs.results_file import results_from
from rnnlab.settings.errors import SettingError

SPACING = 1.05  # between two steps of a curve that are kept, as a ratio
LAGS = 60  # points kept of a profile over lag
DROPPED = ("verdict", "claims")  # the report makes them again
DIGITS = 4


def small(results: Mapping[str, Any]) -> dict[str, Any]:
    """A results.json with thinned curves and profiles and rounded numbers, and without maps over training.

    On which machine it lay, and where, is left out too.
    """
    trials = []
    for trial in results["trials"]:
        profiles = {when: _thin_profile(curves) for when, curves in trial["profiles"].items()}
        probes = trial["probes"][:1] + trial["probes"][1:][-1:]
        trials.append(trial | {"curve": _thin(trial["curve"]), "profiles": profiles, "probes": probes, "map": None})
    kept = {name: value for name, value in results.items() if name not in DROPPED}
    where = {name: value for name, value in results["environment"].items() if name not in ("platform", "command")}
    words = shlex.split(results["command"])
    for at in [n for n, word in enumerate(words) if word.lstrip("-") == "workdir"][::-1]:  # two words
        del words[at : at + 2]
    words = [word for word in words if not word.lstrip("-").startswith("workdir=")]
    return _rounded(kept | {"trials": trials, "environment": where, "command": shlex.join(words)})


def _thin_profile(curves: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    places = np.unique(np.geomspace(1, len(curves["lag"]), LAGS).round().astype(int)) - 1
    return {name: [values[place] for place in places] for name, values in curves.items()}


def _thin(curve: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    kept: list[int] = []
    for place, step in enumerate(curve["step"]):
        if not kept or step >= SPACING * curve["step"][kept[-1]]:
            kept.append(place)
    if curve["step"] and kept[-1] != len(curve["step"]) - 1:
        kept.append(len(curve["step"]) - 1)
    held_out = {name: values for name, values in curve.items() if name == "step" or name.startswith("eval/")}
    return {name: [values[place] for place in kept] for name, values in held_out.items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {name: _rounded(item) for name, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def tables(found: Mapping[str, Any], folder: Path) -> str:
    """What the report says of the results, which stand in `folder`, as Markdown."""
    results = results_from(found)
    where = results.environment
    ran = f"`{results.command}`; " + ", ".join(f"{name} {where.get(name, '')}" for name in ("jax", "python", "devices"))
    ran += f"; {where.get('processor', '')}; curves thinned to {SPACING - 1:.0%} of the step."
    ran = f"{ran} {other_code(results)}".rstrip()
    report = report_on(results, folder)
    return "\n".join([report.answer, "", *map(markdown, all_tables(results, report)), ran, ""])


USAGE = (
    "python -m rnnlab.publish FOLDER NAME, a finished run's folder and where to: NAME.json, small enough for a "
    "repository, and NAME.md, its tables"
)


@functools.partial(one_line, usage=USAGE)
def main(argv: list[str]) -> None:
    if len(argv) != 3:
        raise SettingError(USAGE)
    file, name = Path(argv[1], "results.json"), Path(argv[2])
    if not file.exists():
        raise SettingError(f"{file.parent}: no finished run of rnnlab (it has no {file.name})")
    if not name.name:
        raise SettingError(f"{name}: names no file; the nearest that does is {name / file.parent.name}")
    results = read_json(file)
    try:
        results = as_read(small(results))
    except (AttributeError, KeyError, TypeError) as error:
        raise Damaged(f"{file}: damaged (no results of rnnlab)") from error
    told = tables(results, file.parent)
    name = name.with_suffix("") if name.suffix in (".json", ".md") else name
    write_line(name.with_name(f"{name.name}.json"), results)
    write_whole(name.with_name(f"{name.name}.md"), told.encode())
    Screen().say(f"{name}.json, {name}.md")


def program() -> None:
    """The command line, with its exit status."""
    sys.exit(main(sys.argv))


if __name__ == "__main__":
    program()
