"""Training, validation and test parts of a series, in this order of time, and the origins of forecasts in each."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from rnnlab.specs.errors import UserError

MOST_ORIGINS = 40  # at which the test part is forecast


class Parts(NamedTuple):
    """Rows [0, training), [training, validation), [validation, test), of which the last is the series' length.

    An origin is the last row that a forecast reads. All targets of an origin lie within one part; what it reads before
    may lie in the part before.
    """

    training: int
    validation: int
    test: int

    def origins(self, part: str, first: int, horizon: int) -> Int[np.ndarray, " O"]:
        """All origins whose h targets lie in the part; `first` is the first row that has enough rows before it."""
        start, stop = {"training": (0, self.training), "validation": (self.training, self.validation),
                       "test": (self.validation, self.test)}[part]  # fmt: skip
        return np.arange(max(first, start - 1), stop - horizon)

    def told(self, when) -> dict[str, str]:
        """Each part's rows and times in words."""
        ends = {"training": (0, self.training), "validation": (self.training, self.validation),
                "test": (self.validation, self.test)}  # fmt: skip
        return {part: f"{b - a:,} rows, {when(a)} to {when(b - 1)}" for part, (a, b) in ends.items() if b > a}


def split(
    rows: int, validation: float | int, test: float | int, first: int, horizon: int, fold: int = 1, folds: int = 1
) -> Parts:
    """Parts by fractions below 1 or by counts from 1 on; of one fold, where the test part is in several blocks.

    Fold k is tested on block k, and trained and chosen on what is before it; behind its block the series ends.

    Raises:
      UserError: a part has no room for an origin with its targets.
    """
    kept, size = (round(rows * given) if given < 1 else int(given) for given in (validation, test))
    start, stop = (rows - size + round(size * k / folds) for k in (fold - 1, fold))
    parts = Parts(start - kept, start, stop)
    for part in ("training", "validation", "test"):
        if not len(parts.origins(part, first, horizon)):
            have = f"{max(parts.training, 0):,}, {kept:,} and {stop - start:,} rows of training, validation and test"
            needs = f"{first + 1 + horizon:,} of training and {horizon:,} of each other"
            told = f"a series of {rows:,} rows has {have}, where horizon={horizon} needs {needs}"
            raise UserError(f"{told}: a shorter length or horizon{', or fewer folds' * (folds > 1)}?")
    return parts


def spread(
    origins: Int[np.ndarray, " O"], horizon: int, period: int = 1, most: int = MOST_ORIGINS
) -> Int[np.ndarray, " M"]:
    """`most` of them at most, evenly apart, from the last one back; not overlapping where half as many are left so.

    They fall on all phases of a seasonal period alike: what lies between two has no factor with it, or steps ahead and
    hours of the day, say, could not be told apart.
    """
    count = len(origins)
    stride = horizon if count >= horizon * most // 2 else 1
    stride = max(stride, -(-count // most))
    while math.gcd(stride, period) > 1:
        stride += 1
    return origins[::-1][::stride][::-1]
