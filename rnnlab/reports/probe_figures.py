"""Pictures of what own probes found: paths by lag, time scales, singular values, training x lag.

Each is None where no trial has what it draws: none was trained, all diverged, or the cell has no such quantity.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnlab.reports.figures import NEEDED, WHEN, looks_of
from rnnlab.reports.style import COLOURS, GREY, Scale, Width, lags_across, legend, panels, styled
from rnnlab.runs.results import Arm, Results, When

LOWEST = -40  # log10: lower singular values leave the frame
HATCHES = ["", "///", "...", "\\\\\\", "xxx", "++"]  # a grey print tells parts apart by them


@styled
def path_shares(
    results: Results, *, when: When = "init", part: str = "c", x: Scale = "log", width: Width | None = None
) -> Figure | None:
    """Shares of the gradient by path, stacked, by lag: a panel an arm of the longest task, the mean over its trials.

    Reads the probe `paths`: {lag: [...], share name: [...]}.
    """
    kept = _measured(results.longest, "paths", when)
    if not kept:
        return None
    figure, (row,) = panels(1, len(kept), 2.1, width, sharey=True)
    names: dict[str, None] = {}
    for axes, (cell, found) in zip(row, kept.items(), strict=True):
        lags = np.array(found[0]["lag"])
        parts = sorted((n for n in found[0] if n != "lag"), key=lambda n: (n == "cross", n != "direct", n))
        shares = {n: np.nanmean([f[n] for f in found], axis=0) for n in parts}
        names |= dict.fromkeys(shares)
        for sign in (1, -1):  # what works against the full gradient hangs below zero
            base = np.zeros(len(lags))
            for number, share in enumerate(shares.values()):
                piece = np.clip(sign * np.nan_to_num(share), 0, 10) * sign
                axes.fill_between(lags, base, base + piece, color=_colour(number), lw=0)
                axes.fill_between(lags, base, base + piece, fc="none", ec="k", hatch=_hatch(number), lw=0, alpha=0.4)
                base = base + piece
        lags_across(axes, x)
        axes.axhline(1, color="k", lw=0.7)
        axes.axhline(0, color="k", lw=0.7)
        axes.set(title=cell, xlabel="lag k (steps)", xlim=(0, lags[-1]), ylim=(-0.5, 1.5))
    row[0].set_ylabel(f"share of dL/d{part}\n({next(iter(results.longest.values())).task})")
    patches = [Patch(fc=_colour(i), ec="k", hatch=_hatch(i), lw=0.3, label=n) for i, n in enumerate(names)]
    legend(figure, patches, [])
    figure.set_label(
        f"Paths of the gradient dL/d{part} {WHEN[when]}, by lag: each part's projection on the full gradient, the mean "
        "over examples and trials. Direct: the cell path; via a gate: what its detours add; cross: detours through "
        "several gates. Parts sum to 1; one below 0 works against the full gradient. The frame ends at -0.5 and 1.5."
    )
    return figure


@styled
def time_scales(results: Results, *, width: Width | None = None) -> Figure | None:
    """Histograms of the forget gates' time scales, before and after training, and the lag that the task needs.

    Reads the probe `gates`: {"tau": [H]}.
    """
    needed = {t: lag for t, arms in results.tasks.items() if (lag := next(iter(arms.values())).needed_lag) is not None}
    whens: tuple[When, ...] = ("init", "trained")
    found = {when: {t: _measured(arms, "gates", when) for t, arms in results.tasks.items()} for when in whens}
    tasks = [task for task, cells in found["init"].items() if cells]
    if not tasks:
        return None
    cells = list(dict.fromkeys(cell for task in tasks for cell in found["init"][task]))
    figure, grid = panels(len(tasks), len(cells), 1.5, width, sharex=True, sharey="row")
    bins = np.geomspace(0.3, 3e4, 26)
    looks = {"init": {"color": GREY, "lw": 1.2, "ls": "--"}, "trained": {"color": COLOURS[1], "lw": 1.4}}
    for row, task in zip(grid, tasks, strict=True):
        for axes, cell in zip(row, cells, strict=True):
            axes.set_visible(cell in found["init"][task])
            for when, style in looks.items():
                taus = [gates["tau"] for gates in found[when][task].get(cell, [])]
                if taus:
                    axes.hist(np.clip(np.concatenate(taus), bins[0], bins[-1]), bins, histtype="step", **style)
            axes.set_xscale("log")
            if task in needed:
                axes.axvline(needed[task], **NEEDED)
        row[0].set_ylabel(f"{task}\nunits")
    for top, bottom, cell in zip(grid[0], grid[-1], cells, strict=True):
        top.set_title(cell)
        bottom.set_xlabel("tau (steps)")
    lines = [Line2D([], [], label=WHEN[when], **style) for when, style in looks.items() if any(found[when].values())]
    legend(figure, lines + [Line2D([], [], **NEEDED)] * bool(needed), [])
    figure.set_label("Time scales tau = -1 / mean log f of the forget gates, by unit, over all trials.")
    return figure


@styled
def singular_values(results: Results, *, when: When = "init", width: Width | None = None) -> Figure | None:
    """log10 singular values of d state_T / d state_{T-k} by lag, one trial a panel: a line a direction.

    Reads the probe `jacobian`: {lag: [L], log10: [L, N]}.
    """
    kept = _measured(results.longest, "jacobian", when)
    if not kept:
        return None
    figure, (row,) = panels(1, len(kept), 2.1, width, sharey=True)
    for axes, (cell, (found, *_)) in zip(row, kept.items(), strict=True):
        values = np.array(found["log10"], float)
        values[~np.isfinite(values)] = np.nan
        axes.plot(found["lag"], values[:, 1:], color=GREY, lw=0.4)
        axes.plot(found["lag"], values[:, 0], color=COLOURS[1], lw=1.3)
        axes.axhline(0, color="k", lw=0.6)
        axes.set(title=cell, xlabel="lag k (steps)")
    row[0].set_ylim(bottom=max(LOWEST, row[0].get_ylim()[0]))
    row[0].set_ylabel(r"$\log_{10}$ singular value")
    lines = [
        Line2D([], [], color=COLOURS[1], lw=1.3, label="largest"),
        Line2D([], [], color=GREY, lw=0.6, label="others"),
    ]
    legend(figure, lines, [])
    figure.set_label(
        f"Singular values of the Jacobian of the last state with respect to the one k steps before, {WHEN[when]}, of "
        f"one trial a panel. Values below 1e{LOWEST} lie outside the frame."
    )
    return figure


@styled
def gradient_map(results: Results, *, width: Width | None = None) -> Figure | None:
    """log10 of ||dL/dh_t|| over lag (across) and training (up), of the first trial of every arm that was trained."""
    maps = {(arm.task, arm.label): arm.trials[0].map for arm in results.arms.values() if arm.trials[0].map}
    values = {key: found.log10 for key, found in maps.items()}
    finite = np.concatenate([v[np.isfinite(v)] for v in values.values()] or [np.zeros(0)])
    if not len(finite):
        return None
    tasks, cells = (list(dict.fromkeys(names)) for names in zip(*maps, strict=True))
    figure, grid = panels(len(tasks), len(cells), 1.6, width, sharex="row", sharey="row")
    limits = {"vmin": max(finite.min(), finite.max() - 12), "vmax": finite.max()}
    for row, task in zip(grid, tasks, strict=True):
        for axes, cell in zip(row, cells, strict=True):
            axes.set_visible((task, cell) in maps)
            if (task, cell) in maps:
                found = maps[task, cell]
                mesh = axes.pcolormesh(found.lag, found.step, values[task, cell], cmap="cividis", rasterized=True,
                                       shading="nearest", **limits)  # fmt: skip
                axes.set_facecolor("0.85")
        row[0].set_ylabel(f"{task}\nupdates")
    for top, bottom, cell in zip(grid[0], grid[-1], cells, strict=True):
        top.set_title(cell)
        bottom.set_xlabel("lag k (steps)")
    figure.colorbar(mesh, ax=grid, label=r"$\log_{10}$ norm of dL/dh", extend="min")
    figure.set_label(
        "Gradient norm of one example's loss over lag and training, first trial of each arm; grey: zero or not finite."
    )
    return figure


@styled
def exponents(results: Results, *, width: Width | None = None) -> Figure | None:
    """Leading Lyapunov exponents over training: the first in colour, the others thin, a line a trial.

    Reads the probe `lyapunov`: {"exponents": [K]} at each update at which it was run.
    """
    arms, looks = results.longest, looks_of(results)
    kept = {label: [t for t in arm.trials if t.probes and "lyapunov" in t.probes[0]] for label, arm in arms.items()}
    kept = {label: trials for label, trials in kept.items() if trials}
    if not kept:
        return None
    figure, (row,) = panels(1, len(kept), 2.2, width, sharey=True)
    needed, most = next(iter(arms.values())).needed_lag, 1
    for axes, (label, trials) in zip(row, kept.items(), strict=True):
        for trial in trials:
            steps = [found["step"] for found in trial.probes]
            spectra = np.array([found["lyapunov"]["exponents"] for found in trial.probes])
            most = max(most, spectra.shape[1])
            axes.plot(steps, spectra[:, 1:], color=GREY, lw=0.3)
            axes.plot(steps, spectra[:, 0], color=looks[label]["color"], lw=1.3)
        axes.axhline(0, color="k", lw=0.6)
        if needed:
            axes.axhline(-1 / needed, color="k", lw=0.8, ls=":")
        axes.set(title=label, xlabel="update")
        axes.set_yscale("symlog", linthresh=0.1)
    row[0].set_ylabel("Lyapunov exponents (nats/step)")
    lines = [Line2D([], [], color="k", lw=1.3, label="top exponent")]
    lines += [Line2D([], [], color=GREY, lw=0.6, label=f"exponents 2 to {most}")] * (most > 1)
    if needed:
        lines.append(Line2D([], [], color="k", lw=0.8, ls=":", label=f"-1/lag needed (lag {needed})"))
    legend(figure, lines, [])
    figure.set_label(f"The {most} leading Lyapunov exponents through training, a line a trial; coloured: the top one.")
    return figure


def _measured(arms: Mapping[str, Arm], probe: str, when: When) -> dict[str, list[Any]]:
    """What a probe found in each arm's trials; an arm of whose trials none has it is left out."""
    found = {label: [f for t in arm.trials if (f := t.probe(probe, when))] for label, arm in arms.items()}
    return {label: values for label, values in found.items() if values}


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _hatch(number: int) -> str:
    return HATCHES[number % len(HATCHES)]
