"""More arms than lines of one panel can tell apart: a row an arm, its trials as points."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from rnnlab.reports.figures import BEYOND, CHANCE
from rnnlab.reports.style import COLOURS, Width, legend, panels, styled
from rnnlab.runs.results import Results, When

MOST = 60  # rows, above which nobody reads them
HEIGHT = 0.17  # inches a row
STATES: dict[str, tuple[When, str, str]] = {
    "at initialisation": ("init", "o", COLOURS[0]),
    "after training": ("trained", "D", COLOURS[1]),
}


@styled
def losses_and_horizons(results: Results, *, width: Width = "page") -> Figure | None:
    """Held-out losses of the trials beside their memory horizons, a row an arm in declared order, a block a task.

    Trials that diverged, or ended above `BEYOND` times chance, are counted at the frame. None beyond `MOST` rows.
    """
    tasks = results.tasks
    if len(results.arms) > MOST:
        return None
    longest = max(map(len, tasks.values()))
    figure, grid = panels(len(tasks), 2, 0.5 + HEIGHT * longest, width, sharey="row", sharex="col")
    for (task, arms), (left, right) in zip(tasks.items(), grid, strict=True):
        chance = next(iter(arms.values())).chance
        for row, arm in enumerate(arms.values()):
            losses = arm.each(lambda trial: trial.final_loss)
            shown = [loss for loss in losses if loss <= BEYOND * chance]
            left.plot(shown, [row] * len(shown), "o", color="k", mfc="none")
            if len(shown) < len(losses):
                more = f"{len(losses) - len(shown)} \N{RIGHTWARDS ARROW}"
                left.annotate(more, (1, row), xycoords=("axes fraction", "data"), ha="right", va="center", size=7)
            for when, marker, colour in STATES.values():
                lags = [found.horizon for trial in arm.trials if (found := trial.horizon(when))]
                right.plot(lags, [row] * len(lags), marker, ls="", color=colour, mfc="none")
        line = left.axvline(chance, **CHANCE)
        left.set_yticks(np.arange(len(arms)), list(arms))
        left.set(ylim=(len(arms) - 0.5, -0.5), xscale="log", title=task)
        for panel in (left, right):
            panel.grid(axis="y", color="0.9", lw=0.5)
            panel.set_axisbelow(True)
    left.set_xlabel("held-out loss at the end")
    left.xaxis.set_major_formatter("{x:g}")
    left.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    left.xaxis.set_minor_formatter("{x:g}")
    right.set_xlabel(f"memory horizon (lags above {results.fraction:g} of lag 0)")
    points = [
        Line2D([], [], ls="", marker=marker, color=colour, mfc="none", label=f"horizon {name}")
        for name, (_, marker, colour) in STATES.items()
    ]
    legend(figure, points, [line])
    figure.set_label(
        "Held-out loss at the end of training (left), and how far back the loss at the last step reaches (right), a "
        "point a trial, a row an arm. Trials that diverged or ended above "
        f"{BEYOND:g} times chance are counted at the frame."
    )
    return figure
