"""What varies: dicts {name: {dotted path: value}}. Unions are Python's `|`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

Settings = Mapping[str, Any]


def product(*axes: Mapping[str, Settings]) -> dict[str, dict[str, Any]]:
    """Every combination of named settings, one from each axis, named `A/B`; a later axis wins where two set a path."""
    found = {}
    for combination in itertools.product(*(axis.items() for axis in axes)):
        settings: dict[str, Any] = {}
        for _, values in combination:
            settings |= values
        found["/".join(name for name, _ in combination)] = settings
    return found
