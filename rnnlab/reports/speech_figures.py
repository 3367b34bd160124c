"""Figures of networks that read speech: posteriors over the spectrogram, errors by length, directions, confusions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnlab.data.log_mel import BANDS, HOP, RATE
from rnnlab.data.transcripts import alignments
from rnnlab.reports import speech_tables
from rnnlab.reports.figures import WHEN, looks_of
from rnnlab.reports.speech_tables import STEP, heard, of_task
from rnnlab.reports.style import COLOURS, GREY, Width, legend, panels, plain, styled
from rnnlab.runs.results import Arm, Results

SHOWN = 8  # tokens of one recording that are named by a colour
FEWEST = 4  # examples that a gradient at a distance is the mean of


@styled
def posteriors(results: Results, *, width: Width = "page") -> Figure | None:
    """Log-mel features of one recording of the test part, and below p of each token and the blank by every network."""
    arms = {n: a for n, a in of_task(results, "SpokenDigits").items() if _posteriors(a)}
    if not arms:
        return None
    found = {label: _posteriors(arm) for label, arm in arms.items()}
    first, baselines = next(iter(found.values())), next(iter(arms.values())).baselines
    tokens = baselines.get("tokens", [])
    said = baselines.get("said", [[]] * (int(first["number"]) + 1))[int(first["number"])]
    features = np.array(first["features"], np.float64)
    frames = features.reshape(-1, BANDS)
    end = len(features) * STEP / 1000
    figure, grid = panels(1 + len(arms), 1, 1.05, width, sharex=True)
    grid[0, 0].pcolormesh(np.arange(len(frames) + 1) * HOP / RATE, np.arange(BANDS + 1), frames.T, cmap="Greys",
                          rasterized=True)  # fmt: skip
    grid[0, 0].set_ylabel("mel band")
    grid[0, 0].set_title("said: " + " ".join(plain(tokens[int(label) - 1]) for label in said if label <= len(tokens)))
    known = list(dict.fromkeys(int(label) for label in said))[:SHOWN]
    colours = {label: COLOURS[place % len(COLOURS)] for place, label in enumerate(known)}
    dashes = {label: "-" if place < len(COLOURS) else "--" for place, label in enumerate(known)}
    for panel, (label, probe) in zip(grid[1:, 0], found.items(), strict=True):
        p = np.array(probe["p"], np.float64) / 1000
        at = (np.arange(len(p)) + 0.5) * STEP / 1000
        panel.plot(at, p[:, 0], color=GREY, lw=0.7, ls=":")
        for token in range(1, p.shape[1]):
            panel.plot(at, p[:, token], color=colours.get(token, "0.8"), ls=dashes.get(token, "-"), lw=1.1)
        panel.set(ylim=(-0.03, 1.05), xlim=(0, end), yticks=[0, 0.5, 1])
        panel.set_title(label)
    grid[len(grid) // 2, 0].set_ylabel("probability")
    grid[-1, 0].set_xlabel("time (s)")
    shown = [
        Line2D([], [], color=colours[t], ls=dashes[t], label=plain(tokens[t - 1])) for t in known if t <= len(tokens)
    ]
    legend(figure, shown, [Line2D([], [], color=GREY, lw=0.7, ls=":", label="blank"),
                           Line2D([], [], color="0.8", label="other tokens")])  # fmt: skip
    figure.set_label(
        "One recording of the test part: log-mel features (dark is loud), and below the probability that each network "
        "(its first trial) gives to each token, every 30 ms."
    )
    return figure


def _posteriors(arm: Arm) -> Mapping[str, Any] | None:
    """Those of its first trial that has some."""
    return next((found for trial in arm.trials if (found := trial.probe("posteriors", "trained"))), None)


@styled
def by_length(results: Results, *, width: Width = "column") -> Figure | None:
    """Token error rate by how many tokens were said."""
    found, looks = speech_tables.by_lengths(results), looks_of(results)
    if not found:
        return None
    figure, grid = panels(1, 1, 2.8, width)
    for label, (lengths, rates) in found.items():
        band = {"color": looks[label]["color"], "alpha": 0.13, "lw": 0}
        grid[0, 0].fill_between(lengths, rates.min(axis=0), rates.max(axis=0), **band)
        grid[0, 0].plot(lengths, rates.mean(axis=0), **looks[label])
    grid[0, 0].set(xlabel="tokens said", ylabel="token error rate, %", ylim=(0, None))
    legend(figure, [Line2D([], [], label=label, **looks[label]) for label in found], [])
    figure.set_label(
        "Token error rate of the test part by how many tokens (digits) were said: means over trials, bands their range."
    )
    return figure


@styled
def directions(results: Results, *, width: Width = "page") -> Figure | None:
    """log10 of the top ||dL/dh|| by distance from one answer: back in time to the left, ahead to the right."""
    looks = looks_of(results)
    tasks = {task: arms for task, arms in results.tasks.items()
             if any(arm.trials[0].probe("directions", "init") for arm in arms.values())}  # fmt: skip
    if not tasks:
        return None
    trials = [trial for arms in tasks.values() for arm in arms.values() for trial in arm.trials]
    rows = [when for when in ("init", "trained") if any(trial.probe("directions", when) for trial in trials)]
    figure, grid = panels(len(rows), len(tasks), 2.0, width, sharex="col", sharey=True)
    threshold = math.log10(results.fraction)
    for column, (task, arms) in zip(grid.T, tasks.items(), strict=True):
        for panel, when in zip(column, rows, strict=True):
            for label, arm in arms.items():
                for side, sign in (("forward", -1), ("backward", 1)):
                    if (values := _curve(arm, when, side)) is not None:
                        at = sign * np.arange(len(values))
                        panel.plot(at, values, markevery=0.15, **looks[label])
            panel.axhline(threshold, color=GREY, lw=0.7)
            panel.axvline(0, color=GREY, lw=0.5)
            panel.set(ylim=(threshold - 3, 1.5), title=f"{task}, {WHEN[when]}")
        column[-1].set_xlabel("steps from the answer (left: back in time)")
    for panel in grid[:, 0]:
        panel.set_ylabel("$\\log_{10}$ of $||dL/dh||$,\nrelative to the answer")
    labels = dict.fromkeys(label for arms in tasks.values() for label in arms)
    legend(figure, [Line2D([], [], label=label, **looks[label]) for label in labels],
           [Line2D([], [], color=GREY, lw=0.7, label="threshold of the horizon")])  # fmt: skip
    figure.set_label(
        "How far one answer's gradient reaches: norm of its adjoint at the top layer's h by distance, relative to "
        "distance 0, means of the logarithm over examples and trials. To the left of 0 the direction that reads "
        "forwards, to the right the one that reads backwards. SpokenDigits: the logit of the likeliest token in the "
        "middle half of a recording, a step is 30 ms; JapaneseVowels: that of the likeliest speaker, which the second "
        "direction gives at the first step."
    )
    return figure


def _curve(arm: Arm, when: str, side: str) -> np.ndarray | None:
    """The mean over trials, as far as enough examples reach."""
    curves = []
    for trial in arm.trials:
        found = trial.probe("directions", when) or {}
        if side in found:
            values, count = np.array(found[side], np.float64), np.array(found[f"{side} examples"])
            kept = (
                int(np.argmin(count >= min(FEWEST, count[0]))) if (count < min(FEWEST, count[0])).any() else len(count)
            )
            curves.append(values[:kept])
    if not curves or not min(map(len, curves)):
        return None
    shortest = min(map(len, curves))
    return np.mean([curve[:shortest] for curve in curves], axis=0)


@styled
def confusions(results: Results, *, width: Width = "page") -> Figure | None:
    """Of each token said, how often each was heard, for the LSTM of both directions and the one of one."""
    arms = {n: a for n, a in of_task(results, "SpokenDigits").items() if n in ("LSTM, both ways", "LSTM")}
    tables = {label: table for label, arm in arms.items() if (table := confusion_table(arm)) is not None}
    if not tables:
        return None
    tokens = next(iter(arms.values())).baselines.get("tokens", [])
    if len(tokens) > 40:
        return None
    names = ["nothing", *map(plain, tokens)]
    figure, grid = panels(1, len(tables), 2.8, width)
    for panel, (label, table) in zip(grid[0], tables.items(), strict=True):
        share = 100 * table / np.maximum(table.sum(axis=1, keepdims=True), 1)
        share[0] = np.nan  # what was not said has no share
        at = np.arange(len(names))
        panel.pcolormesh(at, at, np.ma.masked_invalid(share), cmap="Blues", vmin=0, vmax=25, shading="nearest")
        panel.set_aspect("equal")
        panel.invert_yaxis()
        for i, j in zip(*np.nonzero(table), strict=True):
            if len(names) <= 12:
                panel.text(j, i, f"{table[i, j]:.0f}", ha="center", va="center", fontsize=6,
                           color="w" if share[i, j] > 15 else "k")  # fmt: skip
        panel.set_xticks(range(len(names)), names, rotation=90)
        panel.set_yticks(range(len(names)), names)
        panel.set(title=label, xlabel="heard")
    grid[0, 0].set_ylabel("said")
    figure.set_label(
        "Which token was heard for which, over all trials' transcripts of the test part, aligned by the fewest edits; "
        "numbers are counts, colours the share of what was said, dark from 25 % on. The row `nothing` holds "
        "insertions, the column `nothing` what was not heard."
    )
    return figure


def confusion_table(arm: Arm) -> np.ndarray | None:
    """Counts [said, heard] over all trials, 0 for nothing."""
    size = len(arm.baselines.get("tokens", [])) + 1
    table, some = np.zeros((size, size)), False
    for trial in arm.trials:
        if found := heard(arm, trial):
            some = True
            for pair in itertools.chain.from_iterable(alignments(found.said, found.heard)):
                table[pair] += 1
    return table if some else None
