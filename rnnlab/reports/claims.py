"""What was expected, or published, beside what was measured, and whether it holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rnnlab.reports.arm_columns import format_horizon
from rnnlab.reports.tables import Table, format_interval, format_number
from rnnlab.runs.results import Arm, Claim, Results
from rnnlab.stats import estimates
from rnnlab.stats.estimates import Interval

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
    caption = "Expected or published, and measured; in brackets 95 % intervals."
    return Table(caption, COLUMNS, rows)


def _verdict(claim: Claim) -> str:
    return f"{WORDS[claim.met]}: {claim.why}" if claim.why else WORDS[claim.met]


def summary(claims: Sequence[Claim]) -> str:
    """How many claims hold: `5 of 8 expectations are met; 1 is not judged.`"""
    judged = [claim for claim in claims if claim.met is not None]
    left = len(claims) - len(judged)
    rest = f"; {left} {'is' if left == 1 else 'are'} not judged" if left else ""
    if not judged:
        return "No expectation is judged."
    return f"{sum(bool(claim.met) for claim in judged)} of {len(judged)} expectations are met{rest}."


def below(says: str, source: str, measured: Interval, reference: Interval, unit: str = "") -> Claim:
    """`measured` lies below `reference`, their intervals apart; not judged where either is of one trial or none."""
    return _apart(says, source, measured, "below", reference, unit, measured.high < reference.low)


def above(says: str, source: str, measured: Interval, reference: Interval, unit: str = "") -> Claim:
    """`measured` lies above `reference`, as for `below`."""
    return _apart(says, source, measured, "above", reference, unit, measured.low > reference.high)


def _apart(says, source, measured, side, reference, unit, met) -> Claim:
    several = min(measured.n, reference.n) > 1
    expected = f"{side} {format_interval(reference)}{unit}"
    return Claim(says, source, expected, f"{format_interval(measured)}{unit}", met if several else None)


def falls_short(arm: Arm, source: str) -> Claim:
    """At initialisation the gradient vanishes before it reaches the lag that the task needs."""
    return _horizon_claim(arm, "the gradient vanishes before the lag that the task needs", source, short=True)


def reaches(arm: Arm, source: str) -> Claim:
    """At initialisation the gradient reaches the lag that the task needs."""
    return _horizon_claim(arm, "the gradient reaches the lag that the task needs", source, short=False)


def _horizon_claim(arm: Arm, says: str, source: str, short: bool) -> Claim:
    found = arm.horizon()
    lag = math.inf if arm.needed_lag is None else arm.needed_lag
    ends = [end for end in (found.low, found.high) if not math.isnan(end)] or [found.estimate]
    met = max(ends) < lag if short else min(ends) >= lag
    expected = f"horizon {'below' if short else 'of at least'} {lag:g} steps"
    return Claim(f"{arm.name}: {says}", source, expected, f"{format_horizon(arm, 'init', 'h')} steps", met)


def learned_where_reached(results: Results, source: str, name: str = "h") -> list[Claim]:
    """For each trained task: the arms that learned in most trials are those whose initial horizon covers its lag."""
    claims = []
    for task, arms in results.tasks.items():
        needed = next(iter(arms.values())).needed_lag
        if needed is None or not any(arm.trained for arm in arms.values()):
            continue
        reaching = [label for label, arm in arms.items() if arm.horizon("init", name).estimate >= needed]
        learned = [label for label, arm in arms.items() if 2 * arm.learned > len(arm.trials)]
        says = f"{task}: learned where the initial horizon of dL/d{name} covers lag {needed}"
        claims.append(Claim(says, source, ", ".join(reaching) or "none", ", ".join(learned) or "none",
                            set(learned) == set(reaching)))  # fmt: skip
    return claims


def does_not_decay(arm: Arm, source: str) -> Claim:
    """The cell path keeps a gradient at full strength: its rate is 0 in every trial."""
    rates = arm.each(
        lambda trial: None if (found := trial.horizon("init", "c cell path")) is None else found.decay_rate
    )
    says = f"{arm.task}: {arm.label}: the cell path does not decay"
    return Claim(says, source, "0 nats/step", f"{estimates.mean(rates).estimate:.2g}", max(map(abs, rates)) < 1e-6)


def most_learn(arm: Arm, source: str) -> Claim:
    """More than half of the trials meet the stop rule, by the interval of their share."""
    rate = arm.success
    met = True if rate.low > 0.5 else False if rate.high < 0.5 else None
    says = f"{arm.task}: {arm.label}: most trials learn"
    return Claim(says, source, "a rate above 0.5, with its 95 % interval", format_interval(rate), met)
