"""What was expected, or published, beside what was measured, and whether it holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import scipy

from rnnlab.reports.arm_columns import format_horizon
from rnnlab.reports.tables import Table, format_interval, format_number, listed
from rnnlab.runs.results import Arm, Claim, Results
from rnnlab.stats import estimates
from rnnlab.stats.estimates import Interval
from rnnlab.stats.paired import holm, success_difference

LEVEL = 0.05  # of a test
FEWEST = 4  # trials: the range of three covers a median with 75 % alone
COLUMNS = ("claim", "source", "expected", "measured", "verdict")
WORDS = {True: "met", False: "not met", None: "not judged"}


def published(
    says: str,
    source: str,
    figure: str,
    measured: Interval,
    met: bool | None,
    why: str = "",
    shown: Callable[[float], str] = format_number,
) -> Claim:
    """A figure that a paper prints, and what this run measured of the same quantity.

    Args:
      says: what the figure is of, with its unit.
      source: author, year, and the table, figure or section that prints it.
      figure: as printed.
      measured: of the same quantity.
      met: None where the protocols differ.
      why: by what they differ.
      shown: a number of `measured` as text, as in `figure`.

    Raises:
      ValueError: a figure that is not comparable, without a reason.
    """
    if met is None and not why:
        raise ValueError(f"{says!r} is not comparable with {source}: say why")
    ends = "" if math.isnan(measured.low) else f" [{shown(measured.low)}, {shown(measured.high)}]"
    return Claim(says, source, figure, f"{shown(measured.estimate)}{ends}, n = {measured.n}", met, why)


def claims_table(claims: Sequence[Claim]) -> Table:
    """A row a claim."""
    rows = [[c.says, c.source, c.expected, c.measured, _verdict(c)] for c in claims]
    caption = (
        "Expected or published, and measured; in brackets 95 % intervals, of medians of up to five trials their range."
    )
    return Table(caption, COLUMNS, rows)


def _verdict(claim: Claim) -> str:
    return f"{WORDS[claim.met]}: {claim.why}" if claim.why else WORDS[claim.met]


def below(says: str, source: str, measured: Interval, reference: Interval, unit: str = "") -> Claim:
    """`measured` lies below `reference`: met where their intervals are apart, not met where they are the other way."""
    lower, higher = measured.high < reference.low, measured.low > reference.high
    return _apart(says, source, measured, "below", reference, unit, lower, higher)


def above(says: str, source: str, measured: Interval, reference: Interval, unit: str = "") -> Claim:
    """`measured` lies above `reference`, as for `below`."""
    lower, higher = measured.high < reference.low, measured.low > reference.high
    return _apart(says, source, measured, "above", reference, unit, higher, lower)


def _apart(says, source, measured, side, reference, unit, holds, fails) -> Claim:
    met, why = _judged(holds, fails, measured.n, reference.n)
    expected = f"{side} {format_interval(reference)}{unit}"
    return Claim(says, source, expected, f"{format_interval(measured)}{unit}", met, why)


def _judged(holds: bool, fails: bool, *trials: int) -> tuple[bool | None, str]:
    """Whether a claim on intervals is met, and why it is not judged."""
    if min(trials) < FEWEST:
        return None, f"an interval of fewer than {FEWEST} trials tells little"
    return (holds, "") if holds or fails else (None, "the intervals leave it open")


def lower_ranks(pairs: Mapping[str, tuple[Sequence[float], Sequence[float]]], source: str) -> list[Claim]:
    """In each pair the first values lie below the second: exact rank-sum tests (Mann & Whitney 1947), p by Holm 1979.

    A claim is named by its key. No test of fewer than 4 against 4 values, or 3 against 5, can tell anything.
    """
    tests = [
        scipy.stats.mannwhitneyu(low, high, method="exact").pvalue if len(low) and len(high) else math.nan
        for low, high in pairs.values()
    ]
    claims = []
    for (says, (low, high)), p in zip(pairs.items(), holm(tests), strict=True):
        medians = [estimates.median(list(values)) for values in (low, high)]
        told, lower = p < LEVEL, medians[0].estimate < medians[1].estimate
        measured = f"{format_interval(medians[0])}, {len(low)} against {len(high)} trials"
        unknown = "a value is not finite" if len(low) and len(high) else "too few trials of either kind"
        why = "" if told else unknown if math.isnan(p) else f"p {format_number(p, 2)}"
        claims.append(
            Claim(says, source, f"below {format_interval(medians[1])}", measured, lower if told else None, why)
        )
    return claims


def more_learn(says: str, source: str, arm: Arm, other: Arm) -> Claim:
    """More trials of one arm learn than of another, in pairs of one seed (McNemar's exact test)."""
    known = {trial.seed: trial.learned for trial in other.trials}
    pairs = [(trial.learned, known[trial.seed]) for trial in arm.trials if trial.seed in known]
    found = success_difference(*zip(*pairs, strict=True)) if pairs else None
    told = found is not None and found.p < LEVEL
    counts = [f"{of.learned} of {len(of.trials)}" for of in (other, arm)]
    trained = arm.trained and other.trained
    why = "" if told else f"p {format_number(found.p, 2)}" if trained and found else "not trained"
    met = found.difference.estimate > 0 if told and found else None
    return Claim(says, source, f"above {counts[0]} trials", f"{counts[1]} trials", met, why)


def falls_short(arm: Arm, source: str) -> Claim:
    """At initialisation the gradient vanishes before it reaches the lag that the task needs."""
    low, high, lag = _horizon_against_lag(arm)
    met, why = _judged(high < lag, low >= lag, arm.horizon().n)
    return _of_horizon(arm, "the gradient vanishes before the lag that the task needs", source, "below", met, why)


def reaches(arm: Arm, source: str) -> Claim:
    """At initialisation the gradient reaches the lag that the task needs."""
    low, high, lag = _horizon_against_lag(arm)
    met, why = _judged(low >= lag, high < lag, arm.horizon().n)
    return _of_horizon(arm, "the gradient reaches the lag that the task needs", source, "of at least", met, why)


def _horizon_against_lag(arm: Arm, name: str = "h") -> tuple[float, float, float]:
    """Both ends of the initial horizon's interval, and the lag; nan, which compares as false, where there is none."""
    found = arm.horizon("init", name)
    return found.low, found.high, math.nan if arm.needed_lag is None else float(arm.needed_lag)


def _of_horizon(arm: Arm, says: str, source: str, side: str, met: bool | None, why: str) -> Claim:
    if arm.needed_lag is None:
        met, why = None, "the task names no lag"
    expected = f"horizon {side} {'the needed lag' if arm.needed_lag is None else f'{arm.needed_lag:g} steps'}"
    return Claim(f"{arm.name}: {says}", source, expected, f"{format_horizon(arm, 'init', 'h')} steps", met, why)


def learned_where_reached(results: Results, source: str, name: str = "h") -> list[Claim]:
    """For each trained task: the arms that learned in most trials are those whose initial horizon covers its lag.

    Met where every trained arm's intervals tell both, both agree, and there are arms of either kind; not met where one
    arm's intervals disagree.
    """
    claims = []
    for task, arms in results.tasks.items():
        trained = {label: arm for label, arm in arms.items() if arm.trained}
        needed = next(iter(arms.values())).needed_lag
        if needed is None or not trained:
            continue
        kinds, open_ = [], []
        for label, arm in trained.items():
            low, high, lag = _horizon_against_lag(arm, name)
            reached, learned = low >= lag, arm.success.low > 0.5
            if not (reached or high < lag) or not (learned or arm.success.high < 0.5):
                open_.append(label)
            else:
                kinds.append((reached, learned))
        reaching = [label for label, arm in trained.items() if arm.horizon("init", name).estimate >= needed]
        most = [label for label, arm in trained.items() if 2 * arm.learned > len(arm.trials)]
        against = any(reached != learned for reached, learned in kinds)
        met = False if against else True if not open_ and len(set(kinds)) == 2 else None
        why = "" if met is not None else f"left open by the intervals of {listed(open_)}" if open_ else "all arms agree"
        says = f"{task}: learned where the initial horizon of dL/d{name} covers lag {needed}"
        claims.append(Claim(says, source, ", ".join(reaching) or "none", ", ".join(most) or "none", met, why))
    return claims


def does_not_decay(arm: Arm, source: str) -> Claim:
    """The cell path keeps a gradient at full strength: its rate is 0 in every trial."""
    name = arm.cell_path or "h cell path"  # along which nothing flows: a rate of -inf
    found = (trial.horizon("init", name) for trial in arm.trials)
    rates = [horizon.decay_rate for horizon in found if horizon is not None]
    says = f"{arm.task}: {arm.label}: the cell path does not decay"
    met = bool(np.max(np.abs(rates)) < 1e-6) if rates else None  # np.max: a nan counts
    why = "" if rates else "its gradient was not measured"
    return Claim(says, source, "0 nats/step", f"{estimates.mean(rates).estimate:.2g}", met, why)


def most_learn(arm: Arm, source: str, learn: bool = True) -> Claim:
    """More than half of the trials meet the stop rule, or (`learn` false) fewer, by the interval of their share."""
    rate = arm.success
    met = None if not arm.trained else True if rate.low > 0.5 else False if rate.high < 0.5 else None
    why = "not trained" if not arm.trained else "the interval leaves it open" if met is None else ""
    says = f"{arm.task}: {arm.label}: most trials {'' if learn else 'do not '}learn"
    expected = f"a rate {'above' if learn else 'below'} 0.5, with its 95 % interval"
    return Claim(says, source, expected, format_interval(rate), met if learn or met is None else not met, why)
