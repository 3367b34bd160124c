"""What was expected, or published, beside what was measured, and whether it holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rnnlab.reports.tables import Table, format_number
from rnnlab.runs.results import Claim
from rnnlab.stats.estimates import Interval

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
    return Table(caption, ["claim", "source", "expected", "measured", "verdict"], rows)


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
