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
OFFSET = re.compile(r"[T ]\d\d(?::?\d\d(?::?\d\d(?:[.,]\d+)?)?)? ?(Z|[+-]\d\d:?(?:\d\d)?)$")
YEAR = re.compile(r"[12]\d{3}(\.0)?")
QUARTER = re.compile(r"([12]\d{3})[- ]?[Qq]([1-4])")
TIMES = ("date", "time", "day", "month", "year", "week", "timestamp", "period", "ds")  # what such a column is named


class Numbers(NamedTuple):
    """A column as numbers [n], nan where there is none, and what was done."""

    values: Float[np.ndarray, " n"]
    repairs: list[str]
    text: list[int]  # places of cells that are neither a number nor empty


def numbers(table: CsvTable, name: str, cells: Sequence[str]) -> Numbers:
    """Numbers with a decimal point, or a decimal comma in files parted by other marks; currency and % are left out.

    What is no number, infinite, or above 1e30 in size is taken as missing, and said. Raises UserError where no cell
    tells which comma it is.
    """
    values, text, unclear, read = _values(table, cells)
    if unclear is not None:
        told = f"{table.path}, row {table.rows[unclear]}: {name}={cells[unclear]!r} may hold a decimal or a thousands"
        raise UserError(f"{told} comma: write numbers with a decimal point, without thousands commas")
    repairs = [f"{name}: read as with {' and '.join(read)}"] if read else []
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
    values, text, *_ = _values(table, cells)
    return bool(np.isfinite(values).any()) and len(text) <= MOST_TEXT * len(cells)


def numbers_or_text(table: CsvTable, cells: Sequence[str]) -> list[int]:
    """Places of cells that are neither a number nor empty."""
    return _values(table, cells).text


class _Values(NamedTuple):
    numbers: Float[np.ndarray, " n"]
    text: list[int]  # places
    unclear: int | None  # the first place of a comma where all may be decimal or thousands commas
    read: list[str]  # what was taken for parts of a number


def _values(table: CsvTable, cells: Sequence[str]) -> _Values:
    bare = [re.sub(r"^([-+]?)[$€£¥]\s?|\s?%$", r"\1", cell).replace("\N{MINUS SIGN}", "-") for cell in cells]
    comma = table.separator != "," and not any("." in cell for cell in bare if re.match(r"[-+\d]", cell))
    marked = [place for place, cell in enumerate(bare) if comma and re.fullmatch(r"[-+]?[\d,]*,\d*", cell)]
    unclear = None
    if marked and all(re.fullmatch(r"[-+]?[1-9]\d{0,2}(,\d{3})+", bare[place]) for place in marked):
        comma = all(bare[place].count(",") == 1 for place in marked)  # 1,234,567 holds thousands commas
        unclear = marked[0] if comma else None
    values, text, thousands = np.full(len(cells), np.nan), [], False
    for place, cell in enumerate(bare):
        if cell.lower() in MISSING:
            continue
        found = cell.replace(",", ".") if comma else cell
        if re.fullmatch(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?", found):
            found, thousands = found.replace(",", ""), True
        try:
            values[place] = float(found.replace("_", "x"))
        except ValueError:
            text.append(place)
    signs = any(found != cell.replace("\N{MINUS SIGN}", "-") for found, cell in zip(bare, cells, strict=True))
    kinds = {"a decimal comma": comma and marked, "thousands commas": thousands, "signs of currency or %": signs}
    return _Values(values, text, unclear, [kind for kind, there in kinds.items() if there])


def is_named_time(name: str) -> bool:
    """Whether the name of a column says that it holds times."""
    return any(part in TIMES for part in re.split(r"[^a-z]+", name.lower()))


def share_of_times(name: str, cells: Sequence[str]) -> float:
    """The share of times among a column's first and last cells; bare numbers are times only where its name says so."""
    few = [*cells[:20], *cells[-5:]]
    bare = sum(bool(re.fullmatch(r"[-+]?\d*\.?\d*", cell)) for cell in few)
    if 2 * bare > len(few):
        forms = (YEAR, re.compile(r"[12]\d{7}")) if is_named_time(name) else ()
        share = max((sum(bool(form.fullmatch(cell)) for cell in few) for form in forms), default=0) / len(few)
        return share if share >= 1 - MOST_TEXT else 0.0  # a counter may end among years
    quarters = sum(bool(QUARTER.fullmatch(cell)) for cell in few)
    return max(quarters, *(int((~np.isnat(_stamps(few, form))).sum()) for form in _forms())) / len(few)


def times(table: CsvTable, name: str, cells: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Times [n] of datetime64[s] and what was done. Raises UserError for the first that is none."""
    if all(YEAR.fullmatch(cell) for cell in cells):
        return np.array([f"{int(float(cell)):04d}-01-01" for cell in cells], "datetime64[s]"), []
    if all(quarters := [QUARTER.fullmatch(cell) for cell in cells]):
        return np.array([f"{q[1]}-{3 * int(q[2]) - 2:02d}-01" for q in quarters], "datetime64[s]"), []
    fitting = {form: found for form in _forms() if (found := _parsed(cells, form)) is not None}
    if not fitting:
        raise UserError(_unparsed(table, name, cells))
    rising = {form: found for form, found in fitting.items() if _one_way(found)}
    chosen = rising if rising else fitting
    first, *others = chosen.items()
    if any(not np.array_equal(first[1], found) for _, found in others):
        told = f"{table.path}: {name}={cells[0]} may be month/day or day/month: write dates as YYYY-MM-DD"
        raise UserError(told)
    found, told = _local(name, cells, *first)
    order = {form[:5]: words for form, words in (("%m/%d", "month/day"), ("%d/%m", "day/month"))}.get(first[0][:5])
    return found, [f"{name}: read as {order}/year, as no other order fits", *told] if order else told


def _local(name: str, cells: Sequence[str], form: str, utc: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Times without their offsets from UTC where there is but one, or one time of day throughout; else in UTC."""
    zones = [found and found[1] for found in map(OFFSET.search, cells)]
    local = _stamps([cell.removesuffix(zone or "").rstrip() for cell, zone in zip(cells, zones, strict=True)], form)
    if np.array_equal(local, utc):
        return utc, []
    each = sorted({zone or "none" for zone in zones})
    told = f"{name}: {f'{len(each)} offsets' if len(each) > 1 else 'offset'} from UTC ({', '.join(each[:3])})"
    if len(each) == 1 or len(np.unique(local - local.astype("datetime64[D]"))) == 1:
        return local, [f"{told} left out: times are local"]
    return utc, [f"{told}: read as UTC"]


def _forms() -> list[str]:
    return [FORMATS[0], *(form + clock for form in FORMATS[1:] for clock in CLOCKS)]


def _parsed(cells: Sequence[str], form: str) -> np.ndarray | None:
    """Times in this form, as `_stamps` gives them; None unless all are."""
    if np.isnat(_stamps(cells[:20], form)).any():
        return None
    found = _stamps(cells, form)
    return None if np.isnat(found).any() else found


def _stamps(cells: Sequence[str], form: str) -> np.ndarray:
    """Times in this form, in UTC where offsets are given, NaT for others; in seconds, or finer where one cell is."""
    try:
        import pandas as pd  # here: it takes a second to import
    except ImportError as error:
        raise needs_extra(error) from error
    found = pd.to_datetime(list(cells), format=form, utc=True, errors="coerce").tz_localize(None).values
    seconds = np.asarray(found, "datetime64[s]")
    return seconds if np.array_equal(seconds, found, equal_nan=True) else np.asarray(found)


def _one_way(time: np.ndarray) -> bool:
    """Whether it rises throughout, or falls."""
    gaps = np.diff(time).astype(np.int64)
    return bool(np.all(gaps >= 0) or np.all(gaps <= 0))


def _unparsed(table: CsvTable, name: str, cells: Sequence[str]) -> str:
    """Of the form that fits most cells, the first that it does not fit."""
    bare = [cell.removesuffix(".0") for cell in cells]  # of years
    few = {form: int(np.isnat(_stamps([*bare[:20], *bare[-5:]], form)).sum()) for form in _forms()}
    likely = [form for form, count in few.items() if count == min(few.values())]
    wrong = {form: np.flatnonzero(np.isnat(_stamps(bare, form))).tolist() for form in likely}
    places = min(wrong.values(), key=len)
    place = places[0] if places else 0
    more = f", nor do {len(places) - 1:,} others" if len(places) > 1 else ""
    told = f"{table.path}, row {table.rows[place]}: {name}={cells[place][:40]!r} is no time"
    return f"{told} (as YYYY-MM-DD or YYYY-MM-DD HH:MM is){more}"
