"""Bits a character of test text: of networks, n-gram models and compressors.

Reads the probes of `experiments/text.py` (`test`, `memory`, `units`) and the baselines of `rnnlab.tasks.text.Text`.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from rnnlab.reports.arm_columns import COLUMNS as COLUMNS_OF_ALL
from rnnlab.reports.arm_columns import Column, format_horizon
from rnnlab.reports.tables import Table, format_interval
from rnnlab.runs.results import Arm, Results, Trial, When
from rnnlab.stats import estimates
from rnnlab.stats.estimates import Interval

COMPRESSORS = ("gzip", "xz")
FAR = (100, 1000)  # characters read, of which more is compared with fewer


def on_text(results: Results) -> dict[str, Arm]:
    """The arms that read a text, by label."""
    return {arm.label: arm for arm in results.arms.values() if arm.settings.get("task") == "Text"}


def on_marks(results: Results) -> dict[str, dict[int, Arm]]:
    """The arms that say which mark was opened, by label and by how many characters ago."""
    found: dict[str, dict[int, Arm]] = {}
    for arm in results.arms.values():
        if arm.settings.get("task") == "OpenMark":
            found.setdefault(arm.label, {})[arm.length - 1] = arm
    return found


def trial_bits(trial: Trial) -> float | None:
    """Bits a character of the test part after training; None where that was not measured."""
    found = trial.probe("test", "trained")
    return None if found is None else float(found["bits"])


def bits(arm: Arm) -> Interval:
    """The same of an arm: the median over trials."""
    return estimates.median(arm.each(trial_bits))


def by_memory(trial: Trial, when: When = "trained") -> dict[int, float]:
    """Bits a character by how many characters were read, as far as measured."""
    found = trial.probe("memory", when) or {"characters": [], "bits": []}
    return {int(at): float(value) for at, value in zip(found["characters"], found["bits"], strict=True)}


def saved_by_memory(trial: Trial) -> float | None:
    """Bits a character that reading more of `FAR` saves over reading fewer, of the same characters; None: no such."""
    found = by_memory(trial)
    return found[FAR[0]] - found[FAR[1]] if set(FAR) <= set(found) else None


def ngrams(results: Results) -> dict[int, float]:
    """Bits a character of n-gram models by their order; empty where they are not known."""
    for arm in on_text(results).values():
        return dict(enumerate(arm.baselines.get("n-grams", ()), start=1))
    return {}


def compressors(results: Results) -> dict[str, float]:
    """Bits that a character of the test part adds to the compressed training part."""
    for arm in on_text(results).values():
        return {name: arm.baselines[name] for name in COMPRESSORS if name in arm.baselines}
    return {}


def _bits_text(arm: Arm) -> str:
    found = bits(arm)
    return format_interval(found) if found.n else "n/a"


def _saved(arm: Arm) -> Interval:
    """Bits less than the best n-gram model's; below 0, more."""
    best = min(arm.baselines.get("n-grams", ()), default=math.nan)
    middle, low, high, n = bits(arm)
    return Interval(best - middle, best - high, best - low, n)


def _saved_text(arm: Arm) -> str:
    found = _saved(arm)
    return "n/a" if not found.n or math.isnan(found.estimate) else format_interval(found, 2)


def reach(trial: Trial, when: When, fraction: float) -> tuple[int, bool] | None:
    """The horizon of the loss of one character of a text, and whether the sequence ends there; None: not measured.

    The horizon that every trial has is of the loss of all characters, to which each adds its own.
    """
    found = (trial.probe("flow", when) or {}).get("h")
    if found is None:
        return None
    lags, log10 = np.array(found["lag"]), np.array(found["log10"], np.float64)
    within = np.flatnonzero(log10 >= log10[0] + math.log10(fraction))
    return int(lags[within[-1]]), bool(within[-1] == len(lags) - 1)


def _horizon(when: When) -> Column:
    """Of the loss of one answer: of a mark, or of one character of a text."""

    def reached(arm: Arm) -> list[tuple[int, bool]]:
        fraction = float(arm.value("flow.fraction"))
        return [found for trial in arm.trials if (found := reach(trial, when, fraction))]

    def number(arm: Arm) -> Interval:
        return estimates.median([lag for lag, _ in reached(arm)]) if reached(arm) else arm.horizon(when)

    def text(arm: Arm) -> str:
        if not (found := reached(arm)):
            return format_horizon(arm, when, "h")
        middle, low, high, n = number(arm)
        cut = ">= " * any(ends for lag, ends in found if lag <= middle)
        return f"{cut}{middle:g}" + ("" if n == 1 or low == high else f" [{low:g}, {high:g}]")

    said = {"init": "at init", "trained": "after training"}[when]
    return Column(f"horizon of one answer {said} (characters)", number, text)


COLUMNS = (
    COLUMNS_OF_ALL["learned"],
    COLUMNS_OF_ALL["accuracy"]._replace(head="accuracy (validation)"),
    Column("bits a character (test)", bits, _bits_text),
    Column("bits saved over the best n-gram model", _saved, _saved_text),
    _horizon("init"),
    _horizon("trained"),
)


def tables(results: Results) -> list[Table]:
    """Bits a character beside the baselines', by characters read, and how well units fit what they are said to tell."""
    return [*_bits_table(results), *_memory_table(results), *_units_table(results)]


def _bits_table(results: Results) -> list[Table]:
    rows = [[label, _bits_text(arm), str(len(arm.trials))] for label, arm in on_text(results).items()]
    rows += [[f"n-gram model, order {n}", f"{value:.3f}", ""] for n, value in ngrams(results).items()]
    rows += [[name, f"{value:.3f}", ""] for name, value in compressors(results).items()]
    caption = (
        "Bits a character of the test part, every character counted once; networks: median and interval over trials. "
        "n-gram models: interpolated Witten-Bell smoothing; both are frozen after training. gzip, xz: what the test "
        "part adds to the compressed training part, to which they adapt while they code it; gzip sees the last 32 KiB "
        "alone."
    )
    return [Table(caption, ["model", "bits a character", "trials"], rows)] if rows else []


def _memory_table(results: Results) -> list[Table]:
    arms = on_text(results)
    found = {label: [by_memory(trial) for trial in arm.trials] for label, arm in arms.items()}
    ends = sorted({end for of in found.values() for one in of for end in one})
    rows = [
        [label, *(format_interval(estimates.median([one[end] for one in of if end in one])) for end in ends)]
        for label, of in found.items()
    ]
    fewer, more = FAR
    columns = ["cell", *(f"{end:,}" for end in ends)]
    saved = {label: estimates.mean(arm.each(saved_by_memory)) for label, arm in arms.items()}
    if any(of.n for of in saved.values()):
        columns.append(f"saved, {more:,} instead of {fewer:,}")
        rows = [[*row, four_places(saved[row[0]]) if saved[row[0]].n else "n/a"] for row in rows]
    caption = (
        "Bits a character by exactly how many characters before it were read, from a zero carry; the same characters "
        "of the test part in every column. Median and interval over trials; what is saved: mean and interval of the "
        "differences within trials."
    )
    return [Table(caption, columns, rows)] if ends else []


def four_places(found: Interval) -> str:
    """`0.0035 [0.0007, 0.0063]`: of differences that may be nothing but rounding."""
    estimate, low, high = (f"{round(value, 4) + 0.0:.4f}" for value in found[:3])
    return estimate if math.isnan(found.low) else f"{estimate} [{low}, {high}]"


def _units_table(results: Results) -> list[Table]:
    rows = []
    for label, arm in on_text(results).items():
        for name, says in UNITS.items():
            sides = [estimates.median(arm.each(functools.partial(fit_of, name=name, when=when))) for when in WHEN]
            if sides[1].n:
                rows.append([f"{label}/{says}", *(format_interval(side, 2) for side in sides)])
    caption = (
        "The unit that fits best, of all: size of the correlation of tanh(c) (without c: h) with what it tells; "
        "periodic: how far its autocorrelation rises again within 100 characters, 0 to 2. Best of as many units before "
        "training as after it."
    )
    return [Table(caption, ["arm", "before training", "after training"], rows)] if rows else []


WHEN: tuple[When, ...] = ("init", "trained")
UNITS = {"quotes": "within quotation marks", "brackets": "within brackets", "line": "position in the line",
         "periodic": "periodic"}  # fmt: skip


def fit_of(trial: Trial, name: str, when: When = "trained") -> float | None:
    """The size of the best unit's measure; None where it was not measured."""
    found = trial.probe("units", when)
    return None if found is None else abs(float(found[name]))
