"""The step of a time index: what lies between two rows, and which rows are missing."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

WORDS = {"YS": "year", "YE": "year", "QS": "quarter", "QE": "quarter", "MS": "month", "ME": "month",
         "D": "day", "h": "hour", "min": "minute", "s": "second"}  # fmt: skip
PERIODS = {"quarter": 4, "month": 12, "week": 52, "day": 7, "hour": 24, "30 minutes": 48, "15 minutes": 96}
CALENDAR = (("MS", 28, 31), ("ME", 28, 31), ("QS", 90, 92), ("QE", 90, 92), ("YS", 365, 366), ("YE", 365, 366))
DAY = 86_400  # seconds
COMMON = 0.5  # the share of gaps that the step has at least, where some rows are missing


class Step(NamedTuple):
    """What lies between two rows."""

    words: str  # `business day`, `30 minutes`; `row` where steps are uneven
    offset: str | None  # as pandas writes it; None where steps are uneven

    @property
    def periods(self) -> tuple[int, ...]:
        """The seasonal period, in steps, that such a step suggests; none for years and business days."""
        return (PERIODS[self.words],) if self.words in PERIODS else ()


UNEVEN = Step("row", None)


def step_of(time: np.ndarray) -> Step:
    """The step of a rising index [n] of datetime64[s], of which rows may be missing.

    Weekdays without weekends are business days, of which holidays may be missing. Else the step is calendar months,
    quarters or years where every row lies on one, or the most frequent difference where at least half are equal to it
    and all others are multiples of it.
    """
    gaps = np.diff(time.astype("datetime64[s]").astype(np.int64))
    if not len(gaps):
        return UNEVEN
    if _business_days(time, gaps):
        return Step("business day", "B")
    for offset, least, most in CALENDAR:
        if least <= np.min(gaps) / DAY <= most + 0.04 and _on_calendar(time, offset):
            return Step(WORDS[offset], offset)
    sizes, counts = np.unique(gaps, return_counts=True)
    size = int(sizes[np.argmax(counts)])
    if counts.max() < COMMON * len(gaps) or np.any(gaps % size):
        return UNEVEN
    return _of_seconds(size, time)


def whole(time: np.ndarray, step: Step) -> np.ndarray:
    """The index with its missing rows, [m >= n]; business days stay as they are, since holidays are none of them."""
    if step.offset in (None, "B"):
        return time
    import pandas as pd  # here: it takes a second to import

    return np.asarray(pd.date_range(time[0], time[-1], freq=step.offset).values, "datetime64[s]")


def _business_days(time: np.ndarray, gaps: np.ndarray) -> bool:
    """Whole days, none of a weekend, most of them one day apart, and no week without any."""
    days = time.astype("datetime64[D]")
    weekday = (days.astype(np.int64) + 3) % 7  # Monday is 0
    enough = len(time) >= 5 and np.mean(gaps == DAY) > COMMON
    return bool(enough and np.all(time == days) and np.all(weekday < 5) and np.any(gaps == 3 * DAY))


def _on_calendar(time: np.ndarray, offset: str) -> bool:
    days, months = time.astype("datetime64[D]"), time.astype("datetime64[M]")
    if np.any(time != days):
        return False
    first = days == months.astype("datetime64[D]")
    last = days == (months + 1).astype("datetime64[D]") - 1
    month = months.astype(np.int64) % 12  # January is 0
    every = {
        "M": month >= 0,
        "Q": month % 3 == (2 if offset == "QE" else 0),
        "Y": month == (11 if offset == "YE" else 0),
    }
    return bool(np.all(every[offset[0]] & (last if offset[1] == "E" else first)))


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

    following = pd.date_range(last, periods=steps + 1, freq=step.offset)
    following = following[following > pd.Timestamp(last)][:steps]
    return np.asarray(following.values, "datetime64[s]")
