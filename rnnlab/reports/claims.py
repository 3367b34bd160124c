"""What was expected, or published, beside what was measured, and whether it holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rnnlab.reports.tables import Table, format_number
from rnnlab.stats.estimates import Interval

WORDS = {True: "met", False: "not met", None: "not judged"}


class Claim(NamedTuple):
    """One expectation, stated before the run, and what the run says of it."""

    says: str
    source: str  # author, year, section; or the closed form
    expected: str
    measured: str
    met: bool | None  # None: not judged, since this run cannot tell


def claims_table(claims: Sequence[Claim]) -> Table:
    """A row a claim."""
    rows = [[c.says, c.source, c.expected, c.measured, WORDS[c.met]] for c in claims]
    return Table("Expected and measured.", ["claim", "source", "expected", "measured", "verdict"], rows)


class Published(NamedTuple):
    """A figure that a paper prints, and what this run measured of the same quantity."""

    says: str  # what the figure is of, with its unit
    source: str  # author, year, and the table, figure or section that prints it
    published: str
    measured: Interval
    met: bool | None  # None: not comparable, and `why` says by what the protocols differ
    why: str = ""
    shown: Callable[[float], str] = format_number  # a number of `measured` as text, as in `published`


def published_table(figures: Sequence[Published]) -> Table:
    """A row a figure; the verdict is met, not met, or not comparable with its reason.

    Raises:
      ValueError: a figure that is not comparable, without a reason.
    """
    rows = []
    for figure in figures:
        if figure.met is None and not figure.why:
            raise ValueError(f"{figure.says!r} is not comparable with {figure.source}: say why")
        word = "not comparable" if figure.met is None else WORDS[figure.met]
        estimate, low, high, n = figure.measured
        ends = "none" if math.isnan(low) else f"[{figure.shown(low)}, {figure.shown(high)}]"
        verdict = f"{word}: {figure.why}" if figure.why else word
        rows.append([figure.says, figure.source, figure.published, figure.shown(estimate), str(n), ends, verdict])
    columns = ["claim", "source", "published", "measured", "n", "interval", "verdict"]
    return Table("Published and measured; intervals are of 95 %.", columns, rows)


def summary(claims: Sequence[Claim]) -> str:
    """One sentence: how many hold, and which do not."""
    judged = [c for c in claims if c.met is not None]
    if not judged:
        return "no expectation is judged."
    said = f"{sum(c.met for c in judged)} of {len(judged)} expectations are met"
    failed = [f"{c.says} (expected {c.expected}, measured {c.measured})" for c in judged if not c.met]
    open_ = len(claims) - len(judged)
    said += f"; not met: {'; '.join(failed)}" if failed else ""
    return said + (f"; {open_} are not judged." if open_ else ".")
