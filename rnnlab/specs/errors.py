"""Errors that a program reports in one line and without a traceback, and the hint at the nearest right answer."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MANY = 12  # names that one line may list


class UserError(ValueError):
    """Something that a user gave cannot be used: one line that names it and the nearest right answer."""


class Undefined(UserError, TypeError):
    """What was asked for is not there to be measured, as gates of a cell without gates: a run goes on without it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`; the nearest is X`, or the whole list where nothing is near."""
    known = sorted(known)
    lower = {k.lower(): k for k in reversed(known)}
    found = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    if found:
        return f"; the nearest is {lower[found[0]]}"
    return f"; there is {', '.join(known) or 'none'}" if len(known) <= MANY else "; --help lists those that there are"
