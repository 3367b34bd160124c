"""Keep the result of a run beside its experiment: `python -m rnnlab.publish runs/NAME experiments/results/NAME`.

Writes NAME.json, small enough for a repository and complete enough for the experiment's own report, and NAME.md, the
tables that the report makes from it. What a figure alone needs is left out.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnnlab.reports.tables import markdown
from rnnlab.runs.console import one_line
from rnnlab.runs.files import Damaged, as_read, read_json, write_line, write_whole
from rnnlab.settings.errors import SettingError
from rnnlab.settings.experiments import load_experiment

SPACING = 1.05  # between two steps of a curve that are kept, as a ratio
DROPPED, DROPPED_OF_A_TRIAL = ("fits", "verdict"), ("profiles", "map")
DIGITS = 4


def small(results: Mapping[str, Any]) -> dict[str, Any]:
    """The results with thinned curves of held-out measures and rounded numbers, without profiles, maps and fits.

    Where on which machine they lay is left out too.
    """
    trials = []
    for trial in results["trials"]:
        kept = {name: value for name, value in trial.items() if name not in DROPPED_OF_A_TRIAL}
        trials.append(kept | {"curve": _thin(trial["curve"]), "probes": trial["probes"][:1] + trial["probes"][1:][-1:]})
    kept = {name: value for name, value in results.items() if name not in DROPPED}
    where = {name: value for name, value in results["environment"].items() if name not in ("platform", "command")}
    words = [word for word in shlex.split(results["command"]) if not word.startswith("--workdir")]
    return _rounded(kept | {"trials": trials, "environment": where, "command": shlex.join(words)})


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


def tables(results: Mapping[str, Any]) -> str:
    """What the experiment's report says of the results, as Markdown. Raises SettingError where it needs more."""
    try:
        name, where = results["experiment"], results["environment"]
        ran = f"`{results['command']}`; " + ", ".join(f"{name} {where[name]}" for name in ("jax", "python", "devices"))
        ran += f"; {where['processor']}; curves thinned to {SPACING - 1:.0%} of the step."
    except KeyError as error:
        raise Damaged(f"results without {error}") from error
    module = load_experiment(name)
    try:
        verdict = module.report(results)
    except KeyError as error:
        if error.args[0] not in DROPPED + DROPPED_OF_A_TRIAL:
            raise
        raise SettingError(f"{name}: its report needs {error}, and that is not published") from error
    return "\n".join([ran, "", *map(markdown, verdict.tables), verdict.sentence, ""])


@one_line
def main(argv: list[str]) -> None:
    if len(argv) != 3:
        raise SettingError("python -m rnnlab.publish FOLDER NAME, a finished run's folder and where to")
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
    told = tables(results)
    write_line(name.with_suffix(".json"), results)
    write_whole(name.with_suffix(".md"), told.encode())


def program() -> None:
    """The command line, with its exit status."""
    sys.exit(main(sys.argv))


if __name__ == "__main__":
    program()
