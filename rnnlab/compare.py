"""What differs between two runs: `python -m rnnlab.compare runs/A runs/B [--out=FOLDER]`.

Settings, environment, and outcomes in pairs: the trials of one arm with one seed, which share their weights' draw and
their batches where the settings do.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags

from rnnlab.cli import Screen, one_line
from rnnlab.paired import differences, success_difference
from rnnlab.settings import SettingError
from rnnlab.sweep_tables import STOPPED, stopped_early
from rnnlab.tables import Table, format_interval, format_number, terminal, write_forms
from rnnlab.writers import Damaged, read_json

FLAGS = flags.FLAGS
flags.DEFINE_string("out", None, "a folder for the tables as Markdown, CSV and LaTeX")

Trial = Mapping[str, Any]
QUANTITIES: Mapping[str, Callable[[Trial], float]] = {  # nan where a trial has none
    "sequences until learned, where both did": lambda t: _to_learn(t),
    "held-out loss": lambda t: t["eval"].get("loss", math.nan),
    "held-out accuracy": lambda t: t["eval"].get("accuracy", math.nan),
    "decay of dL/dh at init (nats/step)": lambda t: _reached(t, "init", "decay_rate"),
    "horizon at init (steps)": lambda t: _reached(t, "init", "horizon"),
    "horizon after training (steps)": lambda t: _reached(t, "trained", "horizon") if t["steps"] else math.nan,
}


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
    if not (folder / "config.json").exists():
        raise SettingError(f"{folder}: no run of rnnlab (it has no config.json)")
    if not (folder / "results.json").exists():
        raise SettingError(f"{folder}: has not ended (it has no results.json); its own command goes on with it")
    config, environment, results = (read_json(folder / f"{n}.json") for n in ("config", "environment", "results"))
    try:
        about = {key: str(value) for key, value in config.items() if key != "arms"}
        trials = {(trial["arm"], trial["seed"]): trial for trial in results["trials"]}
        rest = {key: str(value) for key, value in environment.items() if key != "command"}
        arms = {arm: dict(settings) for arm, settings in config["arms"].items()}
        return Run(str(folder), about, arms, rest, trials)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{folder}: damaged (config.json, environment.json or results.json lacks a part)") from error


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
        "outcomes": _outcomes(a, b, pairs),
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
    said.insert(0, f"in both {a.name} and {b.name}: {_count(number, 'trial')} of {_count(len(pairs), 'arm')}")
    paths = {path for arm in common for path, *_ in _different(a.arms[arm], b.arms[arm])}
    said.append(f"settings that differ: {', '.join(sorted(paths)) or 'none'}")
    both = [pair for arm in pairs.values() for pair in arm]
    if all(_same(x, y) for x, y in both):
        return f"{_opened(said)}. Every pair has the same curves, to the bit."
    learned = [sum(_learned(pair[side]) for pair in both) for side in (0, 1)]
    said.append(f"learned by {learned[0]} and {learned[1]} of them")
    return f"{_opened(said)}."


def _opened(said: Sequence[str]) -> str:
    text = "; ".join(said)
    return text[0].upper() + text[1:]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


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


def _outcomes(a: Run, b: Run, pairs: Mapping[str, Sequence[tuple[Trial, Trial]]]) -> Table:
    """A row an arm, and one that counts all arms together: trials of one seed share batches, so they are not tested."""
    rows = [[arm, *_row(both)] for arm, both in pairs.items()]
    if len(pairs) > 1:
        every = [pair for both in pairs.values() for pair in both]
        rows.append(["all arms", *_counts(every), *[""] * (1 + len(QUANTITIES))])
    columns = ["arm", "pairs", f"learned in {a.name}", f"in {b.name}", "difference", *QUANTITIES]
    caption = (
        f"Outcomes of {b.name} less those of {a.name}, over pairs of trials with the same arm and seed: medians with "
        "95 % intervals (for up to 5 pairs their range), p of Wilcoxon's signed-rank test; for trials learned, rates "
        "with Bonett and Price's interval, p of McNemar's exact test. No p is adjusted for the number of tests. A "
        "trial that diverged has not learned, and has no other outcome."
    )
    if stopped_early(trial for both in pairs.values() for pair in both for trial in pair):
        caption += STOPPED
    if len(pairs) > 1:
        caption += " Trials of all arms together are counted and not tested: those of one seed share their batches."
    return Table(caption, columns, rows)


def _counts(pairs: Sequence[tuple[Trial, Trial]]) -> list[str]:
    return [str(len(pairs)), *(f"{sum(_learned(pair[side]) for pair in pairs)}/{len(pairs)}" for side in (0, 1))]


def _row(pairs: Sequence[tuple[Trial, Trial]]) -> list[str]:
    before, after = ([_learned(pair[side]) for pair in pairs] for side in (0, 1))
    found = success_difference(after, before)
    said = f"{format_interval(found.difference, 2)}, p {format_number(found.p, 2)}" if before != after else "equal"
    return [*_counts(pairs), said, *(_difference(pairs, of) for of in QUANTITIES.values())]


def _difference(pairs: Sequence[tuple[Trial, Trial]], quantity: Callable[[Trial], float]) -> str:
    values = [tuple(math.nan if _diverged(t) else float(quantity(t)) for t in pair) for pair in pairs]
    known = [pair for pair in values if all(map(math.isfinite, pair))]
    if not known:
        return "n/a"
    before, after = zip(*known, strict=True)
    left_out = f" ({len(known)} of {len(pairs)} pairs)" if len(known) < len(pairs) else ""
    if before == after:
        return f"equal{left_out}"
    found = differences(after, before)
    return f"{format_interval(found.median)}, p {format_number(found.p, 2)}{left_out}"


def _learned(trial: Trial) -> bool:
    return trial["status"] == "learned"


def _diverged(trial: Trial) -> bool:
    return trial["status"] == "diverged"


def _reached(trial: Trial, when: str, quantity: str) -> float:
    """nan where the carry has no h, or its reach was not measured."""
    return float(trial.get("reach", {}).get(when, {}).get("h", {}).get(quantity, math.nan))


def _to_learn(trial: Trial) -> float:
    return trial["learned_at"] * trial["sequences"] / trial["steps"] if _learned(trial) else math.nan


def _same(a: Trial, b: Trial) -> bool:
    return repr([a[key] for key in ("status", "curve", "profiles")]) == repr(
        [b[key] for key in ("status", "curve", "profiles")]
    )


def write(comparison: Comparison, folder: Path) -> None:
    """Each table as Markdown, CSV and LaTeX. Raises SettingError where the folder cannot be written."""
    try:
        for name, table in comparison.tables.items():
            write_forms(table, folder, name)
    except OSError as error:
        raise SettingError(f"--out={folder}: {error.strerror}; name a folder of your own") from error


@one_line
def main(argv: list[str]) -> None:
    if len(argv) != 3:
        raise SettingError("python -m rnnlab.compare RUN_A RUN_B [--out=FOLDER], two runs' folders")
    found = compare(*(read_run(Path(name)) for name in argv[1:]))
    if FLAGS.out:
        write(found, Path(FLAGS.out))
    screen = Screen()
    for table in found.tables.values():
        terminal(table, screen)
    screen.say(found.sentence)


def parse(argv: list[str]) -> list[str]:
    """absl's flags; a wrong one is an error of one line."""
    try:
        return FLAGS(argv)
    except flags.Error as error:
        print(f"rnnlab: {str(error).splitlines()[0]}; there is --out", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
