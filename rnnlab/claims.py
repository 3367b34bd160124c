"""What was expected beside what was measured, and whether it holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rnnlab.tables import Table

WORDS = {True: "met", False: "NOT met", None: "not judged"}


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
