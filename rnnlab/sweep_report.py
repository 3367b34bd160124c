"""The report of a sweep that a user typed: an experiment's own judges the arms that its author chose, and no others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rnnlab import axes, figures, sweep_figures
from rnnlab.fanova import FEW, Importance, importance
from rnnlab.report import Verdict, reach_table
from rnnlab.settings import varied
from rnnlab.style import COLOURS
from rnnlab.survival import median_time, sequences_to_solve
from rnnlab.sweep import TRIALS
from rnnlab.sweep_tables import sweep_table

DECADE = 10  # an axis of positive numbers that spans more is logarithmic


def report(results: Mapping[str, Any]) -> Verdict:
    """Who learned and how soon, in words, tables and figures; with draws enough, which setting mattered.

    Curves are drawn where every arm of a task has a look of its own.
    """
    tasks = figures.by_task(results)
    drawn = {}
    if max(map(len, tasks.values())) <= len(COLOURS):
        drawn |= {
            "flow": figures.flow_figure(results),
            "learning": figures.learning_figure(results),
            "solving": sweep_figures.survival_figure(results),
            "reach": figures.reach_figure(results),
        }
    if "task.length" in varied(results["settings"]):
        drawn["success"] = sweep_figures.success_figure(results)
    if found := importances(results):
        drawn["importance"] = sweep_figures.importance_figure(found, "log held-out loss")
    sentence = " ".join(f"{task}: {_learned(cells)}." for task, cells in tasks.items())
    return Verdict(sentence, [sweep_table(results), reach_table(results)], drawn)


def importances(results: Mapping[str, Any]) -> Importance | None:
    """Shares of the variance of the log held-out loss; None for few trials, one axis, or tasks that do not compare.

    A trial whose loss is no number counts with the loss of chance.
    """
    paths = [path for path in varied(results["settings"]) if path not in TRIALS]
    trials = [trial for trial in results["trials"] if trial["steps"]]
    if len(trials) < FEW or len(paths) < 2 or "task" in paths:
        return None
    losses = [trial["eval"].get("loss", math.nan) for trial in trials]
    losses = [
        math.log(loss if math.isfinite(loss) and loss > 0 else results["chance"][trial["arm"]])
        for trial, loss in zip(trials, losses, strict=True)
    ]
    if len(set(losses)) < 2:
        return None
    design = axes.design(results, trials, paths)
    scales = {path: "log" for path, values in design.items() if _logarithmic(values)}
    found = importance(design, losses, scales)
    return found if found.effects else None


def _logarithmic(values: Sequence[Any]) -> bool:
    if any(isinstance(value, str) for value in values):
        return False
    return min(values) > 0 and max(values) > DECADE * min(values)


def _learned(cells: Mapping[str, Sequence[Any]]) -> str:
    """Every arm's count, or of many arms how many learned and which did soonest."""
    counts = {cell: sum(t["status"] == "learned" for t in trials) for cell, trials in cells.items()}
    if len(cells) <= len(COLOURS):
        return "learned by " + ", ".join(f"{cell} {counts[cell]}/{len(trials)}" for cell, trials in cells.items())
    most = [cell for cell, trials in cells.items() if 2 * counts[cell] > len(trials)]
    said = f"{len(most)} of {len(cells)} arms learned in most trials"
    if not most:
        return said
    times = {cell: median_time(sequences_to_solve(cells[cell])).estimate for cell in most}
    soonest = min(times, key=times.__getitem__)
    return f"{said}, soonest {soonest} ({times[soonest]:,.0f} sequences)"
