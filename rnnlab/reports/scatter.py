"""Points of trials: one quantity over another, and losses at the end over a setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnlab.reports.figures import BEYOND, CHANCE
from rnnlab.reports.style import COLOURS, DASHES, Width, legend, losses_up, marks, panels, styled
from rnnlab.reports.sweep_axes import DECADE, axis, label
from rnnlab.reports.tables import listed
from rnnlab.runs.results import Results

Points = Sequence[tuple[float, float]]


@styled
def scatter(
    points: Mapping[str, Points],
    *,
    xlabel: str,
    ylabel: str,
    caption: str,
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
    width: Width = "column",
) -> Figure:
    """Points (x, y) by name, and lines (xs, ys) that a theory predicts; both axes have their zero marked."""
    figure, ((axes,),) = panels(1, 1, 2.6, width)
    handles = []
    for name, look in marks(points).items():
        xs, ys = np.array(points[name], np.float64).T
        handles += axes.plot(xs, ys, **(look | {"ls": "", "mfc": "none"}), label=name)
    drawn = []
    for (name, (xs, ys)), dashes in zip((lines or {}).items(), DASHES, strict=False):
        drawn += axes.plot(xs, ys, color="k", lw=0.9, ls=dashes, zorder=0, label=name)
    for rule, (low, high) in ((axes.axvline, axes.get_xlim()), (axes.axhline, axes.get_ylim())):
        if low < 0 < high:
            rule(0, color="0.6", lw=0.6, ls=":")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    legend(figure, handles, drawn)
    figure.set_label(caption)
    return figure


@styled
def final_losses(results: Results, *, setting: str, width: Width = "column") -> Figure | None:
    """Held-out loss at the end of training by the value of one setting, a circle a trial.

    Trials that diverged, or ended above `BEYOND` times chance, are counted above the frame. None where no arm was
    trained.
    """
    arms = [arm for arm in results.arms.values() if arm.trained]
    if not arms:
        return None
    chance = arms[0].chance
    figure, ((axes,),) = panels(1, 1, 2.0, width)
    for place, arm in enumerate(arms):
        losses = arm.each(lambda trial: trial.final_loss)
        shown = [loss for loss in losses if loss <= BEYOND * chance]
        axes.plot([place] * len(shown), shown, "o", color=COLOURS[0], mfc="w")
        if len(shown) < len(losses):
            above = f"{len(losses) - len(shown)} \N{UPWARDS ARROW}"
            axes.annotate(above, (place, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", size=7)
    line = axes.axhline(chance, **CHANCE)
    tasks = listed(list(dict.fromkeys(arm.task for arm in arms)))
    axes.set(title=tasks, yscale="log", ylabel="held-out loss at the end", xlabel=label(setting))
    axes.set_xticks(
        range(len(arms)), [arm.settings[setting].removesuffix(".0").replace("None", "none") for arm in arms]
    )
    axes.set_xlim(-0.5, len(arms) - 0.5)
    losses_up(axes)
    legend(figure, [Line2D([], [], ls="", marker="o", color=COLOURS[0], mfc="w", label="a trial")], [line])
    figure.set_label(
        f"Held-out loss after training, by {label(setting)}; a circle a trial. Trials that diverged or ended above "
        f"{BEYOND:g} times chance are counted above the frame."
    )
    return figure


@styled
def losses_over(results: Results, *, settings: Sequence[str], width: Width = "page") -> Figure:
    """Held-out loss at the end of training over each of several settings that are numbers: a panel a setting.

    A marker is a trial, its look its task; trials that diverged or ended above `BEYOND` times chance are left out.
    """
    rows = math.ceil(len(settings) / 3)
    figure, grid = panels(rows, math.ceil(len(settings) / rows), 1.9, width, sharey=True)
    looks = marks(results.tasks)
    for panel, setting in zip(grid.flat, settings, strict=False):
        values = axis(results, setting)
        for task, arms in results.tasks.items():
            points = [
                (values[arm.name], loss)
                for arm in arms.values()
                for loss in arm.each(lambda trial: trial.final_loss)
                if loss <= BEYOND * arm.chance
            ]
            if points:
                panel.plot(*zip(*points, strict=True), **(looks[task] | {"ls": "", "mfc": "none"}))
        spread = [value for value in values.values() if value > 0]
        wide = len(spread) == len(values) and max(spread) > DECADE * min(spread)
        panel.set(xlabel=label(setting), xscale="log" if wide else "linear", yscale="log")
        losses_up(panel)
    for panel in list(grid.flat)[len(settings) :]:
        panel.remove()
    for panel in grid[:, 0]:
        panel.set_ylabel("held-out loss at the end")
    chances = {arm.chance for arm in results.arms.values()}
    if len(chances) == 1:
        for panel in figure.axes:
            panel.axhline(*chances, **CHANCE)
    handles = [Line2D([], [], label=task, **(look | {"ls": "", "mfc": "none"})) for task, look in looks.items()]
    legend(figure, handles, [Line2D([], [], **CHANCE)] * (len(chances) == 1))
    figure.set_label(
        "Held-out loss after training over each setting that was varied; a marker a trial. Trials that diverged or "
        f"ended above {BEYOND:g} times chance are left out."
    )
    return figure
