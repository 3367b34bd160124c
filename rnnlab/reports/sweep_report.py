"""The report of a sweep that a user typed: an experiment's own judges the arms that its author chose, and no others."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from rnnlab.reports import figures, sweep_axes, sweep_figures
from rnnlab.reports.horizon_tables import reach_table
from rnnlab.reports.report import Verdict
from rnnlab.reports.style import COLOURS
from rnnlab.reports.sweep_tables import paired_table, stopped_early, sweep_table
from rnnlab.reports.tables import Table, format_interval, listed
from rnnlab.settings.resolve import varied
from rnnlab.specs.grid import TRIALS
from rnnlab.stats import estimates
from rnnlab.stats.bootstrap import interquartile_mean
from rnnlab.stats.fanova import FEW, Importance, importance, logs
from rnnlab.stats.survival import budget, median_time, sequences_to_solve, trained


class Shares(NamedTuple):
    """What settings make of the variance of an outcome."""

    outcome: str
    found: Importance
    tied: dict[str, str]  # settings that were left out, each with the one it varies with


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
        drawn["success_map"] = sweep_figures.heat_figure(
            results, *grid, _share, "share of trials that learned", (0.0, 1.0)
        )
    if shares := importances(results):
        drawn["importance"] = _drawn(shares)
    scores = _accuracies(tasks) if few and len(tasks) > 1 else {}
    if scores:
        drawn["profile"] = sweep_figures.profile_figure(scores, "held-out accuracy", np.linspace(0, 1, 201))
    sentence = " ".join(f"{task}: {_learned(cells)}." for task, cells in tasks.items())
    pairs = [paired_table(results, next(iter(cells.values()))[0]["arm"]) for cells in tasks.values() if _paired(cells)]
    means = [_means(scores)] if scores else []
    return Verdict(sentence, [sweep_table(results), *pairs, *means, reach_table(results)], drawn)


def _paired(cells: Mapping[str, Sequence[Any]]) -> bool:
    """Few arms with several seeds: the first of many draws is nobody's baseline, and one seed is no pair to test."""
    return 1 < len(cells) <= len(COLOURS) and max(map(len, cells.values())) > 1


def _accuracies(tasks: Mapping[str, Mapping[str, Sequence[Any]]]) -> dict[str, list[list[float]]]:
    """Held-out accuracies by cell, of each task; of a diverged trial 0. Empty where a task lacks a cell or score."""
    names = list(dict.fromkeys(name for cells in tasks.values() for name in cells))
    if any(name not in cells for cells in tasks.values() for name in names):
        return {}
    every = [trial for cells in tasks.values() for trials in cells.values() for trial in trials]
    if any(trial["status"] != "diverged" and "accuracy" not in trial["eval"] for trial in every):
        return {}
    return {name: [[_accuracy(trial) for trial in cells[name]] for cells in tasks.values()] for name in names}


def _accuracy(trial: Any) -> float:
    value = 0.0 if trial["status"] == "diverged" else float(trial["eval"]["accuracy"])
    return value if math.isfinite(value) else 0.0


def _means(scores: Mapping[str, Sequence[Sequence[float]]]) -> Table:
    rows = []
    for name, groups in scores.items():
        found = interquartile_mean(groups)
        if not math.isnan(found.low):  # few trials have a wide interval, and an accuracy its bounds
            found = found._replace(low=max(found.low, 0.0), high=min(found.high, 1.0))
        rows.append([name, str(len(groups)), str(found.n), format_interval(found)])
    caption = (
        "Held-out accuracy over tasks: the mean of the middle half of all trials (Agarwal et al. 2021), in brackets "
        "the 95 % interval of a bootstrap within tasks, which are the ones chosen. A diverged trial counts as 0."
    )
    return Table(caption, ["cell", "tasks", "trials", "interquartile mean of accuracy"], rows)


def _grid(results: Mapping[str, Any]) -> tuple[str, str] | None:
    """Two settings of which every pair of values occurs, the first that there are."""
    values = {path: sweep_axes.axis(results, path) for path in varied(results["settings"]) if path not in TRIALS}
    for (across, one), (up, two) in itertools.combinations(values.items(), 2):
        if len({(one[arm], two[arm]) for arm in one}) == len(set(one.values())) * len(set(two.values())):
            return across, up
    return None


def _share(trials: Sequence[Any]) -> float:
    return estimates.proportion(sum(t["status"] == "learned" for t in trials), len(trials)).estimate


def importances(results: Mapping[str, Any]) -> Shares | None:
    """Shares of the variance of an outcome; None for few trials, one axis, or tasks that do not compare.

    Of settings that vary together one takes part.
    """
    paths = [path for path in varied(results["settings"]) if path not in TRIALS]
    trials = [trial for trial in results["trials"] if trained(trial)]
    if len(trials) < FEW or len(paths) < 2 or "task" in paths:
        return None
    design, tied = sweep_axes.apart(sweep_axes.design(results, trials, paths))
    name, values = _outcome(results, trials)
    if len(design) < 2 or len(set(values)) < 2:
        return None
    found = importance(design, values, sweep_axes.scales(design))
    return Shares(name, found, tied) if found.effects else None


def _outcome(results: Mapping[str, Any], trials: Sequence[Any]) -> tuple[str, list[float]]:
    """The log loss; where trials stop at the rule, losses tell of the rule, and the log of sequences is taken."""
    if stopped_early(trials):
        times = [sequences_to_solve([trial]) for trial in trials]
        ends = [found.solved[0] if found.solved else budget(trial, trials)
                for found, trial in zip(times, trials, strict=True)]  # fmt: skip
        return "log sequences to solve (unsolved: the budget)", logs(ends)
    losses = [trial["eval"].get("loss", math.nan) for trial in trials]
    chances = [results["chance"][trial["arm"]] for trial in trials]
    known = [loss if math.isfinite(loss) else chance for loss, chance in zip(losses, chances, strict=True)]
    return "log held-out loss", logs(known)


def _drawn(shares: Shares) -> Figure:
    figure = sweep_figures.importance_figure(shares.found, shares.outcome)
    if shares.tied:
        said = [f"{sweep_axes.label(path)} with {sweep_axes.label(other)}" for path, other in shares.tied.items()]
        figure.set_label(f"{figure.get_label()} Not told apart, and left out: {listed(said)}.")
    return figure


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
