"""The figures of translations: exact match by length beside the gradient by distance, and attention."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from rnnlab.probes.translation.probes import long_rows
from rnnlab.reports.figures import looks_of
from rnnlab.reports.style import GREY, Width, legend, panels, plain, styled
from rnnlab.reports.translations import Translated, source_profiles, translated
from rnnlab.runs.results import Arm, Results
from rnnlab.translation.baselines import DICTIONARY

FLOOR = -4.5  # decades, of the relative gradient that is drawn
DODGE = 0.035  # of the axis, between arms at one length
FAINT = 0.15
BY_WORDS = {"color": GREY, "lw": 0.8, "ls": "-.", "marker": "x", "ms": 4}


@styled
def by_length(results: Results, *, width: Width = "page") -> Figure | None:
    """Exact match by the source's length; beside it the gradient by how far back in the source it comes."""
    found = translated(results)
    if not found:
        return None
    looks = looks_of(results)
    figure, grid = panels(len(found), 2, 2.8, width)
    for axes, each in zip(grid, found, strict=True):
        _exact(axes[0], each, looks)
        _gradient(axes[1], each, looks)
    lines = [Line2D([], [], color="k", label="after training"),
             Line2D([], [], color="k", lw=0.6, ls=(0, (1, 1)), label="at initialisation (right)"),
             Line2D([], [], label="IBM model 1, word by word (left)", **BY_WORDS)]  # fmt: skip
    legend(figure, [Line2D([], [], label=label, **look) for label, look in looks.items()], lines)
    figure.set_label(
        "Left: of sentences of the test part the share whose greedy translation is the reference (or the mean chrF, "
        "where that is the axis), by the length of their source; "
        "means over trials, bars 95 % bootstrap intervals over sentences; groups hold about as many sentences each, at "
        "their mean length, set a little apart. Right: the norm of dL/dh of the encoder, relative to that at the last "
        "token it read, by steps back from there (with a reversed source that is the sentence's first word); means of "
        "the logarithm over validation sentences and trials, bands the range of trials."
    )
    return figure


def _exact(panel, each: Translated, looks):
    groups = each.groups()
    at = np.array([each.lengths[which].mean() for _, which in groups])
    reach = max(float(np.ptp(at)), 1.0)
    for number, label in enumerate(each.arms):
        values = [each.mean(label, each.quality, which=which) for _, which in groups]
        if not values[0].n:
            continue
        x = at + reach * DODGE * (number - (len(each.arms) - 1) / 2) / 2
        middle = np.array([of.estimate for of in values])
        ends = np.array([[of.low, of.high] for of in values]).clip(0, 100)
        for place, (low, high) in zip(x, ends, strict=True):
            panel.plot([place, place], [low, high], color=looks[label]["color"], lw=0.8)
        panel.plot(x, middle, **looks[label])
    middle = [each.mean(DICTIONARY, each.quality, which=which).estimate for _, which in groups]
    panel.plot(at, middle, **BY_WORDS)
    shown = "exactly right, %" if each.quality == "exact" else each.measured
    panel.set(ylim=(-3, 103), xlabel=f"{each.units} of the source", ylabel=shown, title=plain(each.task))
    panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    panel.grid(axis="y", lw=0.4, color="0.85")


def _gradient(panel, each: Translated, looks):
    for label, arm in each.arms.items():
        for when in ("init", "trained"):
            profiles = source_profiles(arm, when)
            if not len(profiles):
                continue
            steps = np.arange(profiles.shape[1])
            if when == "trained":
                low, high = profiles.min(axis=0), profiles.max(axis=0)
                panel.fill_between(steps, low, high, color=looks[label]["color"], alpha=FAINT, lw=0)
                panel.plot(steps, profiles.mean(axis=0), markevery=0.2, **looks[label])
            else:
                panel.plot(steps, profiles.mean(axis=0), color=looks[label]["color"], lw=0.6, ls=(0, (1, 1)))
    low = max(FLOOR, panel.get_ylim()[0])
    panel.set(ylim=(low, None), xlabel="steps back from the last token read", title="dL/dh of the encoder")
    panel.set_ylabel("$\\log_{10}$ of its norm,\nrelative to that token")
    panel.axhline(0, color="0.85", lw=0.6, zorder=0)


@styled
def attention(results: Results, *, width: Width = "page") -> Figure | None:
    """Weights of attention over held-out sentences, with both sentences as labels; of the best arm with attention."""
    for each in translated(results):
        arm = _attending(each)
        if arm is None:
            continue
        trial = next(trial for trial in arm.trials if trial.probe("attention", "trained"))
        weights = np.array(trial.probe("attention", "trained")["thousandths"], np.float64) / 1000
        rows = long_rows(each.lengths)[: len(weights)]
        count = min(2, len(rows))
        figure, grid = panels(1, count, 3.3, width)
        for panel, row, of in zip(grid[0], rows, weights, strict=False):
            sources, targets = each.found["source words"][row], [*each.found["target words"][row], "(end)"]
            shown = of[: len(targets), : len(sources)]
            image = panel.pcolormesh(shown, cmap="Greys", vmin=0, vmax=1)
            panel.invert_yaxis()
            size = 6.5 if max(len(sources), len(targets)) <= 30 else 4
            panel.set_xticks(
                [at + 0.5 for at in range(len(sources))], [plain(word) for word in sources], rotation=90, fontsize=size
            )
            panel.set_yticks([at + 0.5 for at in range(len(targets))], [plain(word) for word in targets], fontsize=size)
            panel.spines[["top", "right"]].set_visible(True)
        grid[0, 0].set_ylabel("target")
        figure.supxlabel("source")
        figure.colorbar(image, ax=grid[0, -1], label="weight of attention", shrink=0.8)
        figure.set_label(
            f"Attention of {arm.label} (seed {trial.seed}) over sentences of the test part, their own target read: "
            "each row, a step of the target, is spread over the tokens of the source."
        )
        return figure
    return None


def _attending(each: Translated) -> Arm | None:
    """The LSTM with attention, else that of the highest exact match."""
    arms = [arm for arm in each.arms.values() if any(t.probe("attention", "trained") for t in arm.trials)]

    def exact(arm: Arm) -> float:
        found = each.mean(arm.label).estimate
        return -1 if math.isnan(found) else found

    return max(arms, key=exact, default=None)
