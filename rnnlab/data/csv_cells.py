"""Cells of text as numbers and as times."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from rnnlab.data.csv_table import CsvTable, listed_rows
from rnnlab.data.series import needs_extra
from rnnlab.specs.errors import UserError

MISSING = {"", "na", "n/a", "nan", "null", "none", "nil", "-", "--", ".", "?", "#n/a"}
MOST_TEXT = 0.1  # the share of cells that may be text in a column of numbers
HUGE = 1e30  # beyond it squares overflow float32
FORMATS = ("ISO8601", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%d.%m.%Y", "%d-%m-%Y", "%Y/%m/%d", "%Y.%m.%d",
           "%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%b %Y", "%B %Y", "%d %B %Y", "%m/%Y")  # fmt: skip
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p")
OFFSET = re.compile(r"[T ]\d\d:?\d\d(?::?\d\d(?:[.,]\d+)?)? ?(Z|[+-]\d\d:?(?:\d\d)?)$")
YEAR = re.compile(r"[12]\d{3}(\.0)?")
TIMES = ("date", "time", "day", "month", "year", "week", "timestamp", "period", "ds")  # what such a column is named


class Numbers(NamedTuple):
    """A column as numbers [n], nan where there is none, and what was done."""

    values: Float[np.ndarray, " n"]
    repairs: list[str]
    text: list[int]  # places of cells that are neither a number nor empty


def numbers(table: CsvTable, name: str, cells: Sequence[str]) -> Numbers:
    """Numbers with a decimal point, or a decimal comma in files parted by other marks; currency and % are left out.

    What is no number, infinite, or above 1e30 in size is taken as missing, and said.
    """
    bare = [re.sub(r"^([-+]?)[$€£¥]\s?|\s?%$", r"\1", cell).replace("\N{MINUS SIGN}", "-") for cell in cells]
    comma = table.separator != "," and not any("." in cell for cell in bare if re.match(r"[-+\d]", cell))
    values, text = np.full(len(cells), np.nan), []
    for place, cell in enumerate(bare):
        if cell.lower() in MISSING:
            continue
        found = cell.replace(",", ".") if comma else cell
        if re.fullmatch(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?", found):
            found = found.replace(",", "")
        try:
            values[place] = float(found.replace("_", "x"))
        except ValueError:
            text.append(place)
    repairs = []
    if text:
        shown, rows = cells[text[0]][:20], [table.rows[place] for place in text]
        repairs.append(f"{name}: text in {listed_rows(rows)}, as in {shown!r}: taken as missing")
    large = np.abs(values) > HUGE
    if large.any():
        rows = [table.rows[place] for place in np.flatnonzero(large)]
        repairs.append(f"{name}: infinite or beyond {HUGE:g} in {listed_rows(rows)}: taken as missing")
        values[large] = np.nan
    return Numbers(values, repairs, text)


def is_numeric(table: CsvTable, cells: Sequence[str]) -> bool:
    """Whether a column is one of numbers, a few cells of text aside."""
    found = numbers(table, "", cells)
    return bool(np.isfinite(found.values).any()) and len(found.text) <= MOST_TEXT * len(cells)


def looks_like_time(name: str, cells: Sequence[str]) -> bool:
    """Whether the first cells of a column, and the last, are times; bare years only where its name says so."""
    few = [*cells[:20], *cells[-5:]]
    if all(re.fullmatch(r"[-+]?\d*\.?\d*", cell) for cell in few):
        named = any(part in TIMES for part in re.split(r"[^a-z]+", name.lower()))
        return named and (all(YEAR.fullmatch(c) for c in few) or all(re.fullmatch(r"[12]\d{7}", c) for c in few))
    return any(_parsed(few, form) is not None for form in _forms())


def times(table: CsvTable, name: str, cells: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Times [n] of datetime64[s] and what was done. Raises UserError for the first that is none."""
    if all(YEAR.fullmatch(cell) for cell in cells):
        return np.array([f"{int(float(cell)):04d}-01-01" for cell in cells], "datetime64[s]"), []
    fitting = {form: found for form in _forms() if (found := _parsed(cells, form)) is not None}
    if not fitting:
        raise UserError(_unparsed(table, name, cells))
    rising = {form: found for form, found in fitting.items() if _one_way(found)}
    chosen = rising if rising else fitting
    first, *others = chosen.items()
    if any(not np.array_equal(first[1], found) for _, found in others):
        told = f"{table.path}: {name}={cells[0]} may be month/day or day/month: write dates as YYYY-MM-DD"
        raise UserError(told)
    zones = {found[1] for cell in cells if (found := OFFSET.search(cell))}
    repairs = [f"{name}: {len(zones)} offsets from UTC ({', '.join(sorted(zones)[:3])}): read as UTC"] * (
        len(zones) > 1
    )
    return first[1], repairs


def _forms() -> list[str]:
    return [FORMATS[0], *(form + clock for form in FORMATS[1:] for clock in CLOCKS)]


def _parsed(cells: Sequence[str], form: str) -> np.ndarray | None:
    """Times in this form, in UTC where offsets are given; None unless all are."""
    try:
        import pandas as pd  # here: it takes a second to import
    except ImportError as error:
        raise needs_extra(error) from error
    try:
        found = pd.to_datetime(list(cells), format=form, utc=True)
    except (ValueError, OverflowError):
        return None
    return None if found.isna().any() else np.asarray(found.tz_localize(None).values, "datetime64[s]")


def _one_way(time: np.ndarray) -> bool:
    """Whether it rises throughout, or falls."""
    gaps = np.diff(time).astype(np.int64)
    return bool(np.all(gaps >= 0) or np.all(gaps <= 0))


def _unparsed(table: CsvTable, name: str, cells: Sequence[str]) -> str:
    """Of the form that fits most cells, the first that it does not fit."""
    wrong = {form: [place for place, cell in enumerate(cells) if _parsed([cell], form) is None] for form in FORMATS[:8]}
    places = min(wrong.values(), key=len)
    place = places[0] if places else 0
    more = f", nor do {len(places) - 1:,} others" if len(places) > 1 else ""
    told = f"{table.path}, row {table.rows[place]}: {name}={cells[place][:40]!r} is no time"
    return f"{told} (as YYYY-MM-DD or YYYY-MM-DD HH:MM is){more}"
