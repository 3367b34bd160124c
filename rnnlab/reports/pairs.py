"""How two runs' trials ended, in pairs of one arm and seed: a row an arm, with paired statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rnnlab.reports.sweep_tables import STOPPED, stopped_early
from rnnlab.reports.tables import Table, format_interval, format_number
from rnnlab.stats.paired import differences, success_difference

Trial = Mapping[str, Any]
QUANTITIES: Mapping[str, Callable[[Trial], float]] = {  # nan where a trial has none
    "sequences until learned, where both did": lambda t: _to_learn(t),
    "held-out loss": lambda t: t["eval"].get("loss", math.nan),
    "held-out accuracy": lambda t: t["eval"].get("accuracy", math.nan),
    "decay of dL/dh at init (nats/step)": lambda t: _reached(t, "init", "decay_rate"),
    "horizon at init (steps)": lambda t: _reached(t, "init", "horizon"),
    "horizon after training (steps)": lambda t: _reached(t, "trained", "horizon") if t["steps"] else math.nan,
}


def outcomes(a: str, b: str, pairs: Mapping[str, Sequence[tuple[Trial, Trial]]]) -> Table:
    """A row an arm, and one that counts all arms together: trials of one seed share batches, so they are not tested.

    `a` and `b` are the names of the runs, `pairs` {arm: (its trial in a, in b)}.
    """
    rows = [[arm, *_row(both)] for arm, both in pairs.items()]
    if len(pairs) > 1:
        every = [pair for both in pairs.values() for pair in both]
        rows.append(["all arms", *_counts(every), *[""] * (1 + len(QUANTITIES))])
    columns = ["arm", "pairs", f"learned in {a}", f"in {b}", "difference", *QUANTITIES]
    caption = (
        f"Outcomes of {b} less those of {a}, over pairs of trials with the same arm and seed: medians with "
        "95 % intervals (for up to 5 pairs their range), p of Wilcoxon's signed-rank test; for trials learned, rates "
        "with Bonett and Price's interval, p of McNemar's exact test. No p is adjusted for the number of tests. A "
        "trial that diverged has not learned, and has no other outcome."
    )
    if stopped_early(trial for both in pairs.values() for pair in both for trial in pair):
        caption += STOPPED
    if len(pairs) > 1:
        caption += " Trials of all arms together are counted and not tested: those of one seed share their batches."
    return Table(caption, columns, rows)


def _counts(pairs: Sequence[tuple[Trial, Trial]]) -> list[str]:
    return [str(len(pairs)), *(f"{sum(learned(pair[side]) for pair in pairs)}/{len(pairs)}" for side in (0, 1))]


def _row(pairs: Sequence[tuple[Trial, Trial]]) -> list[str]:
    before, after = ([learned(pair[side]) for pair in pairs] for side in (0, 1))
    found = success_difference(after, before)
    said = f"{format_interval(found.difference, 2)}, p {format_number(found.p, 2)}" if before != after else "equal"
    return [*_counts(pairs), said, *(_difference(pairs, of) for of in QUANTITIES.values())]


def _difference(pairs: Sequence[tuple[Trial, Trial]], quantity: Callable[[Trial], float]) -> str:
    values = [tuple(math.nan if _diverged(t) else float(quantity(t)) for t in pair) for pair in pairs]
    known = [pair for pair in values if all(map(math.isfinite, pair))]
    if not known:
        return "n/a"
    before, after = zip(*known, strict=True)
    left_out = f" ({len(known)} of {len(pairs)} pairs)" if len(known) < len(pairs) else ""
    if before == after:
        return f"equal{left_out}"
    found = differences(after, before)
    return f"{format_interval(found.median)}, p {format_number(found.p, 2)}{left_out}"


def learned(trial: Trial) -> bool:
    return trial["status"] == "learned"


def _diverged(trial: Trial) -> bool:
    return trial["status"] == "diverged"


def _reached(trial: Trial, when: str, quantity: str) -> float:
    """nan where the carry has no h, or its reach was not measured."""
    return float(trial.get("reach", {}).get(when, {}).get("h", {}).get(quantity, math.nan))


def _to_learn(trial: Trial) -> float:
    return trial["learned_at"] * trial["sequences"] / trial["steps"] if learned(trial) else math.nan
