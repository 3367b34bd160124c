"""A run's arms and trials as tables: what a report shows of arms, and numbers for a statistics program."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from rnnlab.reports.arm_columns import COLUMNS, Column, chosen
from rnnlab.reports.tables import Table
from rnnlab.runs.results import Arm, Results, When
from rnnlab.settings.resolve import varied
from rnnlab.specs.grid import TRIALS
from rnnlab.stats.estimates import Interval

HORIZONS: dict[str, tuple[When, str]] = {  # columns of horizons, which the end of a sequence may cut off
    "horizon": ("init", "h"), "horizon_trained": ("trained", "h"),
    "horizon_c": ("init", "c"), "horizon_c_trained": ("trained", "c"),
}  # fmt: skip
NOTHING = ("", "n/a", "none", "not trained")  # what a cell says where there is nothing to say


def arms_table(results: Results, columns: Sequence[str | Column] = tuple(COLUMNS)) -> Table:
    """A row an arm, in their declared order; a column that says nothing of any arm is left out.

    Rates are means with Student's interval, success a proportion with Wilson's, sequences Kaplan & Meier's median, all
    else medians with theirs. A diverged trial counts as one that did not learn; its state after training is left out.

    Raises:
      SettingError: there is no such column.
    """
    arms = list(results.arms.values())
    found = chosen(columns)
    texts = {name: [column.text(arm) for arm in arms] for name, column in found.items()}
    kept = {name: cells for name, cells in texts.items() if any(cell not in NOTHING for cell in cells)}
    rows = [[arm.name, *cells] for arm, *cells in zip(arms, *kept.values(), strict=True)]
    return Table(_caption(results, list(kept)), ["arm", *(found[name].head for name in kept)], rows)


def _caption(results: Results, columns: Sequence[str]) -> str:
    said = [f"{'All quantities' if len(columns) > 7 else 'Arms'} of {results.experiment}."]
    of_c = [name.startswith("horizon_c") for name in columns if "horizon" in name]
    if of_c:
        what = "dL/dc" if all(of_c) else "dL/dh (or what is named)" if any(of_c) else "dL/dh"
        said.append(f"Horizon: the largest lag whose {what} is above {results.fraction:g} of lag 0.")
    rules: dict[str, dict[str, None]] = {}
    for arm in results.arms.values():
        if arm.rule and arm.trained:
            rules.setdefault(arm.rule, {})[arm.task] = None
    if rules and "learned" in columns:
        told = [rule + (f" ({', '.join(tasks)})" if len(rules) > 1 else "") for rule, tasks in rules.items()]
        said.append(f"Learned: {'; '.join(told)}.")
    if "sequences" in columns:
        said.append(
            "Sequences to solve: Kaplan & Meier's median, in brackets where its 95 % band crosses 1/2; >= the longest "
            "budget where it was not reached."
        )
    if any(len(arm.trials) > 1 for arm in results.arms.values()):
        said.append("In brackets: 95 % intervals over trials, for a median of up to 5 trials their range.")
    if "fit_decay" in columns:
        said.append(
            "Of the mean dL/dh: the profile averaged over trials, with bootstrap intervals over seeds (over examples "
            "where there is one); where one rate does not describe its decay, the slopes of the first and second half "
            "of the lags stand beside it."
        )
    if "guessing" in columns:
        counts = sorted({trial.guesses.guesses for trial in results.trials if trial.guesses})
        said.append(f"Guessing: of {' to '.join(map(str, counts[:1] + counts[1:][-1:]))} networks beside each trial.")
    return " ".join(said)


def _settings(results: Results) -> list[str]:
    """The settings that differ between arms; of a single arm those that name it."""
    found = [path for path in varied(results.settings) if path not in TRIALS]
    return found or [
        path for path in ("cell", "task", "task.length") if path in next(iter(results.arms.values())).settings
    ]


def _written(rows: Sequence[Mapping[str, Any]]) -> str:
    file = io.StringIO()
    columns = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(file, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _named(arm: Arm, paths: Sequence[str]) -> dict[str, Any]:
    """Whose row it is, with the settings at `paths`; what an arm lacks, or is None, is an empty cell."""
    settings = {path: arm.settings.get(path, "") for path in paths}
    settings = {path: "" if value == "None" else value for path, value in settings.items()}
    return {"arm": arm.name, "arm_task": arm.task, "arm_label": arm.label} | settings


def arms_csv(results: Results, own: Sequence[str | Column] = ()) -> str:
    """A row an arm, one number a cell: the settings that vary, then every column with the ends of its interval.

    `horizon_censored` counts the trials whose horizon is the whole sequence and may be longer.

    `own`: an experiment's columns, of which those that are its own come last.
    """
    rows, paths = [], _settings(results)
    for arm in results.arms.values():
        row = _named(arm, paths) | {"n": len(arm.trials)}
        for name, column in (COLUMNS | chosen(own)).items():
            found = column.number(arm)
            if isinstance(found, Interval):
                row |= {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}
                if name in HORIZONS:
                    reached = [r for trial in arm.trials if (r := trial.horizon(*HORIZONS[name]))]
                    row[f"{name}_censored"] = sum(r.censored for r in reached)
            elif found is not None and name != "trials":
                row[name] = found
        rows.append(row)
    return _written(rows)


def trials_csv(results: Results) -> str:
    """A row a trial, one number a cell: what a statistics program reads."""
    rows, paths = [], _settings(results)
    for arm in results.arms.values():
        for trial in arm.trials:
            row = _named(arm, paths) | {"seed": trial.seed, "status": trial.status, "learned": int(trial.learned)}
            row |= {name: getattr(trial, name) for name in ("steps", "sequences", "budget")}
            row["learned_at"] = trial.learned_at if trial.learned_at >= 0 else ""
            row |= {f"held_out_{name}": value for name, value in trial.held_out.items()}
            for when, by_name in trial.horizons.items():
                if trial.measured(when):
                    for name, reached in by_name.items():
                        place = f"{when}_{name.replace(' ', '_')}"
                        row |= {f"{place}_{quantity}": float(value) for quantity, value in reached._asdict().items()}
            rows.append(row)
    return _written(rows)
