"""The report of any sweep: what its arms reached, what its settings do to it, and every trial's course."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rnnlab import stats
from rnnlab.axes import axis, design, label
from rnnlab.fanova import Importance, importance
from rnnlab.figures import by_task, flow_figure, learning_figure
from rnnlab.fits import fit_table
from rnnlab.reach import reach_table
from rnnlab.report import Verdict
from rnnlab.settings import varied
from rnnlab.sweep_figures import heat_figure, importance_figure, success_figure, survival_figure
from rnnlab.sweep_tables import paired_table, sweep_table
from rnnlab.tables import listed

CURVES = 12  # arms of which curves can still be told apart
FEW = 10  # trials below which no importance is estimated


def report(results: Mapping[str, Any]) -> Verdict:
    """Tables and figures that the sweep's axes call for; the arms of each task are compared with its first."""
    axes = {path: axis(results, path) for path in varied(results["settings"])}
    trained = any(trial["steps"] for trial in results["trials"])
    tables = [sweep_table(results), reach_table(results)] if trained else [reach_table(results)]
    if trained:
        several = [list(cells.values()) for cells in by_task(results).values() if len(cells) > 1]
        tables += [paired_table(results, first[0]["arm"]) for first, *_ in several]
    if len(results["settings"]) <= CURVES:
        tables.append(fit_table(results))
    return Verdict(_sentence(results, axes, trained), tables, _figures(results, axes, trained))


def _figures(results, axes, trained) -> dict[str, Figure]:
    drawn: dict[str, Figure] = {}
    if len(results["settings"]) <= CURVES:
        drawn["flow"] = flow_figure(results)
        drawn |= {"learning": learning_figure(results), "survival": survival_figure(results)} if trained else {}
    if trained and "task.length" in axes:
        by = "cell" if "cell" in axes else next((path for path in axes if path != "task.length"), "cell")
        drawn["success"] = success_figure(results, by=by)
    grid = [path for path, values in axes.items() if 2 <= len(set(values.values())) <= CURVES]
    if trained and len(grid) >= 2 and _is_grid(axes, grid[:2]):
        drawn["success_map"] = heat_figure(results, grid[0], grid[1], _share, "share of trials that learned")
    if trained and (found := _importance(results)):
        drawn["importance"] = importance_figure(found, "log10 held-out loss")
    return drawn


def _is_grid(axes, paths) -> bool:
    """Every pair of values of two settings occurs."""
    one, two = (axes[path] for path in paths)
    return len({(one[arm], two[arm]) for arm in one}) == len(set(one.values())) * len(set(two.values()))


def _share(trials: Sequence[Any]) -> float:
    return stats.proportion(sum(t["status"] == "learned" for t in trials), len(trials)).estimate


def _importance(results) -> Importance | None:
    """Of the settings on the logarithm of the held-out loss; a trial that diverged tells of no loss."""
    trials = [t for t in results["trials"] if t["status"] != "diverged" and t["eval"] and t["eval"]["loss"] > 0]
    losses = [math.log10(t["eval"]["loss"]) for t in trials if math.isfinite(t["eval"]["loss"])]
    trials = [t for t in trials if math.isfinite(t["eval"]["loss"])]
    found = {path: values for path, values in design(results, trials).items() if len(set(values)) > 1}
    found = {path: values for path, values in found.items() if path not in ("seeds", "first_seed")}
    if len(trials) < FEW or len(found) < 2 or np.ptp(losses) == 0:
        return None
    return importance(found, losses, {path: _scale(values) for path, values in found.items() if _numbers(values)})


def _numbers(values) -> bool:
    return not any(isinstance(v, str) for v in values)


def _scale(values) -> str:
    """What was set to a few levels counts by level; what spans a decade was drawn in its logarithm."""
    if len(set(values)) <= CURVES:
        return "levels"
    return "log" if min(values) > 0 and max(values) >= 10 * min(values) else "linear"


def _sentence(results, axes, trained) -> str:
    said = f"{len(results['settings'])} arms over {listed([label(path).partition(' (')[0] for path in axes])}"
    if not trained:
        return f"{said}: measured, not trained."
    rates = {
        arm: (sum(t["status"] == "learned" for t in results["trials"] if t["arm"] == arm),
              sum(t["arm"] == arm for t in results["trials"]))
        for arm in results["settings"]
    }  # fmt: skip
    every = [arm for arm, (k, n) in rates.items() if k == n]
    none = [arm for arm, (k, _) in rates.items() if k == 0]
    parts = [f"{sum(k for k, _ in rates.values())} of {len(results['trials'])} trials learned"]
    if every:
        parts.append(f"all of {listed(every)}" if len(every) <= 4 else f"all of {len(every)} arms")
    if none:
        parts.append(f"none of {listed(none)}" if len(none) <= 4 else f"none of {len(none)} arms")
    if found := _importance(results):
        first = found.effects[0]
        named = " with ".join(label(path).partition(" (")[0] for path in first.axes)
        parts.append(f"{named} explains {first.share:.0%} of the variance of log held-out loss")
    return f"{said}: {'; '.join(parts)}."
