"""Figures of networks that read text: bits by memory, marks by distance, gradient flow by lag."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnlab.reports.figures import CHANCE, PATH, WHEN, looks_of
from rnnlab.reports.style import GREY, Width, lags_across, legend, panels, styled
from rnnlab.reports.text_tables import by_memory, compressors, ngrams, on_marks, on_text
from rnnlab.runs.results import Results, Trial, When

NGRAMS = {"color": "k", "lw": 0.9, "ls": (0, (1, 1)), "marker": "x", "ms": 4}
LINES = {"gzip": {"color": GREY, "lw": 0.8, "ls": "--"}, "xz": {"color": GREY, "lw": 0.8, "ls": "-."}}
BELOW, ABOVE = 0.1, 0.6  # bits around the lowest values and the best n-gram model, that are drawn large
FLOOR = 4  # decades below lag 0 at which a gradient leaves the frame, at least


@styled
def memory(results: Results, *, width: Width = "page") -> Figure | None:
    """Bits a character by exactly how many characters were read; n-gram models at what they read. Right: the lowest."""
    arms, looks = on_text(results), looks_of(results)
    found = {label: [of for trial in arm.trials if (of := by_memory(trial))] for label, arm in arms.items()}
    found = {label: of for label, of in found.items() if of}
    if not found:
        return None
    figure, (axes,) = panels(1, 2, 3.0, width)
    lowest = []
    for label, of in found.items():
        ends = sorted(of[0])
        values = np.array([[one[end] for end in ends] for one in of])
        lowest.append(values.mean(axis=0).min())
        for panel in axes:
            spread = values.min(axis=0), values.max(axis=0)
            panel.fill_between(ends, *spread, color=looks[label]["color"], alpha=0.15, lw=0)
            panel.plot(ends, values.mean(axis=0), **looks[label])
    models = ngrams(results)
    lines = []
    if models:
        for panel in axes:
            panel.plot([order - 1 for order in models], list(models.values()), **NGRAMS)
        lines.append(Line2D([], [], label="n-gram models, orders 1 to 6", **NGRAMS))
    for name, value in compressors(results).items():
        for panel in axes:
            panel.axhline(value, **LINES[name])
        lines.append(Line2D([], [], label=name, **LINES[name]))
    for panel in axes:
        lags_across(panel)
        panel.set_xlim(-0.05, None)
        panel.set(xlabel="characters read")
        panel.grid(axis="y", lw=0.4, color="0.85")
    axes[0].set_ylabel("bits a character, test part")
    least = min([*lowest, *models.values(), *compressors(results).values()])
    axes[1].set_ylim(least - BELOW, min(models.values(), default=min(lowest)) + ABOVE)
    legend(figure, [Line2D([], [], label=label, **looks[label]) for label in found], lines)
    figure.set_label(
        "What memory buys: bits a character by exactly how many characters before it were read, of the same "
        "characters of the test part at every point; means over trials, bands their range; right, the lowest values "
        "large. A network begins from a zero carry, which it seldom met in training: its first points hold this cold "
        "start too. An n-gram model of order n reads n - 1 characters, and is measured on the whole test part, as "
        "are gzip and xz: bits that the test part adds to the compressed training part. These adapt to the test part "
        "while they code it; networks and n-gram models are frozen. gzip sees the last 32 KiB alone."
    )
    return figure


@styled
def marks_by_distance(results: Results, *, width: Width = "page") -> Figure | None:
    """Accuracy against how many characters ago the mark was opened, beside the memory horizon at the same distance."""
    marks, looks = on_marks(results), looks_of(results)
    if not marks:
        return None
    reached = {label: {d: arm.held_out("accuracy") for d, arm in sorted(arms.items())} for label, arms in marks.items()}
    reached = {label: {d: of for d, of in found.items() if of.n} for label, found in reached.items()}
    both = any(reached.values())  # what diverged has no accuracy
    figure, (axes,) = panels(1, 1 + both, 2.6, width)
    for label, arms in marks.items():
        for d, of in reached[label].items():
            axes[0].plot([d, d], [of.low, of.high], color=looks[label]["color"], lw=0.8)
        if reached[label]:
            axes[0].plot(list(reached[label]), [of.estimate for of in reached[label].values()], **looks[label])
        for when, face in (("init", "white"), ("trained", looks[label]["color"])):
            style = looks[label] | {"mfc": face} | ({"lw": 0.6} if when == "init" else {})
            axes[-1].plot(sorted(arms), [arms[d].horizon(when).estimate for d in sorted(arms)], **style)
    distances = sorted({d for arms in marks.values() for d in arms})
    if both:
        axes[0].axhline(0.25, **(CHANCE | {"label": None}))
        axes[0].set(ylim=(0, 1.03), ylabel="held-out accuracy")
    axes[-1].plot(distances, distances, color=GREY, lw=0.8, ls="-.")
    axes[-1].set_ylabel(f"horizon of dL/dh (characters),\nabove {results.fraction:g} of lag 0")
    axes[-1].set_yscale("symlog", linthresh=1, linscale=0.4)
    axes[-1].yaxis.set_major_formatter("{x:g}")
    for panel in axes:
        panel.set(xscale="log", xlabel="d, characters since the mark", xticks=distances)
        panel.minorticks_off()
        panel.xaxis.set_major_formatter("{x:g}")
    dots = [Line2D([], [], label=WHEN[when], color="k", marker="o", mfc=face, ls="")
            for when, face in (("init", "w"), ("trained", "k"))]  # fmt: skip
    lines = [Line2D([], [], **(CHANCE | {"label": "chance"}))] * both
    lines.append(Line2D([], [], color=GREY, lw=0.8, ls="-.", label="d"))
    legend(figure, [Line2D([], [], label=label, **looks[label]) for label in marks], dots + lines)
    figure.set_label(
        "Which of four marks was opened d characters of real text ago. Left: held-out accuracy, medians over trials "
        "with their intervals. Right: the horizon of dL/dh of the same trials, before training (hollow) and after it "
        "(filled); on the grey line it covers d."
    )
    return figure


@styled
def flow(results: Results, *, width: Width = "page") -> Figure | None:
    """log10 of ||dL/dh_t|| by lag, of the loss of one character of the text; dashed: of c along the cell path alone."""
    arms, looks = on_text(results), looks_of(results)
    rows: list[When] = [
        w for w in ("init", "trained") if any(t.probe("flow", w) for a in arms.values() for t in a.trials)
    ]
    if not rows:
        return None
    figure, grid = panels(1, len(rows), 2.6, width, sharey=True)
    threshold = math.log10(results.fraction)
    for panel, when in zip(grid[0], rows, strict=True):
        for label, arm in arms.items():
            for name, dashes in (("h", {"ls": "-"}), (_cell_path(arm.trials, when), PATH)):
                lags, profiles = _profiles(arm.trials, name, when)
                if len(profiles):
                    spread = profiles.min(axis=0), profiles.max(axis=0)
                    style = looks[label] | dashes
                    panel.fill_between(lags, *spread, color=style["color"], alpha=0.15, lw=0)
                    panel.plot(lags, profiles.mean(axis=0), markevery=0.12, **style)
        panel.axhline(threshold, color=GREY, lw=0.8)
        lags_across(panel)
        panel.set_xlim(-0.05, None)
        panel.set(title=WHEN[when], xlabel="lag k (characters back)", ylim=(threshold - FLOOR, 1.5))
    grid[0, 0].set_ylabel("$\\log_{10}$ of the adjoint's norm,\nrelative to lag 0")
    solid = [Line2D([], [], label=label, **(looks[label] | {"ls": "-"})) for label in arms]
    lines = [Line2D([], [], color="k", label="$dL/dh_t$"),
             Line2D([], [], color="k", marker="o", label="cell path alone", **PATH),
             Line2D([], [], color=GREY, lw=0.8, label="threshold of the horizon")]  # fmt: skip
    legend(figure, solid, lines)
    figure.set_label(
        "How far back a network looks in this text: gradient of the loss of one held-out character by lag, relative "
        "to lag 0; means of the logarithm over trials, bands their range. Dashed: of c, or h, along the cell "
        "path alone."
    )
    return figure


def _profiles(trials: Sequence[Trial], name: str | None, when: When) -> tuple[np.ndarray, np.ndarray]:
    """Lags [K] and log10 norms relative to lag 0 [trials, K], floored where a gradient is zero."""
    found = [of[name] for trial in trials if (of := trial.probe("flow", when)) and name in of]
    if not found:
        return np.zeros(0), np.zeros((0, 0))
    log10 = np.array([of["log10"] for of in found], np.float64)
    return np.array(found[0]["lag"]), np.maximum(np.nan_to_num(log10 - log10[:, :1], nan=-1e4), -1e4)


def _cell_path(trials: Sequence[Trial], when: When) -> str | None:
    """Along which something flows beyond lag 0: c's where there is one."""
    for name in ("c cell path", "h cell path"):
        profiles = _profiles(trials, name, when)[1]
        if len(profiles) and (profiles[:, 1:] > -1e4).any():
            return name
    return None
