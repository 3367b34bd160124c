"""Series that ship inside packages, by name."""

from __future__ import annotations

import ast
import csv
import functools
import gzip
import importlib.util
import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.data.card import digest
from rnnlab.data.series import Series, filled, needs_extra
from rnnlab.data.time_index import Step, step_of
from rnnlab.specs.errors import UserError, nearest


class _Known(NamedTuple):
    read: Callable[[], tuple[np.ndarray, np.ndarray, bytes]]  # times, values, what was read
    periods: tuple[int, ...]
    unit: str
    source: str
    licence: str


@functools.cache
def known_series(name: str) -> Series:
    """The series of this name, read from the package that ships it; nothing is downloaded.

    Raises:
      UserError: there is none of this name, or its package is not installed.
    """
    if name not in KNOWN:
        raise UserError(
            f"series={name}: no such series{nearest(name, KNOWN)}; a file of your own is csv=FILE column=NAME"
        )
    known = KNOWN[name]
    try:
        time, values, content = known.read()
    except ImportError as error:
        raise needs_extra(error) from error
    observed = ~np.isnan(values)
    step = Step("year", "YS") if name == "sunspots" else step_of(time)
    missing = int((~observed).sum())
    repairs = (f"{missing} missing values: filled by the last known one, not scored",) * bool(missing)
    nothing = np.zeros((len(values), 0))
    return Series(
        name, filled(values), observed, nothing, (), time, step.words, step.offset, known.periods, known.unit,
        known.source, known.licence, repairs, digest(content),
    )  # fmt: skip


def _file(package: str, path: str) -> bytes:
    """A file of an installed package, which is not imported: that takes seconds."""
    found = importlib.util.find_spec(package)
    if found is None or not found.origin:
        raise ImportError(name=package)
    content = (Path(found.origin).parent / path).read_bytes()
    return gzip.decompress(content) if path.endswith(".gz") else content


def _column(content: bytes, column: str) -> list[str]:
    return [row[column] for row in csv.DictReader(io.StringIO(content.decode()))]


def _sp500():
    content = _file("arch", "data/sp500/sp500.csv.gz")
    dates = (day.split("/") for day in _column(content, "Date"))
    time = np.array([f"{year}-{month:0>2}-{day:0>2}" for month, day, year in dates], "datetime64[s]")
    return time, np.array(_column(content, "Adj Close"), np.float64), content


def _sunspots():
    content = _file("statsmodels", "datasets/sunspots/sunspots.csv")
    time = np.array([f"{int(float(year))}-01-01" for year in _column(content, "YEAR")], "datetime64[s]")
    return time, np.array(_column(content, "SUNACTIVITY"), np.float64), content


def _co2():
    content = _file("statsmodels", "datasets/co2/co2.csv")
    time = np.array([f"{d[:4]}-{d[4:6]}-{d[6:8]}" for d in _column(content, "date")], "datetime64[s]")
    return time, np.array([float(v) if v else np.nan for v in _column(content, "co2")]), content


def _electricity():
    content = _file("pmdarima", "datasets/taylor.py")  # its numbers stand in its code, as one long list
    lists = [node for node in ast.walk(ast.parse(content)) if isinstance(node, ast.List)]
    values = np.array(ast.literal_eval(max(lists, key=lambda found: len(found.elts))), np.float64)
    return np.datetime64("2000-06-05T00:00:00", "s") + 1800 * np.arange(len(values)), values, content


KNOWN = {
    "sp500": _Known(
        _sp500, (), "index points", "S&P 500, daily adjusted close 1999-2018; package arch", "NCSA (the package)"
    ),
    "sunspots": _Known(
        _sunspots, (11,), "sunspot number", "yearly mean 1700-2008, NOAA NGDC; package statsmodels", "public domain"
    ),
    "co2": _Known(
        _co2, (52,), "ppm", "Mauna Loa, weekly 1958-2001, Keeling & Whorf 2004; package statsmodels", "public domain"
    ),
    "electricity": _Known(
        _electricity, (48, 336), "MW", "demand of England and Wales, half-hourly, summer 2000, Taylor 2003; package "
        "pmdarima", "MIT (the package)"
    ),
}  # fmt: skip
