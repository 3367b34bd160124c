"""The figures of a report: adjoints by lag, learning curves, horizons.

Arms are named "TASK/CELL": a task is a panel, a cell keeps its colour, marker and dashes in all of them. A figure's
label is its caption. The results are those of `results.json`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from rnnlab.reports.style import GREY, WIDE, lags_across, legend, losses_up, marks, panels, styled
from rnnlab.stats import estimates

POINTS = 1000
FLOOR = -45  # log10: lower adjoints leave the frame, or they would squeeze the lags that matter
UNDERFLOW = math.log10(1.17549435e-38)  # the smallest normal float32, as seen from a norm of 1 at lag 0
BEYOND = 1e3  # times chance: higher losses leave the frame, or they would squeeze those that matter
WHEN = {"init": "at initialisation", "trained": "after training"}
THRESHOLD = {"color": GREY, "lw": 0.8}
NEEDED = {"color": GREY, "lw": 0.8, "ls": "-.", "label": "least lag that the task needs"}
LOST = {"color": GREY, "lw": 1, "ls": ":", "label": "float32 underflow, if 1 at lag 0"}
PATH = {"ls": (0, (4, 1.5)), "mfc": "white"}
CHANCE = {"color": "k", "lw": 0.9, "ls": (0, (1, 1)), "label": "chance (no memory)"}
CROSS = {"lw": 0.7, "marker": "x", "ms": 6, "mew": 1.5}


def by_arm(results: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Trials by arm, in their order."""
    arms: dict[str, list[Any]] = {}
    for trial in results["trials"]:
        arms.setdefault(trial["arm"], []).append(trial)
    return arms


def by_task(results: Mapping[str, Any]) -> dict[str, dict[str, list[Any]]]:
    """Trials by task and cell, in their order; an arm's name is split at its last "/"."""
    tasks: dict[str, dict[str, list[Any]]] = {}
    for arm, trials in by_arm(results).items():
        task, _, cell = arm.rpartition("/")
        tasks.setdefault(task, {})[cell] = trials
    return tasks


@styled
def flow_figure(results: Mapping[str, Any], full: str = "h") -> Figure:
    """log10 of ||dL/dh_t|| by lag, relative to lag 0; dashed: of dL/dc_t along the cell path alone.

    `full`: another component of the carry in place of h. An adjoint of exactly zero leaves the frame; diverged
    trials are drawn at initialisation only.
    """
    tasks, needed = by_task(results), results["needed_lag"]
    looks = marks(cell for cells in tasks.values() for cell in cells)
    rows = [when for when in WHEN if any(when in t["profiles"] for t in settled(results["trials"], when))]
    figure, grid = panels(len(rows), len(tasks), 2.0, sharex="col", sharey=True)
    threshold = math.log10(results["fraction"])
    seen = [0.0, threshold]
    for axes, when in zip(grid, rows, strict=True):
        for panel, (task, cells) in zip(axes, tasks.items(), strict=True):
            for index, (cell, trials) in enumerate(cells.items()):
                for name, dashes in ((full, {"ls": "-"}), ("c cell path", PATH)):
                    lags, profiles = _profiles(trials, when, name)
                    if len(profiles):
                        marked = _spread(np.log1p(lags), index + (name != full) / 2)
                        _line(panel, lags, profiles, looks[cell] | dashes, marked, len(lags))
                        seen += profiles[np.isfinite(profiles)].tolist()
            panel.axhline(threshold, **THRESHOLD)
            if task in needed:
                panel.axvline(needed[task], **NEEDED)
            lags_across(panel)
            panel.set_xlim(left=0)
        axes[0].set_ylabel(WHEN[when])
    for panel in grid.flat:
        panel.set_ylim(max(FLOOR, min(seen) - 1), min(-FLOOR, max(seen) + 1))
        panel.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        if panel.get_ylim()[0] < UNDERFLOW:
            panel.axhline(UNDERFLOW, **LOST)
    for top, bottom, task in zip(grid[0], grid[-1], tasks, strict=True):
        top.set_title(task)
        bottom.set_xlabel("lag k (steps back from the loss)" if len(tasks) < 3 else "lag k (steps)")
    solid = [Line2D([], [], label=rf"{cell}: $dL/d{full}_t$", **(mark | {"ls": "-"})) for cell, mark in looks.items()]
    paths = any("c cell path" in profile for t in results["trials"] for profile in t["profiles"].values())
    lines = [Line2D([], [], color="k", marker="o", label=r"$dL/dc_t$ along the cell path", **PATH)] * paths
    lines += [Line2D([], [], label=f"{results['fraction']:g}: the horizon's threshold", **THRESHOLD)]
    lines += [Line2D([], [], **NEEDED)] * bool(needed)
    lines += [Line2D([], [], **LOST)] * any(panel.get_ylim()[0] < UNDERFLOW for panel in grid.flat)
    taken = legend(figure, solid, lines)
    figure.supylabel("$\\log_{10}$ of the adjoint's norm,\nrelative to lag 0", y=(1 + taken) / 2, ma="center")
    figure.set_label(
        f"Gradient flow by lag. Solid: norm of dL/d{full}_t; dashed: norm of dL/dc_t along the cell path alone. Each "
        "is averaged over examples, relative to lag 0; lines are means of the logarithm over trials, bands the range. "
        "A trial's horizon is where its own curve last crosses the grey line. "
        f"Values below 1e{FLOOR} lie outside the frame."
    )
    return figure


@styled
def learning_figure(results: Mapping[str, Any]) -> Figure | None:
    """Held-out loss by update: the mean over trials, their range as a band, and the chance line.

    None where no trial was evaluated. Losses above `BEYOND` times chance leave the frame. A trial that stopped because
    it had learned keeps its last loss to the end of the panel; where all trials of an arm have stopped, the line is
    thin. A diverged trial is a line of its own that ends in a cross.
    """
    tasks = by_task(results | {"trials": [trial for trial in results["trials"] if trial["curve"]["step"]]})
    if not tasks:
        return None
    looks = marks(cell for cells in by_task(results).values() for cell in cells)
    rows = math.ceil(len(tasks) / 3)
    figure, grid = panels(rows, math.ceil(len(tasks) / rows), 1.8)
    for panel, (task, cells) in zip(grid.flat, tasks.items(), strict=False):
        end = max(trial["curve"]["step"][-1] for trials in cells.values() for trial in trials)
        for index, (cell, trials) in enumerate(cells.items()):
            for trial in (t for t in trials if t["status"] == "diverged"):
                steps, loss = (np.array(trial["curve"][name], np.float64) for name in ("step", "eval/loss"))
                steps, loss = steps[np.isfinite(loss)], loss[np.isfinite(loss)]
                panel.plot(steps, loss, **(looks[cell] | CROSS), markevery=[-1] if len(loss) else [])
            steps, losses, stop = _curves([t for t in trials if t["status"] != "diverged"], end)
            ran = steps <= stop
            _line(panel, steps, losses, looks[cell], _spread(steps[ran], index), int(ran.sum()))
        levels = {results["chance"][trials[0]["arm"]] for trials in cells.values()}
        for level in levels:
            panel.axhline(level, **CHANCE)
        panel.set(title=task, xlabel="update", yscale="log")
        if panel.get_ylim()[1] > BEYOND * max(levels):
            panel.set_ylim(0.7 * panel.dataLim.y0, BEYOND * max(levels))
        losses_up(panel)
        panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    for panel in list(grid.flat)[len(tasks) :]:
        panel.remove()
    for panel in grid[:, 0]:
        panel.set_ylabel("held-out loss")
    lines = [Line2D([], [], **CHANCE)]
    if any(trial["status"] == "diverged" for trial in results["trials"]):
        lines += [Line2D([], [], color="k", label="a trial that diverged", **CROSS)]
    drawn = {cell: looks[cell] for cells in tasks.values() for cell in cells}
    legend(figure, [Line2D([], [], label=cell, **mark) for cell, mark in drawn.items()], lines)
    figure.set_label(
        "Held-out loss against updates: means over trials, bands their range. The line is thin where all trials of an "
        "arm had learned and stopped. Chance is the loss of the best predictor without memory; losses above "
        f"{BEYOND:g} times chance lie outside the frame."
    )
    return figure


@styled
def reach_figure(results: Mapping[str, Any]) -> Figure:
    """Horizons of dL/dh by arm, at initialisation (hollow) and after training (filled); medians over trials.

    An arrow marks a horizon as long as the sequence, at the right stands how many trials learned the task.
    """
    tasks, needed = by_task(results), results["needed_lag"]
    looks = marks(cell for cells in tasks.values() for cell in cells)
    heights = [len(cells) for cells in tasks.values()]
    figure = Figure((WIDE, 0.9 + 0.27 * sum(heights) + 0.25 * len(heights)), layout="constrained")
    grid = figure.subplots(len(tasks), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for panel, (task, cells) in zip(grid, tasks.items(), strict=True):
        for row, (cell, trials) in enumerate(cells.items()):
            for when, shift, face in (("init", -0.15, "white"), ("trained", 0.15, looks[cell]["color"])):
                reached = [t["reach"][when]["h"] for t in settled(trials, when)]
                middle = estimates.median([r["horizon"] for r in reached])
                panel.plot([middle.low, middle.high], [row + shift] * 2, color=looks[cell]["color"])
                panel.plot(middle.estimate, row + shift, **(looks[cell] | {"mfc": face, "ms": 5.5}), clip_on=False)
                if any(r["censored"] and r["horizon"] <= middle.estimate for r in reached):
                    point = (middle.estimate, row + shift)
                    arrow = {"arrowstyle": "<-", "color": looks[cell]["color"], "shrinkA": 0, "shrinkB": 3}
                    panel.annotate("", point, (18, 0), textcoords="offset points", arrowprops=arrow)
            learned = sum(trial["status"] == "learned" for trial in trials)
            panel.text(1.04, row, f"{learned}/{len(trials)}", transform=panel.get_yaxis_transform(), va="center")
        if task in needed:
            panel.axvline(needed[task], **NEEDED, zorder=0)
        panel.set_title(task, loc="left")
        lags_across(panel)
        panel.set(ylim=(len(cells) - 0.5, -0.5), yticks=range(len(cells)), yticklabels=list(cells))
        panel.grid(axis="x", lw=0.4, color="0.85")
        panel.set_axisbelow(True)
    grid[-1].set_xlim(-0.1, 1.7 * max(panel.dataLim.x1 for panel in grid))  # leaves room for the arrows
    grid[0].text(1.04, -0.5, "learned", transform=grid[0].get_yaxis_transform(), va="bottom")
    grid[-1].set_xlabel(f"horizon: largest lag with dL/dh above {results['fraction']:g} of lag 0 (steps)")
    dot = {"color": "k", "ls": "", "marker": "o", "ms": 5.5}
    dots = [Line2D([], [], mfc=face, label=WHEN[when], **dot) for when, face in (("init", "w"), ("trained", "k"))]
    legend(figure, dots, [Line2D([], [], **NEEDED)] * bool(needed))
    figure.set_label(
        f"Horizon of dL/dh: the largest lag still above {results['fraction']:g} of lag 0; medians over trials with "
        "their intervals. Hollow: at initialisation, filled: after training. An arrow marks a horizon that is the "
        "whole sequence and may be longer. At the right: trials that learned the task."
    )
    return figure


def settled(trials: Sequence[Any], when: str) -> list[Any]:
    """The trials with a measurement at "init" or "trained"; what diverged, or made no update, is not trained."""
    if when == "init":
        return [t for t in trials if when in t["reach"]]
    return [t for t in trials if when in t["reach"] and t["steps"] and t["status"] != "diverged"]


def _profiles(trials, when: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Lags [K] and log10 norms relative to lag 0 [trials, K]; a profile that is not finite at lag 0 has none.

    Of many lags about `POINTS` are kept, evenly spread over the logarithmic axis: a page and a PDF stay small.
    """
    kept = [t["profiles"][when] for t in settled(trials, when) if name in t["profiles"].get(when, {})]
    profiles = np.array([p[name] for p in kept if np.isfinite(p[name][0]) and not np.isnan(p[name]).any()], np.float64)
    if not len(profiles):
        return np.zeros(0), profiles
    lags = np.array(kept[0]["lag"])
    shown = np.arange(len(lags))
    if len(lags) > POINTS:
        shown = np.unique(np.geomspace(1, len(lags), POINTS).round().astype(int)) - 1
    return lags[shown], (profiles - profiles[:, :1])[:, shown]


def _curves(trials, end: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Steps [K], losses [trials, K] where every trial has one, and the step at which the last trial stopped."""
    curves = [(t["curve"]["step"], t["curve"]["eval/loss"], t["status"]) for t in trials]
    if not curves:
        return np.zeros(0), np.zeros((0, 0)), 0
    steps = np.unique(np.concatenate([at for at, _, _ in curves] + [[end]]))
    beyond = {"learned": None}  # np.interp's word for the last value
    losses = np.array([np.interp(steps, at, loss, right=beyond.get(s, np.nan)) for at, loss, s in curves])
    known = np.isfinite(losses).all(axis=0)
    return steps[known], losses[:, known], max(at[-1] for at, _, _ in curves)


def _line(panel: Axes, x: np.ndarray, ys: np.ndarray, style: dict[str, Any], marked: list[int], ran: int) -> None:
    """The mean over trials of `ys` [trials, K], thin after `ran` points, and their range; -inf lies below the frame."""
    if not ys.size:
        return
    middle, low, high = (np.maximum(a, -1e4) for a in (ys.mean(axis=0), ys.min(axis=0), ys.max(axis=0)))
    panel.fill_between(x, low, high, color=style["color"], alpha=0.15, lw=0)
    panel.plot(x[:ran], middle[:ran], markevery=marked, **style)
    if ran < len(x):
        panel.plot(x[ran - 1 :], middle[ran - 1 :], **(style | {"lw": 0.6, "marker": ""}))


def _spread(x: np.ndarray, index: float | int) -> list[int]:
    """Indices of about five points evenly spread over the axis, other ones for every arm."""
    if not len(x):
        return []
    wanted = x[0] + (x[-1] - x[0]) * (np.arange(5) + (0.15 + 0.29 * index) % 1) / 5
    return np.unique(np.searchsorted(x, wanted).clip(max=len(x) - 1)).tolist()
