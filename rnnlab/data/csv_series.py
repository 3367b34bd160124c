"""A series out of a user's own file."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.data.card import digest
from rnnlab.data.csv_cells import MOST_TEXT, is_named_time, is_numeric, numbers, numbers_or_text, share_of_times, times
from rnnlab.data.csv_table import CsvTable, listed_rows, read_table
from rnnlab.data.series import Series, filled
from rnnlab.data.time_index import MOST_MISSING, UNEVEN, is_fine, step_of, whole
from rnnlab.specs.errors import UserError

FEWEST = 20  # values of a series


def csv_series(
    path: str | Path, column: str | None = None, time: str | None = None, covariates: Sequence[str] = ()
) -> Series:
    """The series in a column of a file, at even steps; what is wrong in it is mended, and said, or refused.

    Rows are put in the order of their times; of two rows of one time the later one of the file is kept; rows that a
    regular index lacks are put in as missing. A missing value is the last known one from then on, and counts in no
    loss or score.

    Args:
      path: of the file, in UTF-8, with a header.
      column: the values; left out, the only column of numbers.
      time: their times; left out, the only column that holds times, if there is one.
      covariates: further columns of numbers.

    Raises:
      UserError: one line that names the file, the row (the header is row 1) and what would be right.
    """
    try:
        state = Path(path).stat()
        version = state.st_mtime_ns, state.st_size
    except OSError:
        version = 0, 0
    return _read(str(path), column, time, tuple(covariates), version)


@functools.lru_cache(maxsize=8)
def _read(path, column, time, covariates, version) -> Series:
    table = read_table(path)
    time = time or _time_column(table, {column, *covariates})
    column = column or _value_column(table, {time, *covariates})
    if column in covariates:
        raise UserError(f"{path}: covariates={column}: is the column that is forecast")
    repairs = list(table.repairs)
    columns = []
    for name, setting in [(column, "column"), *((name, "covariates") for name in covariates)]:
        found = numbers(table, name, table.column(name, setting))
        if len(found.text) > MOST_TEXT * len(table.rows):
            shown = table.column(name, setting)[found.text[0]][:30]
            row = table.rows[found.text[0]]
            raise UserError(
                f"{path}, row {row}: {setting}={name} holds text, as in {shown!r}, where numbers are needed"
            )
        columns.append(found.values)
        repairs += found.repairs
    data = _Rows(np.array(columns).T, None, np.array(table.rows))
    if time is None:
        repairs.append("no column of times: each row is one step")
    else:
        stamps, told = times(table, time, table.column(time, "time"))
        data = data._replace(time=stamps)
        repairs += told
        data = _in_order(data, time, repairs)
    known = ~np.isnan(data.values)
    known = known[: len(known) - int(np.argmax(known[::-1, 0]))]  # up to the last value of the series
    if empty := [name for name, there in zip(covariates, known[:, 1:].T, strict=True) if not there.any()]:
        raise UserError(f"{path}: covariates={empty[0]}: holds no number before {column} ends")
    data = _trimmed(data, (column, *covariates), repairs)
    step = UNEVEN if data.time is None else step_of(data.time)
    data, step = _with_missing_rows(data, step, repairs)
    _check(path, column, data, repairs)
    mended = np.array([filled(values) for values in data.values.T]).T
    return Series(
        name=f"{Path(path).stem} {column}", values=mended[:, 0], observed=~np.isnan(data.values[:, 0]),
        covariates=mended[:, 1:], covariate_names=covariates, time=data.time, step=step.words, offset=step.offset,
        periods=step.periods, unit=column, source=f"column {column} of {path}", licence="the user's own",
        repairs=tuple(repairs), sha256=digest(table.content),
    )  # fmt: skip


class _Rows(NamedTuple):
    values: np.ndarray  # [n, 1 + C]
    time: np.ndarray | None  # [n]
    row: np.ndarray  # of the file, [n]; 0: put in


def _time_column(table: CsvTable, taken: set[str | None]) -> str | None:
    columns = zip(table.header, zip(*table.cells, strict=True), strict=True)
    shares = [(name, share_of_times(name, cells)) for name, cells in columns if name not in taken]
    found = [name for name, share in shares if share > 0.5]
    found = found or [name for name, share in shares if share and is_named_time(name)]
    if len(found) > 1:
        raise UserError(
            f"{table.path}: columns {' and '.join(found)} both hold times: choose one, as in task.time={found[0]}"
        )
    return found[0] if found else None


def _value_column(table: CsvTable, taken: set[str | None]) -> str:
    columns = zip(table.header, zip(*table.cells, strict=True), strict=True)
    found = [name for name, cells in columns if name.strip() and name not in taken and is_numeric(table, cells)]
    if doubled := [name for name in found if table.header.count(name) > 1]:
        raise UserError(f"{table.path}: {doubled[0]} names {table.header.count(doubled[0])} columns: rename one")
    if len(found) > 1:
        told = f"columns of numbers are {', '.join(found)}"
        raise UserError(f"{table.path}: {told}: choose one, as in task.column={found[0]}")
    if not found:
        raise UserError(f"{table.path}: no column holds numbers{_nearly_numbers(table, taken)}")
    return found[0]


def _nearly_numbers(table: CsvTable, taken: set[str | None]) -> str:
    """Of a column that is half numbers at least, how much of it is text."""
    for name, cells in zip(table.header, zip(*table.cells, strict=True), strict=True):
        text = numbers_or_text(table, cells)
        if name not in taken and text and 2 * len(text) < len(cells):
            shown, row = cells[text[0]][:30], table.rows[text[0]]
            share = f"{len(text) / len(cells):.0%} of {name} is text, as in row {row}, {shown!r}"
            return f": {share}; at most {MOST_TEXT:.0%} may be"
    return ""


def _in_order(data: _Rows, name: str, repairs: list[str]) -> _Rows:
    """By time, one row each: of two the later one of the file."""
    gaps = np.diff(data.time).astype(np.int64)
    if np.any(gaps < 0):
        if np.all(gaps <= 0):
            repairs.append(f"{name}: rows run from the latest to the earliest: turned round")
        else:
            back = data.row[1:][gaps < 0].tolist()
            repairs.append(f"{name}: {listed_rows(back)} earlier than the row before: rows put in order")
    order = np.argsort(data.time, kind="stable")
    data = _Rows(*(part[order] for part in data))
    last = np.append(np.diff(data.time).astype(np.int64) > 0, True)
    if not last.all():
        rows = data.row[~last].tolist()
        repairs.append(f"{name}: {listed_rows(rows)} with the time of a later row: the later one is kept")
    return _Rows(*(part[last] for part in data))


def _trimmed(data: _Rows, names: Sequence[str], repairs: list[str]) -> _Rows:
    """From the first value of the series at which every covariate has had one, to the last value of the series."""
    values = np.array([data.values[:, 0], *map(filled, data.values[:, 1:].T)]).T
    there = ~np.isnan(values)
    if not there.all(axis=1).any():
        return data
    late = int(np.argmax(np.argmax(there, axis=0)))
    first, last = int(np.argmax(there.all(axis=1))), len(there) - 1 - int(np.argmax(there[::-1, 0]))
    for rows, name, where in ((first, names[late], "first"), (len(there) - 1 - last, names[0], "last")):
        if rows:
            repairs.append(f"the {where} {f'{rows:,} rows' if rows > 1 else 'row'} without a value of {name}: left out")
    return _Rows(*(None if part is None else part[first : last + 1] for part in data._replace(values=values)))


def _with_missing_rows(data: _Rows, step, repairs: list[str]):
    if data.time is None:
        return data, step
    if step is UNEVEN:
        told = "times are finer than a second" if is_fine(data.time) else "steps in time are uneven"
        repairs.append(f"{told}: each row is one step, and forecasts have no times")
        return data, step
    if step.offset == "B" and len(wide := np.flatnonzero(np.diff(data.time) > np.timedelta64(7, "D"))):
        some = f"{len(wide):,} gaps" if len(wide) > 1 else "1 gap"
        repairs.append(f"{some} of more than 7 days (the first after row {data.row[wide[0]]:,}): left as they are")
    index = whole(data.time, step)
    if len(index) == len(data.time):
        return data, step
    places = np.searchsorted(index, data.time)
    values = np.full((len(index), data.values.shape[1]), np.nan)
    rows = np.zeros(len(index), np.int64)
    values[places], rows[places] = data.values, data.row
    missing = len(index) - len(data.time)
    after = data.row[np.flatnonzero(np.diff(places) > 1)[0]]
    some = f"{missing:,} rows are" if missing > 1 else "1 row is"
    repairs.append(f"{some} missing of one a {step.words} (the first after row {after:,}): put in without a value")
    return _Rows(values, index, rows), step


def _check(path: str, column: str, data: _Rows, repairs: list[str]) -> None:
    values = data.values[:, 0]
    missing = np.isnan(values)
    there = int((~missing).sum())
    if there < FEWEST:
        raise UserError(f"{path}: column={column} holds {there} values: a series needs at least {FEWEST}")
    if missing.mean() > MOST_MISSING:
        raise UserError(
            f"{path}: {missing.mean():.0%} of column={column} are missing: at most {MOST_MISSING:.0%} may be"
        )
    if np.ptp(values[~missing]) == 0:
        raise UserError(
            f"{path}: every value of column={column} is {values[~missing][0]:g}: there is nothing to forecast"
        )
    if missing.any():
        edges = np.flatnonzero(np.diff(np.concatenate([[0], missing, [0]])))
        starts, lengths = edges[::2], edges[1::2] - edges[::2]
        longest = int(np.argmax(lengths))
        before = data.row[starts[longest] - 1]
        plural = "s" if missing.sum() > 1 else ""
        repairs.append(
            f"{column}: {missing.sum():,} missing value{plural} (the longest run: {lengths[longest]:,}, after row "
            f"{before:,}): filled by the last known one, not scored"
        )
