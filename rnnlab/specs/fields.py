"""Range checks for frozen specs. The error is one line: the field, its value, and what would be right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chz

Number = int | float
INFINITY = float("inf")


def between(low: Number, high: Number = INFINITY, *, exclusive: bool = False) -> Callable[[Any, str], None]:
    """A chz validator: low <= value <= high (low < value if `exclusive`); None passes."""

    def check(self: Any, field: str) -> None:
        value = getattr(self, field)
        if value is None or (low < value <= high) or (value == low and not exclusive):
            return
        bound = f"above {_whole(low)}" if exclusive else f"at least {_whole(low)}"
        top = "" if high == INFINITY else f" and at most {_whole(high)}"
        raise ValueError(f"{field.removeprefix('X_')}={value}: must be {bound}{top}")

    return check


def field(default: Any, doc: str, low: Number | None = None, high: Number = INFINITY, *, above: Number | None = None):
    """A documented chz field whose value lies in [low, high], or in (above, high]."""
    validator = None
    if above is not None:
        validator = between(above, high, exclusive=True)
    elif low is not None:
        validator = between(low, high)
    return chz.field(default=default, doc=doc, validator=validator)


def _whole(bound: Number) -> str:
    """All digits of a whole number."""
    return str(bound) if isinstance(bound, int) else f"{bound:g}"
