"""The figures of forecasts: over the test part, by step, calibration, and how far back a network looks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from rnnlab.forecasting.scaling import MEDIAN, QUANTILES
from rnnlab.forecasting.scores import BANDS, below, mean_score
from rnnlab.reports.forecast_verdicts import network_of
from rnnlab.reports.forecasts import Forecasts, forecasts_of
from rnnlab.reports.style import COLOURS, GREY, Width, legend, losses_up, marks, panels, styled
from rnnlab.runs.results import Results

WINDOWS = 8  # forecasts over the test part that are drawn, none over another
ACTUAL = {"color": "k", "lw": 0.8}
BY_STEP = {"MAE": "absolute error,\nscaled", "CRPS": "CRPS, scaled", "80 %": "in the 80 %\nband, %"}
SHADES = {"80 %": 0.35, "95 %": 0.15}
MORE = ["#999933", "0.55"]  # colours beside those of `style`
ZERO = {"color": GREY, "lw": 0.7}


@styled
def forecasts(results: Results, *, width: Width = "page") -> Figure | None:
    """The last forecasts of the test part that do not overlap: median and bands of the LSTM, and the best other median.

    None where no network forecast anything.
    """
    found = [each for each in forecasts_of(results) if network_of(each)]
    if not found:
        return None
    figure, grid = panels(len(found), 1, 1.5, width)
    looks = looks_of(results, found)
    for panel, each in zip(grid[:, 0], found, strict=True):
        network = network_of(each)
        chosen = _apart(each)
        start = each.found["origins"][chosen[0]] - each.actual.shape[1]
        values = np.array(each.found["tail"]["values"], np.float64)
        rows = each.found["tail"]["first"] + np.arange(len(values))
        across = _across(each.found)
        kept = (rows >= start) & (rows <= each.found["origins"][chosen[-1]] + each.actual.shape[1])
        panel.plot(across(rows[kept]), values[kept], **ACTUAL)
        for at in chosen:
            x = across(each.found["origins"][at] + 1 + np.arange(each.actual.shape[1]))
            bands(panel, x, each.networks[network][0][at], looks[network]["color"])
            look = looks[each.best_other()] | {"marker": "", "ls": (0, (2, 1))}
            panel.plot(x, each.others[each.best_other()][0][at][:, MEDIAN], **look)
        panel.set_title(f"{each.series}: {network}, and {each.best_other()}")
        panel.set_ylabel(each.found["unit"])
        panel.yaxis.set_major_locator(MaxNLocator(4))
        dates(panel, each.found["time"] is not None)
    network = network_of(found[0])
    shown = [Line2D([], [], label="measured", **ACTUAL), *band_entries(looks[network]["color"], network)]
    others = dict.fromkeys(each.best_other() for each in found)
    shown += [Line2D([], [], label=name, **(looks[name] | {"marker": "", "ls": (0, (2, 1))})) for name in others]
    legend(figure, shown, [])
    figure.set_label(
        f"Forecasts of the test part from the last values before each (task.length of them): median of the {network} "
        "(its first trial) and the bands that should hold 80 and 95 % of the values, dashed the best model without a "
        "network."
    )
    return figure


@styled
def by_step(results: Results, *, width: Width = "page") -> Figure | None:
    """Absolute error, CRPS and the share within the 80 % band by step after the origin; None without forecasts."""
    found = forecasts_of(results)
    if not found:
        return None
    looks = looks_of(results, found)
    figure, grid = panels(len(BY_STEP), len(found), 1.5, width, sharex="col")
    for column, each in zip(grid.T, found, strict=True):
        scale = 1.0 if np.isnan(each.scale).all() else np.nanmean(each.scale)
        steps = np.arange(1, each.actual.shape[1] + 1)
        for panel, score in zip(column, BY_STEP, strict=True):
            names = [*each.networks, each.best_other()] if score in BANDS else each.models
            for index, name in enumerate(names):
                value = mean_score(score, np.mean(each.values(score, name), axis=0), axis=0)
                marked = np.unique((len(steps) * (np.arange(4) + index / 9) / 4).astype(int).clip(max=len(steps) - 1))
                shown = 100 * value if score in BANDS else value / scale
                panel.plot(steps, shown, markevery=marked.tolist(), **looks[name])
            if score in BANDS:
                panel.axhline(float(score.split()[0]), **ZERO)
                panel.set_ylim(0, 104)
            else:
                panel.set_yscale("log")
                losses_up(panel)
        column[0].set_title(each.series)
        column[-1].set_xlabel(f"steps ({plural(each.found['step'])})")
        column[-1].xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for panel, head in zip(grid[:, 0], BY_STEP.values(), strict=True):
        panel.set_ylabel(head)
    legend(figure, [Line2D([], [], label=name, **look) for name, look in looks.items()], [])
    figure.set_label(
        "By step after the origin, means over origins (and trials): absolute error of the medians and CRPS, over the "
        "mean absolute error of the seasonal naive forecast in training; and the share of values within the 80 % band, "
        "of networks and the best model without one."
    )
    return figure


@styled
def calibration(results: Results, *, width: Width = "page") -> Figure | None:
    """Share of values below each quantile against its level, for networks and the best model without one."""
    found = forecasts_of(results)
    if not found:
        return None
    looks = looks_of(results, found)
    figure, shown = _grid(len(found), width)
    drawn: dict[str, None] = {}
    for panel, each in zip(shown, found, strict=True):
        panel.plot([0, 1], [0, 1], **ZERO)
        for name in [*each.networks, each.best_other()]:
            share = np.mean([mean_score("MAE", below(each.actual, q).reshape(-1, len(QUANTILES)), axis=0)
                             for q in each.models[name]], axis=0)  # fmt: skip
            panel.plot(QUANTILES, share, **looks[name])
            drawn[name] = None
        panel.set(title=each.series, xlabel="level of the quantile", xlim=(0, 1), ylim=(0, 1), xticks=[0, 0.5, 1])
        panel.set_yticks([0, 0.5, 1])
    shown[0].set_ylabel("share of values below")
    legend(figure, [Line2D([], [], label=name, **looks[name]) for name in drawn], [])
    figure.set_label(
        "Calibration: the share of the test part's values at or below each forecast quantile, over origins, steps and "
        "trials; on the grey line forecasts are calibrated, a flatter curve has bands that are too narrow."
    )
    return figure


def looks_of(results: Results, found: Sequence[Forecasts] = ()) -> dict[str, dict[str, Any]]:
    """Colour, dashes and marker of networks, then, in colours of their own, of models without one: in all figures."""
    labels = dict.fromkeys(arm.label for arm in results.arms.values())
    others = dict.fromkeys(name for each in found for name in each.others)
    looks = marks([*results.labels, *others])
    left = itertools.cycle([*COLOURS[len(results.labels) % len(COLOURS) :], *MORE])
    looks |= {name: looks[name] | {"color": colour, "lw": 0.9} for name, colour in zip(others, left, strict=False)}
    return {name: looks[name] for name in (*labels, *others)}


def plural(step: str) -> str:
    """`weeks`, `30 minutes`."""
    return step if step.endswith("s") else f"{step}s"


def bands(panel: Axes, x: np.ndarray, quantiles: np.ndarray, colour: str) -> None:
    """A median and its bands, quantiles [h, Q]."""
    for band, (low, high) in BANDS.items():
        panel.fill_between(x, quantiles[:, low], quantiles[:, high], color=colour, alpha=SHADES[band], lw=0)
    panel.plot(x, quantiles[:, MEDIAN], color=colour, lw=1.2)


def band_entries(colour: str, name: str) -> list[Any]:
    """A legend's entries for `bands`; that of 80 % lies over that of 95 %."""
    both = 1 - (1 - SHADES["80 %"]) * (1 - SHADES["95 %"])
    told = [Line2D([], [], color=colour, lw=1.2, label=f"{name}, median")]
    told += [Patch(color=colour, alpha=both, lw=0, label="80 % band")]
    return [*told, Patch(color=colour, alpha=SHADES["95 %"], lw=0, label="95 % band")]


def dates(panel: Axes, dated: bool) -> None:
    """Dates across, where there are some."""
    if dated:
        locator = AutoDateLocator(minticks=3, maxticks=7)
        panel.xaxis.set_major_locator(locator)
        panel.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    else:
        panel.set_xlabel("row")


def _grid(count: int, width: Width) -> tuple[Figure, list[Axes]]:
    """As many panels as there are series."""
    columns = min(count, 4 if width == "page" else 2)
    figure, grid = panels(math.ceil(count / columns), columns, 1.8, width)
    for panel in grid.flat[count:]:
        panel.remove()
    return figure, list(grid.flat[:count])


def _apart(each: Forecasts) -> list[int]:
    """The last origins whose forecasts do not overlap, the earliest first."""
    origins, chosen = each.found["origins"], []
    for at in reversed(range(len(origins))):
        if not chosen or origins[at] + each.actual.shape[1] <= origins[chosen[-1]]:
            chosen.append(at)
    return chosen[:WINDOWS][::-1]


def _across(found: Mapping[str, Any]):
    """Rows of a series as times, where it has them."""
    if found["time"] is None:
        return lambda rows: rows
    time = np.array(found["time"], "datetime64[s]")
    return lambda rows: time[np.asarray(rows) - found["tail"]["first"]]
