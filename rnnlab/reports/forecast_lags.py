"""The figure of how far back a network looks when it forecasts."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from rnnlab.reports.forecast_figures import looks_of
from rnnlab.reports.forecasts import forecasts_of, last_folds, series_name
from rnnlab.reports.style import GREY, Width, legend, panels, styled
from rnnlab.runs.results import Arm, Results


@styled
def by_lag(results: Results, *, width: Width = "page") -> Figure | None:
    """log10 of ||dL/dx_t|| by lag after training, over its largest, above the autocorrelation of what is read."""
    results = last_folds(results)
    tasks = {task: list(arms.values()) for task, arms in results.tasks.items() if any(map(_gradients, arms.values()))}
    if not tasks:
        return None
    looks = looks_of(results)
    correlated = {each.series: each.found for each in forecasts_of(results)}
    tasks = {series_name(task, results.tasks[task]): arms for task, arms in tasks.items()}
    rows = 2 if any(task in correlated for task in tasks) else 1
    figure, grid = panels(rows, len(tasks), 1.6, width, sharex="col")
    for column, (task, arms) in zip(grid.T, tasks.items(), strict=True):
        for arm in arms:
            if curves := _gradients(arm):
                lags, log10 = curves[0][0], np.array([curve for _, curve in curves])
                middle = log10.mean(axis=0)
                column[0].fill_between(lags, log10.min(axis=0), log10.max(axis=0), color=looks[arm.label]["color"],
                                       alpha=0.15, lw=0)  # fmt: skip
                marked = np.unique(np.linspace(0, len(lags) - 1, 5).astype(int)).tolist()
                column[0].plot(lags, middle, markevery=marked, **looks[arm.label])
        column[0].set_title(task)
        column[0].set_ylim(bottom=max(column[0].get_ylim()[0], -6))
        if rows == 2 and task in correlated:
            found = correlated[task]
            values = np.array(found["autocorrelation"], np.float64)
            bound = 1.96 / math.sqrt(found["parts"][0])
            column[1].vlines(np.arange(len(values)), 0, values, color=GREY, lw=max(0.4, 1.5 - len(values) / 200))
            column[1].axhspan(-bound, bound, color=GREY, alpha=0.2, lw=0)
            column[1].set_ylim(min(-0.3, values.min() * 1.05), 1.05)
            column[1].set_title(f"of {found['scaling']['transform']}", fontsize=8)
        column[-1].set_xlabel("lag (steps back)")
        column[-1].xaxis.set_major_locator(MaxNLocator(4, integer=True))
    grid[0, 0].set_ylabel("$\\log_{10}$ of $dL/dx_t$,\nover its largest")
    if rows == 2:
        grid[1, 0].set_ylabel("autocorrelation")
    legend(figure, [Line2D([], [], label=label, **look) for label, look in looks.items()], [])
    figure.set_label(
        "How far back a network looks: norm of the held-out loss's gradient with respect to each input, after "
        "training, averaged over examples as a logarithm, over its largest; means over trials, bands the range. Below: "
        "the autocorrelation of what is read, in the training part; inside the grey band it does not differ from that "
        "of white noise at 95 %."
    )
    return figure


def _gradients(arm: Arm) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(_each_gradient(arm))


def _each_gradient(arm: Arm) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for trial in arm.trials:
        if found := trial.probe("gradient", "trained"):
            log10 = np.asarray(found["dx"]["log10"], np.float64)
            if np.isfinite(log10).any():
                yield np.asarray(found["dx"]["lag"]), log10 - log10[np.isfinite(log10)].max()
