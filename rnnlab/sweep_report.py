"""The report of a sweep that a user typed: an experiment's own judges the arms that its author chose, and no others."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rnnlab import axes, figures, stats, sweep_figures
from rnnlab.fanova import FEW, Importance, importance
from rnnlab.reach import reach_table
from rnnlab.report import Verdict
from rnnlab.settings import varied
from rnnlab.style import COLOURS
from rnnlab.survival import median_time, sequences_to_solve, trained
from rnnlab.sweep import TRIALS
from rnnlab.sweep_tables import paired_table, sweep_table

DECADE = 10  # an axis of positive numbers that spans more is logarithmic


def report(results: Mapping[str, Any]) -> Verdict:
    """Who learned and how soon, in words, tables and figures; with draws enough, which setting mattered.

    Curves are drawn where every arm of a task has a look of its own.
    """
    tasks = figures.by_task(results)
    few = max(map(len, tasks.values())) <= len(COLOURS)
    drawn = {"flow": figures.flow_figure(results), "reach": figures.reach_figure(results)} if few else {}
    if not any(map(trained, results["trials"])):
        return Verdict("Measured, not trained.", [reach_table(results)], drawn)
    if few:
        drawn |= {"learning": figures.learning_figure(results), "solving": sweep_figures.survival_figure(results)}
    if "task.length" in varied(results["settings"]):
        drawn["success"] = sweep_figures.success_figure(results)
    if grid := _grid(results):
        drawn["success_map"] = sweep_figures.heat_figure(results, *grid, _share, "share of trials that learned")
    if found := importances(results):
        drawn["importance"] = sweep_figures.importance_figure(found, "log held-out loss")
    sentence = " ".join(f"{task}: {_learned(cells)}." for task, cells in tasks.items())
    firsts = [next(iter(cells.values()))[0]["arm"] for cells in tasks.values() if len(cells) > 1]
    pairs = [paired_table(results, arm) for arm in firsts]
    return Verdict(sentence, [sweep_table(results), *pairs, reach_table(results)], drawn)


def _grid(results: Mapping[str, Any]) -> tuple[str, str] | None:
    """Two settings of which every pair of values occurs, the first that there are."""
    values = {path: axes.axis(results, path) for path in varied(results["settings"]) if path not in TRIALS}
    for (across, one), (up, two) in itertools.combinations(values.items(), 2):
        if len({(one[arm], two[arm]) for arm in one}) == len(set(one.values())) * len(set(two.values())):
            return across, up
    return None


def _share(trials: Sequence[Any]) -> float:
    return stats.proportion(sum(t["status"] == "learned" for t in trials), len(trials)).estimate


def importances(results: Mapping[str, Any]) -> Importance | None:
    """Shares of the variance of the log held-out loss; None for few trials, one axis, or tasks that do not compare.

    A trial whose loss is no number counts with the loss of chance.
    """
    paths = [path for path in varied(results["settings"]) if path not in TRIALS]
    trials = [trial for trial in results["trials"] if trained(trial)]
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
