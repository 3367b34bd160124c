"""Trials in pairs of one seed: two arms of a run, or one arm of two runs, with paired statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from rnnlab.reports.tables import Table, format_interval, format_number, listed
from rnnlab.runs.results import Arm, Results, Trial
from rnnlab.settings.errors import SettingError, nearest
from rnnlab.stats.estimates import Interval
from rnnlab.stats.paired import differences, holm, success_difference
from rnnlab.stats.survival import MANY, logrank

Pair = tuple[Trial, Trial]
STOPPED = (
    " Trials that met the stop rule ended there, the others at their budget: their losses are of unequal training, and "
    "tell less than the sequences do."
)


def _reached(when, quantity: str) -> Callable[[Trial], float]:
    return lambda trial: float(getattr(found, quantity)) if (found := trial.horizon(when)) else math.nan


QUANTITIES: Mapping[str, Callable[[Trial], float]] = {  # nan where a trial has none
    "sequences until learned, where both did": lambda trial: trial.sequences_to_learn,
    "held-out loss": lambda trial: trial.held_out.get("loss", math.nan),
    "held-out accuracy": lambda trial: trial.held_out.get("accuracy", math.nan),
    "decay of dL/dh at init (nats/step)": _reached("init", "decay_rate"),
    "horizon at init (steps)": _reached("init", "horizon"),
    "horizon after training (steps)": _reached("trained", "horizon"),
}


def stopped_early(trials: Iterable[Trial]) -> bool:
    """Whether a trial ended before its budget because it met its task's stop rule."""
    return any(trial.learned and trial.sequences < trial.budget for trial in trials)


def paired_table(results: Results, baseline: str) -> Table:
    """A row for every other arm of the baseline's task: what it differs by, over seeds that both have.

    Success: difference of rates, McNemar's test. Held-out loss: median difference, Wilcoxon's test, over pairs of which
    neither diverged. Time to solve: log-rank test. Each column's p are Holm's, for the tests made in it.

    Raises:
      SettingError: no arm has the baseline's name.
    """
    if baseline not in results.arms:
        raise SettingError(f"baseline={baseline}: no such arm{nearest(baseline, results.arms)}")
    first = results.arms[baseline]
    others = [arm for arm in results.arms.values() if arm is not first and _task(arm) == _task(first)]
    base = {trial.seed: trial for trial in first.trials}
    rows, tests = [], []
    for arm in others:
        pairs = [(trial, base[trial.seed]) for trial in arm.trials if trial.seed in base]
        success = success_difference(*([t.learned for t in side] for side in _sides(pairs)))
        ended = [pair for pair in pairs if all(map(_has_loss, pair))]
        loss = differences(*([t.held_out["loss"] for t in side] for side in _sides(ended)))
        watched = arm.trained and first.trained
        tests.append([success.p, loss.p, logrank(arm.times(), first.times()) if watched else math.nan])
        few = f" ({len(ended)} pairs)" if len(ended) < len(pairs) else ""
        rows.append([arm.name, str(len(pairs)), _signed(success.difference), format_interval(loss.median) + few])
    columns = list(zip(*tests, strict=True)) if tests else [(), (), ()]
    made = [sum(not math.isnan(p) for p in column) for column in columns]
    corrected = zip(*([_p(p) for p in holm(column)] for column in columns), strict=True)
    rows = [
        [arm, pairs, success, p_success, loss, p_loss, p_time]
        for (arm, pairs, success, loss), (p_success, p_loss, p_time) in zip(rows, corrected, strict=True)
    ]
    names = ["arm", "pairs", "learned, less the baseline's", "p (McNemar)", "held-out loss, less the baseline's",
             "p (Wilcoxon)", "p (log-rank)"]  # fmt: skip
    caption = (
        f"Differences from {baseline}, over trials of the same seed: share that learned, with Bonett & Price's "
        "interval, and median held-out loss (negative is better) over pairs of which neither diverged, with the exact "
        "one, of up to 5 pairs their range. Intervals are of 95 % each: they are not corrected, and do not invert the "
        "tests. Log-rank: of the time to solve, by permutation (all splits, of many trials drawn ones; asymptotic "
        f"where both arms have more than {MANY}). p are two-sided and corrected for the tests made in their column: "
        f"{listed([str(n) for n in made])} (Holm 1979)."
    )
    if stopped_early(trial for arm in (first, *others) for trial in arm.trials):
        caption += STOPPED
    return Table(caption, names, rows)


def outcomes(a: str, b: str, pairs: Mapping[str, Sequence[Pair]]) -> Table:
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


def _counts(pairs: Sequence[Pair]) -> list[str]:
    return [str(len(pairs)), *(f"{sum(pair[side].learned for pair in pairs)}/{len(pairs)}" for side in (0, 1))]


def _row(pairs: Sequence[Pair]) -> list[str]:
    before, after = ([pair[side].learned for pair in pairs] for side in (0, 1))
    found = success_difference(after, before)
    said = f"{format_interval(found.difference, 2)}, p {format_number(found.p, 2)}" if before != after else "equal"
    return [*_counts(pairs), said, *(_difference(pairs, of) for of in QUANTITIES.values())]


def _difference(pairs: Sequence[Pair], quantity: Callable[[Trial], float]) -> str:
    values = [tuple(math.nan if trial.diverged else float(quantity(trial)) for trial in pair) for pair in pairs]
    known = [pair for pair in values if all(map(math.isfinite, pair))]
    if not known:
        return "n/a"
    before, after = zip(*known, strict=True)
    left_out = f" ({len(known)} of {len(pairs)} pairs)" if len(known) < len(pairs) else ""
    if before == after:
        return f"equal{left_out}"
    found = differences(after, before)
    return f"{format_interval(found.median)}, p {format_number(found.p, 2)}{left_out}"


def _has_loss(trial: Trial) -> bool:
    """A loss that overflows on held-out sequences alone is no number either."""
    return not trial.diverged and math.isfinite(trial.held_out.get("loss", math.nan))


def _task(arm: Arm) -> dict[str, str]:
    """Losses and success of two arms are comparable where all of the task's settings agree."""
    return {path: value for path, value in arm.settings.items() if path.partition(".")[0] == "task"}


def _sides(pairs: Sequence[Pair]) -> list[list[Trial]]:
    return [[pair[side] for pair in pairs] for side in (0, 1)]


def _signed(difference: Interval) -> str:
    estimate, low, high, n = difference
    return f"{estimate:+.2f} [{low:+.2f}, {high:+.2f}]" if n else "n/a"


def _p(p: float) -> str:
    if math.isnan(p):
        return "n/a"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
