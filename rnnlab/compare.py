"""What differs between two runs: `python -m rnnlab.compare runs/A runs/B [--out=FOLDER]`.

Settings, environment, and outcomes in pairs: the trials of one arm with one seed, which share their weights' draw and
their batches where the settings do.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from rnnlab.reports.pairs import outcomes
from rnnlab.reports.tables import Table, terminal, write_forms
from rnnlab.runs.console import Screen, one_line, parsed
from rnnlab.runs.files import Damaged, read_json
from rnnlab.runs.progress import counted
from rnnlab.runs.results import Trial
from rnnlab.runs.results_file import open_results
from rnnlab.settings.errors import SettingError

FLAGS = flags.FlagValues()
flags.DEFINE_string("out", None, "a folder for the tables as Markdown, CSV and LaTeX", flag_values=FLAGS)


class Run(NamedTuple):
    """A finished run, as its folder holds it."""

    name: str
    about: dict[str, str]  # experiment and tier
    arms: dict[str, dict[str, str]]  # settings
    environment: dict[str, str]
    trials: dict[tuple[str, int], Trial]  # by arm and seed


class Comparison(NamedTuple):
    """A sentence, and the tables of what differs; a table that would be empty is left out."""

    sentence: str
    tables: dict[str, Table]  # by file name, without an ending


def read_run(folder: Path) -> Run:
    """A run's folder. Raises SettingError where there is none, or one that has not ended; Damaged by its name."""
    results = open_results(folder)
    config, environment = (read_json(folder / f"{n}.json") for n in ("config", "environment"))
    try:
        about = {key: str(value) for key, value in config.items() if key not in ("arms", "sources")}
        trials = {(trial.arm, trial.seed): trial for trial in results.trials}
        rest = {key: str(value) for key, value in environment.items() if key != "command"}
        arms = {arm: dict(settings) for arm, settings in config["arms"].items()}
        return Run(str(folder), about, arms, rest, trials)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{folder}: damaged (config.json or environment.json lacks a part)") from error


def compare(a: Run, b: Run) -> Comparison:
    """What differs between two runs, b against a."""
    common = [arm for arm in a.arms if arm in b.arms]
    pairs = {arm: [(t, b.trials[key]) for key, t in a.trials.items() if key[0] == arm and key in b.trials]
             for arm in common}  # fmt: skip
    pairs = {arm: both for arm, both in pairs.items() if both}
    apart = {} if common or not (a.arms and b.arms) else {"nearest": _nearest(a, b)}
    tables = {
        "settings": _settings(a, b, common) if common else _all_settings(a, b),
        **apart,
        "environment": _table("Environment that differs.", a, b, _different(a.environment, b.environment)),
        "outcomes": outcomes(a.name, b.name, pairs),
    }
    kept = {name: table for name, table in tables.items() if table.rows}
    return Comparison(_sentence(a, b, common, pairs), kept)


def _sentence(a: Run, b: Run, common: Sequence[str], pairs: Mapping[str, Any]) -> str:
    said = []
    for run, other in ((a, b), (b, a)):
        if alone := [arm for arm in run.arms if arm not in other.arms]:
            said.append(f"only in {run.name}: {', '.join(alone)}")
    number = sum(map(len, pairs.values()))
    if not number:
        kind = "trial" if common else "arm"
        return f"No {kind} is in both {a.name} and {b.name}, so nothing is paired; {'; '.join(said)}."
    said.insert(0, f"in both {a.name} and {b.name}: {counted(number, 'trial')} of {counted(len(pairs), 'arm')}")
    paths = {path for arm in common for path, *_ in _different(a.arms[arm], b.arms[arm])}
    said.append(f"settings that differ: {', '.join(sorted(paths)) or 'none'}")
    both = [pair for arm in pairs.values() for pair in arm]
    if all(_same(x, y) for x, y in both):
        return f"{_opened(said)}. Every pair has the same curves, to the bit."
    before, after = (sum(pair[side].learned for pair in both) for side in (0, 1))
    said.append(f"learned by {before} and {after} of them")
    return f"{_opened(said)}."


def _opened(said: Sequence[str]) -> str:
    text = "; ".join(said)
    return text[0].upper() + text[1:]


def _settings(a: Run, b: Run, common: Sequence[str]) -> Table:
    """A row for each path and pair of values, with the arms that have it."""
    arms: dict[tuple[str, str, str], list[str]] = {}
    for arm in common:
        for row in _different(a.arms[arm], b.arms[arm]):
            arms.setdefault(row, []).append(arm)
    rows = [[*row, "all" if len(names) == len(common) else ", ".join(names)] for row, names in arms.items()]
    rows = [[*row, ""] for row in _different(a.about, b.about)] + rows
    return Table("Settings that differ, over the arms of both.", ["setting", a.name, b.name, "arms"], rows)


def _all_settings(a: Run, b: Run) -> Table:
    """A row for each path whose values differ between the runs, with all that it has in either."""
    rows = [*_different(a.about, b.about), *_different(_values(a), _values(b))]
    caption = "No arm is in both. Settings whose values differ, with those of all arms."
    return Table(caption, ["setting", a.name, b.name], rows)


def _values(run: Run) -> dict[str, str]:
    arms = run.arms.values()
    paths = dict.fromkeys(path for arm in arms for path in arm)
    return {path: " | ".join(dict.fromkeys(arm[path] for arm in arms if path in arm)) for path in paths}


def _nearest(a: Run, b: Run) -> Table:
    """A row for two arms that are each other's nearest, by how many settings differ, where none is as near."""
    far = np.array([[len(_different(x, y)) for y in b.arms.values()] for x in a.arms.values()])
    rows = []
    for i, j in np.argwhere((far == far.min(axis=1, keepdims=True)) & (far == far.min(axis=0))):
        if (far[i] == far[i, j]).sum() == (far[:, j] == far[i, j]).sum() == 1:
            x, y = list(a.arms)[i], list(b.arms)[j]
            rows.append([x, y, ", ".join(path for path, *_ in _different(a.arms[x], b.arms[y]))])
    caption = "Arms that are nearest to each other, by the number of settings that differ; they are not paired."
    return Table(caption, [f"arm of {a.name}", f"arm of {b.name}", "settings that differ"], rows)


def _table(caption: str, a: Run, b: Run, rows: Sequence[tuple[str, str, str]]) -> Table:
    return Table(caption, ["", a.name, b.name], [list(row) for row in rows])


def _different(a: Mapping[str, str], b: Mapping[str, str]) -> list[tuple[str, str, str]]:
    found = [(key, str(a.get(key, "absent")), str(b.get(key, "absent"))) for key in dict.fromkeys([*a, *b])]
    return [row for row in found if row[1] != row[2]]


def _same(a: Trial, b: Trial) -> bool:
    """Whether two trials ended alike, with the same curves and profiles to the bit."""
    return a.status == b.status and _equal(a.curve, b.curve) and _equal(a.profiles, b.profiles)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return np.array_equal(a, b, equal_nan=True)


def write(comparison: Comparison, folder: Path) -> None:
    """Each table as Markdown, CSV and LaTeX. Raises SettingError where the folder cannot be written."""
    try:
        for name, table in comparison.tables.items():
            write_forms(table, folder, name)
    except OSError as error:
        raise SettingError(f"--out={folder}: {error.strerror}; name a folder of your own") from error


USAGE = (
    "python -m rnnlab.compare RUN_A RUN_B [--out=FOLDER], two runs' folders: what differs in settings, environment and "
    "outcome; --out keeps the tables"
)


@functools.partial(one_line, usage=USAGE)
def main(argv: list[str]) -> None:
    found = compare(*(read_run(Path(name)) for name in parsed(FLAGS, argv, USAGE, 2)))
    if FLAGS.out:
        write(found, Path(FLAGS.out))
    screen = Screen()
    for table in found.tables.values():
        terminal(table, screen)
    screen.say(found.sentence)


def program() -> None:
    """The command line, with its exit status."""
    sys.exit(main(sys.argv))


if __name__ == "__main__":
    program()
