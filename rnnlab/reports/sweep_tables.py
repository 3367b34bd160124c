"""The tables of a sweep: what each arm reached, and what each differs by from one of them, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rnnlab.reports.figures import by_arm
from rnnlab.reports.horizon_tables import guesses_said, reach_table
from rnnlab.reports.tables import Table, format_interval, listed
from rnnlab.settings.errors import SettingError, nearest
from rnnlab.stats.estimates import Interval
from rnnlab.stats.paired import differences, holm, success_difference
from rnnlab.stats.survival import MANY, Times, budget, logrank, median_time, sequences_to_solve, trained

STOPPED = (
    " Trials that met the stop rule ended there, the others at their budget: their losses are of unequal training, and "
    "tell less than the sequences do."
)


def sweep_table(results: Mapping[str, Any]) -> Table:
    """A row an arm: trials, how many learned, training sequences until they did, held-out loss and horizon.

    Sequences are Kaplan & Meier's median; the rest is `rnnlab.reports.horizon_tables.reach_table`'s.
    """
    reach = reach_table(results)
    after = ["held-out loss", "chance loss", "horizon after training (steps)"]
    after += [name for name in reach.columns if name.startswith("solved by guessing")]
    trials, learned, *last = (reach.columns.index(name) for name in ("trials", "learned", *after))
    times = [_sequences(of_arm) for of_arm in by_arm(results).values()]
    rows = [
        [row[0], row[trials], row[learned], time, *(row[place] for place in last)]
        for row, time in zip(reach.rows, times, strict=True)
    ]
    columns = ["arm", "trials", "learned", "sequences to solve", *after]
    caption = (
        "Arms of the sweep. Learned: Wilson's 95 % interval. Sequences to solve: median of Kaplan & Meier's curve, in "
        "brackets where its pointwise 95 % band crosses 1/2 (Brookmeyer & Crowley 1982; of few trials their range, "
        "which covers less); >= the longest budget where it was not reached by then. Held-out loss, of trials that "
        "did not diverge, and horizon: medians with exact 95 % intervals, of up to 5 trials with their range. No "
        "interval is corrected for the number of arms."
    )
    if stopped_early(results["trials"]):
        caption += STOPPED
    caption += guesses_said(results["trials"])
    return Table(caption, columns, rows)


def paired_table(results: Mapping[str, Any], baseline: str) -> Table:
    """A row for every other arm of the baseline's task: what it differs by, over seeds that both have.

    Success: difference of rates, McNemar's test. Held-out loss: median difference, Wilcoxon's test, over pairs of which
    neither diverged. Time to solve: log-rank test. Each column's p are Holm's, for the tests made in it.

    Raises:
      SettingError: no arm has the baseline's name.
    """
    arms = by_arm(results)
    if baseline not in arms:
        raise SettingError(f"baseline={baseline}: no such arm{nearest(baseline, arms)}")
    others = [arm for arm in arms if arm != baseline and _task(results, arm) == _task(results, baseline)]
    base = {trial["seed"]: trial for trial in arms[baseline]}
    rows, tests = [], []
    for arm in others:
        pairs = [(trial, base[trial["seed"]]) for trial in arms[arm] if trial["seed"] in base]
        success = success_difference(*([t["status"] == "learned" for t in side] for side in _sides(pairs)))
        settled = [pair for pair in pairs if all(map(_has_loss, pair))]
        loss = differences(*([t["eval"]["loss"] for t in side] for side in _sides(settled)))
        times = [sequences_to_solve(side) for side in (arms[arm], arms[baseline])]
        tests.append([success.p, loss.p, logrank(*times) if all(_watched(t) for t in times) else math.nan])
        few = f" ({len(settled)} pairs)" if len(settled) < len(pairs) else ""
        rows.append([arm, str(len(pairs)), _signed(success.difference), format_interval(loss.median) + few])
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
    if stopped_early(trial for arm in (baseline, *others) for trial in arms[arm]):
        caption += STOPPED
    return Table(caption, names, rows)


def stopped_early(trials: Iterable[Any]) -> bool:
    """Whether a trial ended before its budget because it met its task's stop rule."""
    ended = [trial for trial in trials if trained(trial)]
    return any(trial["status"] == "learned" and trial["sequences"] < budget(trial, ended) for trial in ended)


def format_time(time: Interval, longest: float) -> str:
    """A median time to solve in whole units: `81,277 [71,638, >= 100,000]`; what was not reached is ">= longest"."""

    def shown(value: float) -> str:
        return f"{value:,.0f}" if math.isfinite(value) else f">= {longest:,.0f}"

    if math.isnan(time.estimate):
        return "n/a"
    return shown(time.estimate) + ("" if math.isnan(time.low) else f" [{shown(time.low)}, {shown(time.high)}]")


def _sequences(trials: Sequence[Any]) -> str:
    times = sequences_to_solve(trials)
    if not _watched(times):
        return "not trained"
    return format_time(median_time(times), float(max([*times.solved, *times.unsolved])))


def _has_loss(trial: Any) -> bool:
    """A loss that overflows on held-out sequences alone is no number either."""
    return bool(trial["status"] != "diverged" and trial["eval"] and math.isfinite(trial["eval"]["loss"]))


def _watched(times: Times) -> bool:
    return bool(len(times.solved) + len(times.unsolved))


def _task(results: Mapping[str, Any], arm: str) -> dict[str, str]:
    """Losses and success of two arms are comparable where all of the task's settings agree."""
    return {path: value for path, value in results["settings"][arm].items() if path.partition(".")[0] == "task"}


def _sides(pairs: Sequence[tuple[Any, Any]]) -> list[list[Any]]:
    return [[pair[side] for pair in pairs] for side in (0, 1)]


def _signed(difference: Interval) -> str:
    estimate, low, high, n = difference
    return f"{estimate:+.2f} [{low:+.2f}, {high:+.2f}]" if n else "n/a"


def _p(p: float) -> str:
    if math.isnan(p):
        return "n/a"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
