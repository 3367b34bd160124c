"""The figures of a sweep: success against length, time to solve, importances, an outcome over two settings, profiles.

Learning curves are those of `reports.figures`. A figure's label is its caption.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnlab.reports.figures import looks_of
from rnnlab.reports.style import COLOURS, GREY, NARROW, WIDTHS, Drawing, Width, legend, marks, panels, styled
from rnnlab.reports.sweep_axes import axis, grouped, label, mixed, ordered
from rnnlab.reports.tables import format_number, listed
from rnnlab.runs.results import Results, Trial
from rnnlab.stats import bootstrap, estimates
from rnnlab.stats.bootstrap import Scores
from rnnlab.stats.fanova import Importance
from rnnlab.stats.survival import survival_curve

CENSORED = {"ls": "", "marker": "|", "ms": 7, "mew": 1.2}
DODGE = 0.02  # of the axis: bars of arms at one value stand beside each other


@styled
def success(results: Results, *, across: str = "task.length", by: str = "cell", width: Width | None = None) -> Figure:
    """The share of trials that learned against one setting, a line for each value of another; bars are Wilson's.

    Trials of arms that agree in both settings are pooled; a point of arms that differ in others has no bar, for its
    trials are not of one rate. Numbers that span more than a decade lie on a log axis.

    Raises:
      SettingError: no arm has such a setting.
    """
    found = grouped(results, by, across)
    looks = marks(_named(by, value) for value, _ in found)
    figure, ((panel,),) = panels(1, 1, 2.1, width)
    place = _places(panel, [x for _, x in found])
    joined = {} if all(isinstance(x, int | float) for _, x in found) else {"ls": ""}  # no line runs between categories
    for number, name in enumerate(looks):
        points = {x: trials for (value, x), trials in found.items() if _named(by, value) == name}
        rates = {x: _learned(trials) for x, trials in points.items()}
        for x, trials in points.items():
            if mixed(results, trials, (across, by)):
                rates[x] = rates[x]._replace(low=math.nan, high=math.nan)
        at = place(list(rates), (number - (len(looks) - 1) / 2) * DODGE)
        share, low, high, _ = np.array(list(rates.values())).T
        style = looks[name] | joined
        panel.errorbar(at, share, [share - low, high - share], capsize=2, elinewidth=0.8, **style)
    panel.set(xlabel=label(across), ylabel="share of trials that learned", ylim=(-0.04, 1.04))
    arms = [Line2D([], [], label=name, **(mark | joined)) for name, mark in looks.items()]
    legend(figure, arms, [])
    figure.set_label(
        f"Share of trials that met the task's stop rule, by {label(across)} and {label(by)}; {_counts(found)}. "
        "Bars: Wilson's 95 % intervals, of points of one setting. Points at one value are drawn side by side."
        + _pooled(results, found, (across, by))
    )
    return figure


@styled
def survival(results: Results, *, width: Width = "page") -> Figure | None:
    """The share of trials not yet solved by training sequences: Kaplan & Meier's curves with their bands.

    A tick marks where unsolved trials stopped. None where nothing was trained.
    """
    trained = {task: {label: arm for label, arm in arms.items() if arm.trained} for task, arms in results.tasks.items()}
    tasks = {task: arms for task, arms in trained.items() if arms}
    if not tasks:
        return None
    looks = looks_of(results)
    rows = math.ceil(len(tasks) / (3 if width == "page" else 1))
    figure, grid = panels(rows, math.ceil(len(tasks) / rows), 1.9, width, sharey=True)
    for panel, (task, cells) in zip(grid.flat, tasks.items(), strict=False):
        for number, (cell, arm) in enumerate(cells.items()):
            curve = survival_curve(arm.times())
            at, share, low, high = (
                np.concatenate([[start], values]) for start, values in zip((0, 1, 1, 1), curve[:4], strict=True)
            )
            panel.fill_between(at, low, high, step="post", color=looks[cell]["color"], alpha=0.12, lw=0)
            marked = [1 + number % max(len(at) - 1, 1)] if len(at) > 1 else []
            panel.plot(at, share, drawstyle="steps-post", **looks[cell], markevery=marked)
            stopped = curve.censored > 0
            style = CENSORED | {"color": looks[cell]["color"]}
            panel.plot(curve.times[stopped], curve.survival[stopped], **style)
        panel.set(title=task, xlabel="training sequences", ylim=(0, 1.02))
        panel.set_xlim(left=0)
        panel.ticklabel_format(axis="x", scilimits=(0, 4), useMathText=True)
    for panel in list(grid.flat)[len(tasks) :]:
        panel.remove()
    for panel in grid[:, 0]:
        panel.set_ylabel("share not yet solved")
    lines = [Line2D([], [], label="unsolved trials stopped here", color="k", **CENSORED)]
    legend(figure, [Line2D([], [], label=cell, **mark) for cell, mark in looks.items()], lines)
    figure.set_label(
        "Share of trials that have not met the stop rule after so many training sequences (Kaplan & Meier 1958); "
        "bands: pointwise 95 % intervals. A tick marks where trials stopped unsolved; one that diverged counts as "
        "unsolved to the end."
    )
    return figure


@styled
def importance(found: Importance, outcome: str, *, top: int = 10, width: Width = "column") -> Figure:
    """Shares of the variance of `outcome` by settings, the `top` greatest: filled alone, hatched two together."""
    effects = found.effects[:top]
    figure = Drawing((WIDTHS[width], 1.1 + 0.22 * len(effects)), layout="constrained")
    panel = figure.subplots()
    for row, effect in enumerate(effects):
        style = {"fc": COLOURS[0]} if len(effect.axes) == 1 else {"fc": "white", "hatch": "////"}
        error = {"lw": 0.8, "capsize": 2, "ecolor": "k"}
        panel.barh(row, effect.share, 0.7, ec="k", lw=0.6, xerr=effect.spread, error_kw=error, **style)
    names = [" × ".join(label(path).partition(" (")[0] for path in effect.axes) for effect in effects]
    panel.set(yticks=range(len(effects)), yticklabels=names, ylim=(len(effects) - 0.5, -0.5), xlim=(0, None))
    panel.set_xlabel(f"share of the variance of\n{outcome}")
    patches = [Patch(fc=COLOURS[0], ec="k", lw=0.6, label="one setting alone")]
    patches += [Patch(fc="white", ec="k", lw=0.6, hatch="////", label="two together, beyond each")]
    legend(figure, patches, [])
    rest = max(1 - sum(effect.share for effect in found.effects), 0)
    caption = (
        f"Shares of the variance of {outcome} over the sweep (functional ANOVA, Hutter et al. 2014): means over the "
        "trees of a forest; bars, the standard deviation of single trees, are no interval; "
        f"{rest:.0%} is left to interactions of three and more."
    )
    if math.isfinite(found.explained):
        caption += f" The forest explains {found.explained:.0%} of the variance of trials that it has not seen."
    figure.set_label(caption)
    return figure


@styled
def heat_map(
    results: Results,
    *,
    across: str,
    up: str,
    outcome: Callable[[Sequence[Trial]], float],
    name: str,
    between: tuple[float, float] | None = None,
    width: Width | None = None,
) -> Figure:
    """An outcome over two settings, a box with its number for each pair of values.

    Args:
      results: of the sweep; trials of arms that agree in both settings are pooled.
      across: path of the setting along the horizontal axis.
      up: path of the setting along the vertical one.
      outcome: a number from the trials of one box; nan leaves it grey.
      name: the outcome's, with its unit.
      between: the ends of the colours; left out, the least and the greatest.
      width: of the figure; left out, by the number of boxes.

    Raises:
      SettingError: no arm has such a setting.
    """
    found = {values: outcome(trials) for values, trials in grouped(results, up, across).items()}
    rows, columns = (ordered(axis(results, path).values()) for path in (up, across))
    values = np.array([[found.get((row, column), math.nan) for column in columns] for row in rows], np.float64)
    inches = WIDTHS[width] if width else max(1.7 + 0.55 * len(columns), NARROW)
    figure = Drawing((inches, 1.0 + 0.4 * len(rows)), layout="constrained")
    panel = figure.subplots()
    low, high = between or (None, None)
    mesh = panel.pcolormesh(np.ma.masked_invalid(values), cmap="cividis", ec="white", lw=1, vmin=low, vmax=high)
    panel.set_facecolor("0.85")
    for (row, column), value in np.ndenumerate(values):
        dark = np.isfinite(value) and mesh.norm(value) < 0.5
        text = format_number(value, 2).replace("-", "−") if np.isfinite(value) else "n/a"
        panel.text(column + 0.5, row + 0.5, text, ha="center", va="center", size=8, color="w" if dark else "k")
    panel.set(xlabel=label(across), ylabel=label(up))
    panel.set_title(name, loc="left")
    panel.set(xticks=np.arange(len(columns)) + 0.5, xticklabels=map(_text, columns))
    panel.set(yticks=np.arange(len(rows)) + 0.5, yticklabels=map(_text, rows))
    if isinstance(rows[0], str):
        panel.invert_yaxis()  # words are read from the top
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    figure.colorbar(mesh, ax=panel)
    figure.set_label(f"{name[:1].upper()}{name[1:]} by {label(across)} and {label(up)}; grey: not known."
                     + _pooled(results, grouped(results, up, across), (across, up)))  # fmt: skip
    return figure


@styled
def performance_profile(
    scores: Mapping[str, Scores],
    name: str,
    thresholds: np.ndarray | None = None,
    *,
    scale: str = "linear",
    width: Width | None = None,
) -> Figure:
    """The share of trials whose score is above a threshold, a line for each name (Agarwal et al. 2021, section 4.2).

    Args:
      scores: by arm, the trials of each task; more is better.
      name: the score's, with its unit.
      thresholds: where the share is taken; left out, over all finite scores.
      scale: of the horizontal axis, as matplotlib names it.
      width: of the figure.
    """
    if thresholds is None:
        every = np.concatenate([np.asarray(group, np.float64) for arm in scores.values() for group in arm])
        every = every[np.isfinite(every)]
        thresholds = np.linspace(every.min(), every.max(), 201)
    looks = marks(scores)
    figure, ((panel,),) = panels(1, 1, 2.1, width)
    for number, (arm, groups) in enumerate(scores.items()):
        found = bootstrap.performance_profile(groups, thresholds)
        style = looks[arm] | {"markevery": (7 * number % 40, 40), "drawstyle": "steps-post"}
        panel.fill_between(found.thresholds, found.low, found.high, step="post", color=style["color"], alpha=0.15, lw=0)
        panel.plot(found.thresholds, found.share, **style)
    panel.axhline(0.5, color=GREY, lw=0.6, ls=":", zorder=0)
    panel.set(xlabel=f"threshold: {name}", ylabel="share of trials above", ylim=(0, 1.02), xscale=scale)
    panel.set_xlim(thresholds[0], thresholds[-1])
    legend(figure, [Line2D([], [], label=arm, **mark) for arm, mark in looks.items()], [])
    figure.set_label(
        f"Performance profiles (Agarwal et al. 2021): the share of trials whose {name} is above each threshold; bands: "
        "Wilson's pointwise 95 % intervals. A curve crosses the dotted line at the arm's median."
    )
    return figure


def _places(panel: Axes, values: Sequence[Any]) -> Callable[[Sequence[Any], float], np.ndarray]:
    """Sets the axis up for these values; what it returns places values, moved by a part of the axis's length."""
    names = ordered(values)
    if any(isinstance(v, str) for v in names):
        panel.set_xticks(range(len(names)), names)
        panel.set_xlim(-0.5, len(names) - 0.5)
        return lambda xs, part: np.array([names.index(x) for x in xs]) + part * len(names)
    panel.set_xticks(names, [_text(v) for v in names])
    if names[0] > 0 and names[-1] / names[0] > 10:
        panel.set_xscale("log")
        panel.set_xticks(names, [_text(v) for v in names])
        panel.minorticks_off()
        return lambda xs, part: np.array(xs, np.float64) * (names[-1] / names[0]) ** part
    return lambda xs, part: np.array(xs, np.float64) + part * (names[-1] - names[0])


def _learned(trials: Sequence[Trial]) -> estimates.Interval:
    return estimates.proportion(sum(trial.learned for trial in trials), len(trials))


def _named(path: str, value: Any) -> str:
    """A value as a legend's entry: a number does not say what it is of."""
    return value if isinstance(value, str) else f"{label(path).partition(' (')[0]} {value:g}"


def _counts(found: Mapping[Any, Sequence[Any]]) -> str:
    counts = sorted({len(trials) for trials in found.values()})
    return f"{counts[0]} trials a point" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} trials a point"


def _pooled(results: Results, found: Mapping[Any, Sequence[Any]], shown: Sequence[str]) -> str:
    """A caption's sentence on the settings over which trials of one place are pooled; empty where there is none."""
    paths = dict.fromkeys(path for trials in found.values() for path in mixed(results, trials, shown))
    if not paths:
        return ""
    names = listed([label(path).partition(" (")[0] for path in paths])
    return f" Trials of several settings are pooled where arms differ in {names} too: such a share is of no one arm."


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"
