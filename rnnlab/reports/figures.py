"""The figures of a report: adjoints by lag, learning curves, horizons.

A task is a panel; an arm keeps its colour, marker and dashes in all of them. A figure's label is its caption.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from rnnlab.reports.style import (
    GREY,
    WIDTHS,
    Drawing,
    Scale,
    Width,
    lags_across,
    legend,
    losses_up,
    marks,
    panels,
    styled,
)
from rnnlab.runs.results import Arm, Results, When

POINTS = 1000
BELOW = 3  # decades below the horizon's threshold: what is smaller leaves the frame, or it would squeeze what matters
BEYOND = 1e3  # times chance: higher losses leave the frame, or they would squeeze those that matter
WHEN = {"init": "at initialisation", "trained": "after training"}
THRESHOLD = {"color": GREY, "lw": 0.8}
NEEDED = {"color": GREY, "lw": 0.8, "ls": "-.", "label": "lag that the task needs"}
PATH = {"ls": (0, (4, 1.5)), "mfc": "white"}
CHANCE = {"color": "k", "lw": 0.9, "ls": (0, (1, 1)), "label": "chance (no memory)"}
BROKEN = {"ls": "", "marker": "x", "ms": 6, "mew": 1.5}
CROSS = {"lw": 0.7, "marker": "x", "ms": 6, "mew": 1.5}


def looks_of(results: Results) -> dict[str, dict[str, Any]]:
    """Colour, dashes and marker by label: an arm of a run looks the same in all panels, whichever are drawn with it."""
    looks, shown = marks(results.labels), {arm.label for arm in results.arms.values()}
    return {label: look for label, look in looks.items() if label in shown}


@styled
def flow(results: Results, *, component: str = "h", x: Scale = "linear", width: Width = "page") -> Figure | None:
    """log10 of ||dL/dh_t|| by lag, relative to lag 0; dashed: of dL/dc_t (or dL/dh_t) along the cell path alone.

    Diverged trials are drawn at initialisation only. None where the file holds no profiles.

    Args:
      results: a panel a task, a row at initialisation and one after training.
      component: another component of the carry in place of h.
      x: the scale of the lags; exponential decay is a straight line on a linear one.
      width: of the figure.
    """
    tasks, looks = results.tasks, looks_of(results)
    rows: list[When] = [when for when in ("init", "trained") if any(t.profile(when, component) for t in results.trials)]
    if not rows:
        return None
    threshold = math.log10(results.fraction)
    curves = {
        task: {
            (arm.label, when, path): _profiles(arm, when, (arm.cell_path or "") if path else component)
            for arm in arms.values()
            for when in rows
            for path in (False, True)
        }
        for task, arms in tasks.items()
    }
    tops = [_highest(of_task.values()) for of_task in curves.values()]
    if alike := max(tops) < BELOW:  # where gradients explode each task has a scale of its own
        tops = [max(tops)] * len(tops)
    figure, grid = panels(len(rows), len(tasks), 2.0, width, sharex="col", sharey=alike)
    breaks = False
    shown: set[str] = set()  # the components whose cell path is drawn
    for axes, top, (task, arms) in zip(grid.T, tops, tasks.items(), strict=True):
        floor = min(threshold - BELOW, -top)
        needed, last = next(iter(arms.values())).needed_lag, 1.0
        for panel, when in zip(axes, rows, strict=True):
            for index, arm in enumerate(arms.values()):
                for path, dashes in ((False, {"ls": "-"}), (True, PATH)):
                    lags, profiles = curves[task][arm.label, when, path]
                    if len(profiles):
                        shown |= {(arm.cell_path or "").removesuffix(" cell path")} if path else set()
                        seen = lags[(profiles >= floor).any(axis=0)]
                        last = max(last, float(seen[-1]) if len(seen) else 0.0)
                        marked = _spread(_across(lags, x, last), index + path / 2)
                        _line(panel, lags, profiles, looks[arm.label] | dashes, marked, len(lags))
                    told = len(profiles) or (not path and arm.not_finite(when, component))
                    if told and (ends := _last_finite(lags, profiles)):
                        panel.plot(*ends, color=looks[arm.label]["color"], **BROKEN)
                        breaks = True
            panel.axhline(threshold, **THRESHOLD)
            if needed is not None:
                panel.axvline(needed, **NEEDED)
            lags_across(panel, x)
            panel.set_ylim(floor, 1.05 * top + 0.4)
            panel.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes[0].set_xlim(0, 1.03 * min(max(last, needed or 0), max(arm.length for arm in arms.values())))
        axes[0].set_title(task)
        axes[-1].set_xlabel("lag k (steps back from the loss)" if len(tasks) < 3 else "lag k (steps)")
    for panel, when in zip(grid[:, 0], rows, strict=True):
        panel.set_ylabel(WHEN[when])
    solid = [Line2D([], [], label=label, **(mark | {"ls": "-"})) for label, mark in looks.items()]
    lines = [Line2D([], [], color="k", label=f"$dL/d{component}_t$")]
    of = " or ".join(f"$dL/d{name}_t$" for name in sorted(shown))
    lines += [Line2D([], [], color="k", marker="o", label=f"{of}, cell path alone", **PATH)] * bool(shown)
    lines += [Line2D([], [], color="k", label="not finite beyond", **BROKEN)] * breaks
    lines += [Line2D([], [], label="threshold of the horizon", **THRESHOLD)]
    lines += [Line2D([], [], **NEEDED)] * any(arm.needed_lag is not None for arm in results.arms.values())
    taken = legend(figure, solid, lines)
    figure.supylabel("$\\log_{10}$ of the adjoint's norm,\nrelative to lag 0", y=(1 + taken) / 2, ma="center")
    paths = " or ".join(f"dL/d{name}_t" for name in sorted(shown))
    dashed = f", dashed: of {paths} along the cell path alone" * bool(shown)
    figure.set_label(
        f"Gradient by lag: norm of dL/d{component}_t{dashed}. Each is averaged over examples, relative to lag 0; lines "
        "are means of the logarithm over trials, bands the range. A trial's horizon is where its own curve last "
        "crosses the grey line. What lies further below it is outside the frame."
    )
    return figure


def _highest(curves: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """The greatest mean over trials of any curve, in decades over lag 0."""
    means = np.concatenate([np.zeros(1)] + [profiles.mean(axis=0) for _, profiles in curves if len(profiles)])
    return float(means[np.isfinite(means)].max(initial=0.0))


@styled
def learning(results: Results, *, width: Width = "page") -> Figure | None:
    """Held-out loss by update: the mean over trials, their range as a band, and the chance line.

    None where no trial was evaluated. Losses above `BEYOND` times chance leave the frame. A trial that stopped because
    it had learned keeps its last loss to the end of the panel; where all trials of an arm have stopped, the line is
    thin. A diverged trial is a line of its own that ends in a cross.
    """
    evaluated = {
        task: {label: arm for label, arm in arms.items() if any(len(t.curve["step"]) for t in arm.trials)}
        for task, arms in results.tasks.items()
    }
    tasks = {task: arms for task, arms in evaluated.items() if arms}
    if not tasks:
        return None
    looks = looks_of(results)
    rows = math.ceil(len(tasks) / (3 if width == "page" else 1))
    figure, grid = panels(rows, math.ceil(len(tasks) / rows), 1.8, width)
    for panel, (task, arms) in zip(grid.flat, tasks.items(), strict=False):
        trials = {label: [t for t in arm.trials if len(t.curve["step"])] for label, arm in arms.items()}
        end = max(trial.curve["step"][-1] for of in trials.values() for trial in of)
        for index, (label, of) in enumerate(trials.items()):
            for trial in (t for t in of if t.diverged):
                steps, loss = trial.curve["step"], trial.curve["eval/loss"]
                steps, loss = steps[np.isfinite(loss)], loss[np.isfinite(loss)]
                panel.plot(steps, loss, **(looks[label] | CROSS), markevery=[-1] if len(loss) else [])
            steps, losses = arms[label].curves("eval/loss", end)
            ran = steps <= max((trial.curve["step"][-1] for trial in of if not trial.diverged), default=0)
            _line(panel, steps, losses, looks[label], _spread(steps[ran], index), int(ran.sum()))
        levels = {arm.chance for arm in arms.values()}
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
    if any(trial.diverged for trial in results.trials):
        lines += [Line2D([], [], color="k", label="a trial that diverged", **CROSS)]
    drawn = dict.fromkeys(label for arms in tasks.values() for label in arms)
    legend(figure, [Line2D([], [], label=label, **looks[label]) for label in drawn], lines)
    figure.set_label(
        "Held-out loss against updates: means over trials, bands their range. The line is thin where all trials of an "
        "arm had learned and stopped. Chance is the loss of the best predictor without memory; losses above "
        f"{BEYOND:g} times chance lie outside the frame."
    )
    return figure


@styled
def horizons(results: Results, *, component: str = "h", width: Width = "page") -> Figure:
    """Horizons by arm, at initialisation (hollow) and after training (filled); medians over trials.

    An arrow marks a horizon as long as the sequence, at the right stands how many trials learned the task.
    """
    tasks, looks = results.tasks, looks_of(results)
    heights = [len(arms) for arms in tasks.values()]
    figure = Drawing((WIDTHS[width], 0.9 + 0.27 * sum(heights) + 0.25 * len(heights)), layout="constrained")
    grid = figure.subplots(len(tasks), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    trained = any(t.measured("trained") for t in results.trials)
    for panel, (task, arms) in zip(grid, tasks.items(), strict=True):
        for row, (label, arm) in enumerate(arms.items()):
            for when, shift, face in (("init", -0.15, "white"), ("trained", 0.15, looks[label]["color"])):
                reached = [found for t in arm.trials if (found := t.horizon(when, component))]
                middle = arm.horizon(when, component)
                panel.plot([middle.low, middle.high], [row + shift] * 2, color=looks[label]["color"])
                panel.plot(middle.estimate, row + shift, **(looks[label] | {"mfc": face, "ms": 5.5}), clip_on=False)
                if any(r.censored and r.horizon <= middle.estimate for r in reached):
                    point = (middle.estimate, row + shift)
                    arrow = {"arrowstyle": "<-", "color": looks[label]["color"], "shrinkA": 0, "shrinkB": 3}
                    panel.annotate("", point, (18, 0), textcoords="offset points", arrowprops=arrow)
            if arm.trained:
                learned = f"{arm.learned}/{len(arm.trials)}"
                panel.text(1.04, row, learned, transform=panel.get_yaxis_transform(), va="center")
        if (needed := next(iter(arms.values())).needed_lag) is not None:
            panel.axvline(needed, **NEEDED, zorder=0)
        panel.set_title(task, loc="left")
        lags_across(panel)
        panel.set(ylim=(len(arms) - 0.5, -0.5), yticks=range(len(arms)), yticklabels=list(arms))
        panel.grid(axis="x", lw=0.4, color="0.85")
        panel.set_axisbelow(True)
    grid[-1].set_xlim(-0.1, 1.7 * max(panel.dataLim.x1 for panel in grid))  # leaves room for the arrows
    if trained:
        grid[0].text(1.04, -0.5, "learned", transform=grid[0].get_yaxis_transform(), va="bottom")
    grid[-1].set_xlabel(f"horizon: largest lag with dL/d{component} above {results.fraction:g} of lag 0 (steps)")
    dot = {"color": "k", "ls": "", "marker": "o", "ms": 5.5}
    faces = (("init", "w"), ("trained", "k")) if trained else (("init", "w"),)
    dots = [Line2D([], [], mfc=face, label=WHEN[when], **dot) for when, face in faces]
    legend(figure, dots, [Line2D([], [], **NEEDED)] * any(a.needed_lag is not None for a in results.arms.values()))
    figure.set_label(
        f"Horizon of dL/d{component}: the largest lag still above {results.fraction:g} of lag 0; medians over trials "
        "with their intervals. Hollow: at initialisation, filled: after training. An arrow marks a horizon that is the "
        "whole sequence and may be longer. At the right: trials that learned the task."
    )
    return figure


def _across(lags: np.ndarray, x: Scale, last: float) -> np.ndarray:
    """Where lags lie on the axis, as far as it shows them."""
    return np.log1p(lags) if x == "log" else lags[lags <= max(last, 1)]


def _profiles(arm: Arm, when: When, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Lags [K] and log10 norms relative to lag 0 [trials, K]: nan from the lag on at which one is not finite.

    Of many lags about `POINTS` are kept, dense near lag 0: a page and a PDF stay small.
    """
    kept = [found for t in arm.trials if (found := t.profile(when, name)) is not None]
    kept = [p for p in kept if np.isfinite(p.log10[0])]
    if not kept:
        return np.zeros(0), np.zeros((0, 0))
    lags, profiles = kept[0].lag, np.array([p.relative for p in kept])
    broken = np.maximum.accumulate(np.isnan(profiles) | (profiles == np.inf), axis=1)
    profiles[broken] = np.nan
    shown = np.arange(len(lags))
    if len(lags) > POINTS:
        shown = np.unique(np.geomspace(1, len(lags), POINTS).round().astype(int)) - 1
    return lags[shown], profiles[:, shown]


def _last_finite(lags: np.ndarray, profiles: np.ndarray) -> tuple[float, float] | None:
    """The last lag at which all profiles are finite and their mean there, None where it is the last one of all.

    Without a profile that is finite at lag 0, it is (0, 0).
    """
    if not len(profiles):
        return 0.0, 0.0
    middle = profiles.mean(axis=0)
    if not np.isnan(middle[-1]):
        return None
    last = np.flatnonzero(~np.isnan(middle))[-1]
    return float(lags[last]), float(middle[last])


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
