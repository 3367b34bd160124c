"""The step of a time index: what lies between two rows, and which rows are missing."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

WORDS = {"D": "day", "h": "hour", "min": "minute", "s": "second"}
PERIODS = {"quarter": 4, "month": 12, "week": 52, "day": 7, "hour": 24, "30 minutes": 48, "15 minutes": 96}
CALENDAR = {1: "month", 3: "quarter", 12: "year"}  # months
DAY = 86_400  # seconds
COMMON = 0.5  # the share of gaps that the step has at least, where some rows are missing
MOST_MISSING = 0.5  # of the rows of an even index


class Step(NamedTuple):
    """What lies between two rows."""

    words: str  # `business day`, `30 minutes`; `row` where steps are uneven
    offset: str | None  # as pandas writes it, or `months=3` (on one day of the month); None where steps are uneven

    @property
    def periods(self) -> tuple[int, ...]:
        """The seasonal period, in steps, that such a step suggests; none for years and business days."""
        return (PERIODS[self.words],) if self.words in PERIODS else ()


UNEVEN = Step("row", None)


def step_of(time: np.ndarray) -> Step:
    """The step of a rising index [n] of datetime64[s], of which rows may be missing.

    Weekdays without weekends are business days, of which holidays may be missing. Else the step is calendar months,
    quarters or years where every row lies on one day of the month, or on its last, or the most frequent difference
    where at least half are equal to it and all others are multiples of it. Where over half the rows would be missing,
    or times are finer than a second, steps are uneven.
    """
    if is_fine(time):
        return UNEVEN
    gaps = np.diff(time.astype("datetime64[s]").astype(np.int64))
    if not len(gaps):
        return UNEVEN
    if _business_days(time, gaps):
        return Step("business day", "B")
    if step := _calendar(time):
        return step
    sizes, counts = np.unique(gaps, return_counts=True)
    size = int(sizes[np.argmax(counts)])
    if counts.max() < COMMON * len(gaps) or np.any(gaps % size) or _sparse(gaps // size):
        return UNEVEN
    return _of_seconds(size, time)


def whole(time: np.ndarray, step: Step) -> np.ndarray:
    """The index with its missing rows, [m >= n]; business days stay as they are, since holidays are none of them."""
    if step.offset in (None, "B"):
        return time
    import pandas as pd  # here: it takes a second to import

    return np.asarray(pd.date_range(time[0], time[-1], freq=_frequency(step)).values, "datetime64[s]")


def is_fine(time: np.ndarray) -> bool:
    """Whether times are finer than a second."""
    return bool(np.any(time != time.astype("datetime64[s]")))


def _business_days(time: np.ndarray, gaps: np.ndarray) -> bool:
    """Whole days, none of a weekend, most of them one day apart, some over a weekend."""
    days = time.astype("datetime64[D]")
    weekday = (days.astype(np.int64) + 3) % 7  # Monday is 0
    enough = len(time) >= 5 and np.mean(gaps == DAY) > COMMON
    return bool(enough and np.all(time == days) and np.all(weekday < 5) and np.any(gaps == 3 * DAY))


def _calendar(time: np.ndarray) -> Step | None:
    days, months = time.astype("datetime64[D]"), time.astype("datetime64[M]")
    steps = np.diff(months).astype(np.int64)
    size = int(steps.min())
    if size not in CALENDAR or np.any(steps % size) or np.any(time != days) or _sparse(steps // size):
        return None
    day = (days - months).astype(np.int64)  # 0 is the first
    number = "" if size == 1 else size
    if np.all(days == (months + 1).astype("datetime64[D]") - 1):
        return Step(CALENDAR[size], f"{number}ME")
    if np.any(day != day[0]) or day[0] > 27:
        return None
    return Step(CALENDAR[size], f"months={size}" if day[0] else f"{number}MS")


def _sparse(steps: np.ndarray) -> bool:
    """Whether over half the rows are missing, of rows so many steps apart."""
    return bool(len(steps) + 1 < (1 - MOST_MISSING) * (steps.sum() + 1))


def _of_seconds(size: int, time: np.ndarray) -> Step:
    unit, seconds = next((u, n) for u, n in (("D", DAY), ("h", 3600), ("min", 60), ("s", 1)) if size % n == 0)
    number = size // seconds
    if unit == "D" and number % 7 == 0:
        weekday = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")[
            int(time[0].astype("datetime64[D]").astype(int) + 3) % 7
        ]
        weeks = number // 7
        clock = time[0] != time[0].astype("datetime64[D]")
        offset = f"{number}D" if clock or weeks > 1 else f"W-{weekday}"
        return Step("week" if weeks == 1 else f"{weeks} weeks", offset)
    return Step(WORDS[unit] if number == 1 else f"{number} {WORDS[unit]}s", unit if number == 1 else f"{number}{unit}")


def later(last: Any, step: Step, steps: int) -> np.ndarray:
    """The `steps` times that follow `last`, of datetime64[s]. Business days have no holidays."""
    import pandas as pd

    following = pd.date_range(last, periods=steps + 1, freq=_frequency(step))
    following = following[following > pd.Timestamp(last)][:steps]
    return np.asarray(following.values, "datetime64[s]")


def _frequency(step: Step) -> Any:
    """As pandas takes it."""
    import pandas as pd

    name, _, months = (step.offset or "").partition("=")
    return pd.DateOffset(months=int(months)) if months else name
