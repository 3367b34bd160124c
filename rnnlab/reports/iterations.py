"""Newton iterations that networks need in parallel over time: against their exponents, and against predictions.

All read the probe `iterations` of an experiment, of one sequence a trial: {"exponent", "predicted", "log_condition"}
and by method what was needed, {"deer", "quasi-deer", "elk"}, any of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnlab.probes.dynamics.parallelizability import predicted_iterations
from rnnlab.reports.arm_columns import Column
from rnnlab.reports.claims import FEWEST, lower_ranks
from rnnlab.reports.style import DASHES, Width, legend, marks, panels, styled
from rnnlab.reports.tables import format_interval, format_number
from rnnlab.runs.results import Arm, Claim, Results, Trial
from rnnlab.stats import estimates

METHODS = {"deer": "DEER", "quasi-deer": "quasi-DEER", "elk": "ELK"}
FACTOR = 2  # within which a prediction is taken to tell
AWAY = 0.05  # nats a step: an exponent below -AWAY leaves a memory of 20 steps at most, well within all lengths
EXPONENT = "top Lyapunov exponent (nats/step)"
NEEDED = "iterations needed"


def found(trial: Trial, name: str) -> float:
    """What the probe found of a trial; nan where it did not run, or for a method that was left out."""
    return (trial.probe("iterations") or {}).get(name, math.nan)


def column(name: str, head: str, digits: int = 2) -> Column:
    """The median over trials of what the probe found."""

    def number(arm: Arm):
        known = [value for value in arm.each(lambda trial: found(trial, name)) if not math.isnan(value)]
        return estimates.median(known) if known else None

    return Column(head, number, lambda arm: format_interval(of, digits) if (of := number(arm)) else "n/a")


def forgets(trial: Trial) -> bool:
    """Whether its exponent is well below 0."""
    return found(trial, "exponent") < -AWAY


def is_chaotic(trial: Trial) -> bool:
    """Whether its exponent is well above 0."""
    return found(trial, "exponent") > AWAY


COLUMNS = (
    column("exponent", EXPONENT),
    column("predicted", "iterations predicted"),
    *(column(method, f"iterations of {name}") for method, name in METHODS.items()),
)


def enough(results: Results, source: str) -> Claim:
    """No sequence needs more iterations of DEER than it has steps."""
    parts = [found(trial, "deer") / arm.length for arm in results.arms.values() for trial in arm.trials]
    most = max(parts, default=math.nan)
    met = bool(most <= 1) if len(parts) >= FEWEST and not math.isnan(most) else None
    return Claim("T iterations are always enough", source, "at most 1 T", f"at most {format_number(most, 2)} T", met,
                 "" if met is not None else "too few trials")  # fmt: skip


def forgetting_needs_fewer(arms: Sequence[Arm], source: str) -> list[Claim]:
    """Trials whose exponent is below 0 against those whose is above, of one length, by an exact rank-sum test."""
    sides: dict[bool, list[float]] = {True: [], False: []}
    for trial in (trial for arm in arms for trial in arm.trials):
        if found(trial, "exponent") != 0:
            sides[found(trial, "exponent") < 0].append(found(trial, "deer"))
    says = f"at T = {arms[0].length:,} DEER needs fewer iterations where the exponent is below 0 than where it is above"
    return lower_ranks({says: (sides[True], sides[False])}, source)


def same_at_any_length(results: Results, source: str) -> Claim | None:
    """Networks that forget need as many iterations at the longest length as at the shortest, to growth by log T."""
    pairs: dict[tuple[str, int], dict[int, Trial]] = {}
    for arm in results.arms.values():
        for trial in arm.trials:
            pairs.setdefault((arm.label, trial.seed), {})[arm.length] = trial
    lengths = [arm.length for arm in results.arms.values()]
    short, long = min(lengths), max(lengths)
    both = [of for of in pairs.values() if short != long and {short, long} <= set(of)]
    ratios = [found(of[long], "deer") / found(of[short], "deer") for of in both if all(map(forgets, of.values()))]
    if not ratios:
        return None
    growth, bound = estimates.median(ratios), math.log(long) / math.log(short)
    met = None if growth.n < FEWEST else bool(growth.high <= bound)
    says = f"where the exponent is below -{AWAY:g}, iterations grow at most by log T from T = {short:,} to {long:,}"
    return Claim(says, source, f"a factor of at most {bound:.2f}", f"{format_interval(growth)}, n = {growth.n}", met,
                 "" if met is not None else "too few trials")  # fmt: skip


def within_a_factor(says: str, source: str, pairs: Sequence[tuple[float, float]]) -> Claim:
    """Most predictions of (predicted, needed) are right to `FACTOR`: the interval of their share is above 1/2."""
    near = [bool(abs(math.log(predicted / needed)) <= math.log(FACTOR)) for predicted, needed in pairs]
    share = estimates.proportion(sum(near), len(near))
    met = None if len(near) < FEWEST else True if share.low > 0.5 else False if share.high < 0.5 else None
    why = "" if met is not None else "too few trials" if len(near) < FEWEST else "the interval leaves it open"
    measured = f"{sum(near)} of {len(near)}"
    return Claim(says, source, f"in most trials, to a factor of {FACTOR}", measured, met, why)


def predictions(results: Results) -> list[tuple[float, float]]:
    """(predicted, needed by DEER) of every trial that was measured."""
    pairs = [(found(t, "predicted"), found(t, "deer")) for arm in results.arms.values() for t in arm.trials]
    return [(predicted, max(needed, 1)) for predicted, needed in pairs if predicted >= 1 and not math.isnan(needed)]


def by_condition(results: Results) -> list[tuple[float, float]]:
    """(c log G, needed) at the c that fits best in the logarithm, at most T and at least 1."""
    known = [
        (found(t, "log_condition"), max(found(t, "deer"), 1), arm.length)
        for arm in results.arms.values()
        for t in arm.trials
        if found(t, "log_condition") > 0
    ]
    if not known:
        return []
    logs, needed, lengths = np.array(known).T
    scales = np.geomspace(0.1, 100, 301)
    predicted = np.clip(scales[:, None] * logs, 1, lengths)
    best = np.argmin(np.mean(np.abs(np.log(predicted / needed)), axis=1))
    return list(zip(predicted[best].tolist(), needed.tolist(), strict=True))


def quasi_needs_more(results: Results, source: str) -> Claim:
    """With the diagonal alone a sequence needs at least as many iterations."""
    pairs = [(found(t, "deer"), found(t, "quasi-deer")) for arm in results.arms.values() for t in arm.trials]
    pairs = [pair for pair in pairs if not any(map(math.isnan, pair))]
    more = sum(quasi >= full for full, quasi in pairs)
    share = estimates.proportion(more, len(pairs))
    met = None if len(pairs) < FEWEST else True if share.low > 0.5 else False if share.high < 0.5 else None
    return Claim("quasi-DEER needs at least as many iterations as DEER", source, "in most trials",
                 f"{more} of {len(pairs)}", met, "" if met is not None else "too few trials")  # fmt: skip


@styled
def needed_and_predicted(results: Results, *, width: Width = "page") -> Figure:
    """Iterations of DEER over the top exponent, and over the prediction: a marker a trial, its colour T, its shape the
    cell.
    """
    figure, ((left, right),) = panels(1, 2, 2.6, width, sharey=True)
    cells = [Line2D([], [], label=cell, ls="", mfc="none", color="k", marker=look["marker"])
             for cell, look in marks(map(_cell, results.arms.values())).items()]  # fmt: skip
    shapes, lengths = {entry.get_label(): entry.get_marker() for entry in cells}, []
    longest = max(arm.length for arm in results.arms.values())
    for (task, arms), look, dashes in zip(results.tasks.items(), marks(results.tasks).values(), DASHES, strict=False):
        length = next(iter(arms.values())).length
        for arm in arms.values():
            style = {"ls": "", "mfc": "none", "color": look["color"], "marker": shapes[_cell(arm)]}
            for panel, name in ((left, "exponent"), (right, "predicted")):
                points = [(found(trial, name), max(found(trial, "deer"), 1)) for trial in arm.trials]
                panel.plot(*zip(*points, strict=True), **style)
        exponents = [found(trial, "exponent") for arm in arms.values() for trial in arm.trials]
        span = np.linspace(min(exponents), max(exponents), 200)
        told = np.asarray(predicted_iterations(span[None], length))
        [line] = left.plot(span, told, color=look["color"], lw=0.9, ls=dashes, zorder=0, label=f"predicted, {task}")
        lengths.append(Line2D([], [], color=look["color"], lw=0.9, ls=line.get_linestyle(), label=f"T = {length:,}"))
    left.axvline(0, color="0.6", lw=0.6, ls=":")
    ends = np.array([1.0, longest])
    for factor, style in ((1, "-"), (FACTOR, ":"), (1 / FACTOR, ":")):
        right.plot(ends, ends * factor, color="k", lw=0.6, ls=style, zorder=0)
    right.set(xscale="log", xlabel="iterations predicted")
    left.set(xlabel=EXPONENT, ylabel=f"{NEEDED} (DEER)", yscale="log", ylim=(0.8, 1.3 * longest))
    for axis in (right.xaxis, left.yaxis):
        axis.set_major_formatter("{x:g}")
    legend(figure, cells, lengths)
    figure.set_label(
        "Newton iterations that DEER needs over a whole sequence, a marker a trial. Left: over the top Lyapunov "
        "exponent; lines: predicted from it alone. Right: over the prediction from exponents by block and the first "
        f"iterate; lines: as predicted, and to a factor of {FACTOR}."
    )
    return figure


def _cell(arm: Arm) -> str:
    return str(arm.value("cell"))


@styled
def by_method(results: Results, *, width: Width = "page") -> Figure:
    """Iterations of every method over the top exponent, a panel a length."""
    figure, grid = panels(1, len(results.tasks), 2.3, width, sharey=True)
    present = [m for m in METHODS if any(not math.isnan(found(trial, m)) for trial in results.trials)]
    looks = marks(METHODS)
    for panel, arms in zip(grid.flat, results.tasks.values(), strict=True):
        for method in present:
            trials = [trial for arm in arms.values() for trial in arm.trials]
            points = [(found(t, "exponent"), max(found(t, method), 1)) for t in trials]
            panel.plot(*np.array(points).T, **(looks[method] | {"ls": "", "mfc": "none"}))
        _whole_length(panel, next(iter(arms.values())).length)
        panel.set(xlabel=EXPONENT, yscale="log")
        panel.yaxis.set_major_formatter("{x:g}")
    grid[0, 0].set_ylabel(NEEDED)
    handles = [Line2D([], [], label=METHODS[m], **(looks[m] | {"ls": "", "mfc": "none"})) for m in present]
    legend(figure, handles, [Line2D([], [], color="0.6", lw=0.8, ls="--", label="T, one a step")])
    figure.set_label(
        "Iterations by method over the top Lyapunov exponent, a marker a trial, a panel a length T. At the dashed line "
        "there is one iteration a step, as many as a sequential evaluation has; nothing was iterated further."
    )
    return figure


def _whole_length(panel: Axes, length: int) -> None:
    panel.axhline(length, color="0.6", lw=0.8, ls="--", zorder=0)
    panel.set_title(f"T = {length:,}")
