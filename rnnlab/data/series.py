"""A series of numbers in time, and what is known of it."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from rnnlab.specs.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class Series:
    """Values at n steps, without gaps: where one is missing the last known value stands, and `observed` is false.

    Attributes:
      name: of the series, as in `sp500`.
      values: [n].
      observed: [n], whether a value was measured; others count in no loss and no score.
      covariates: [n, C], other columns at the same steps, filled likewise.
      covariate_names: C of them.
      time: [n] of datetime64[s], or finer where the times are; None where nothing tells it.
      step: what lies between two values, in words: `business day`, `week`, `30 minutes`; `row` without a time.
      offset: the same as pandas writes it, as in `B`, or `months=3`; None without a time, or where steps are uneven.
      periods: seasonal periods in steps, the shortest first; none where there is none.
      unit: of the values.
      source: who measured it, and what it was read from.
      licence: of the data.
      repairs: what was wrong and what was done about it, a line each.
      sha256: of what was read, as `rnnlab.data.card.digest` gives it.
    """

    name: str
    values: Float[np.ndarray, " n"]
    observed: Bool[np.ndarray, " n"]
    covariates: Float[np.ndarray, "n C"]
    covariate_names: tuple[str, ...]
    time: np.ndarray | None
    step: str
    offset: str | None
    periods: tuple[int, ...]
    unit: str
    source: str
    licence: str
    repairs: tuple[str, ...]
    sha256: str

    def __len__(self) -> int:
        return len(self.values)

    def until(self, rows: int) -> Series:
        """The first so many rows."""
        first = slice(rows)
        time = None if self.time is None else self.time[first]
        cut = {name: getattr(self, name)[first] for name in ("values", "observed", "covariates")}
        return dataclasses.replace(self, **cut, time=time)

    def when(self, row: int) -> str:
        """A step's time, or its number, counted from 1, where there is none."""
        if self.time is None:
            return f"value {row + 1:,}"
        text = str(self.time[row]).replace("T", " ")
        return text.removesuffix(" 00:00:00") if text.endswith(" 00:00:00") else text.removesuffix(":00")


def filled(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """NaN replaced by the last number before it, never by a later one. The first value must be a number."""
    last = np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(len(values))))
    return values[last]


def needs_extra(error: ImportError) -> UserError:
    """What to do where a library of the extra is not installed."""
    return UserError(f'{error.name or error}: not installed; it comes with pip install "rnnlab[data]"')
