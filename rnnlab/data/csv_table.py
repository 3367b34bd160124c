"""A file of comma-separated values as columns of text, with the row of the file that each cell stands in."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rnnlab.specs.errors import UserError, nearest

SEPARATORS = (",", ";", "\t")
SHOWN = 40  # characters of a cell in a message


class CsvTable(NamedTuple):
    """Cells are text without spaces around it; the header is row 1 of the file."""

    path: str
    header: Sequence[str]
    cells: Sequence[Sequence[str]]  # as many a row as the header has
    rows: Sequence[int]  # of the file
    separator: str
    repairs: Sequence[str]
    content: bytes

    def column(self, name: str, setting: str) -> list[str]:
        """A column's cells. Raises UserError, which names the nearest column, where there is none or there are two."""
        places = [place for place, head in enumerate(self.header) if head == name]
        if not places:
            raise UserError(f"{setting}={name}: {self.path} has no such column{nearest(name, self.header)}")
        if len(places) > 1:
            where = " and ".join(str(place + 1) for place in places)
            raise UserError(f"{self.path}, row 1: columns {where} are both named {name}: rename one")
        return [row[places[0]] for row in self.cells]


def read_table(path: str) -> CsvTable:
    """Reads a file in UTF-8 whose cells are parted by commas, semicolons or tabs, with or without quotes.

    Raises:
      UserError: there is no such file, or it is no table with a header: one line that names the file and the row.
    """
    content = _bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        byte = content[error.start]
        raise UserError(f"{path}, row {row}: byte 0x{byte:02x} is not UTF-8: save the file as UTF-8") from error
    if "\0" in text:
        raise UserError(
            f"{path}, row {text[: text.index(chr(0))].count(chr(10)) + 1}: a NUL byte: this is no text file"
        )
    if not text.strip():
        raise UserError(f"{path}: the file is empty")
    first = next(line for line in text.splitlines() if line.strip())
    separator = max(SEPARATORS, key=lambda mark: len(next(csv.reader([first], delimiter=mark))))
    lines, rows = _lines(path, text, separator)
    header, *cells = lines
    if all(cell and cell[0] in "-+.0123456789" for cell in header):
        raise UserError(
            f"{path}, row {rows[0]}: a header is needed that names the columns, and here is {_short(header)}"
        )
    if not cells:
        raise UserError(f"{path}: there is a header, and no row below it")
    repairs = []
    for number, row in zip(rows[1:], cells, strict=True):
        if len(row) > len(header) and any(row[len(header) :]):
            hint = "; quote cells that hold a comma" if separator == "," else ""
            raise UserError(f"{path}, row {number}: {len(row)} cells, where the header has {len(header)}{hint}")
    short = [number for number, row in zip(rows[1:], cells, strict=True) if len(row) < len(header)]
    if short:
        repairs.append(f"{listed_rows(short)} with fewer cells than the header: the others taken as missing")
    cells = [[*row, *[""] * (len(header) - len(row))][: len(header)] for row in cells]
    return CsvTable(path, header, cells, rows[1:], separator, repairs, content)


def listed_rows(rows: Sequence[int]) -> str:
    """`row 7`, or `3 rows (the first: 7)`."""
    return f"row {rows[0]:,}" if len(rows) == 1 else f"{len(rows):,} rows (the first: {rows[0]:,})"


def _lines(path: str, text: str, separator: str) -> tuple[list[list[str]], list[int]]:
    """Rows that are not blank, and where in the file each ends."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines, rows = [], []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                lines.append([cell.strip() for cell in row])
                rows.append(reader.line_num)
    except csv.Error as error:
        raise UserError(f"{path}, row {reader.line_num}: {error}") from error
    return lines, rows


def _bytes(path: str) -> bytes:
    file = Path(path)
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        beside = [found.name for found in file.parent.glob("*")] if file.parent.is_dir() else []
        raise UserError(f"csv={path}: no such file{nearest(file.name, beside) if beside else ''}") from error
    except IsADirectoryError as error:
        raise UserError(f"csv={path}: a folder, where a file is needed{nearest('x.csv', _names(file))}") from error
    except OSError as error:
        raise UserError(f"csv={path}: cannot be read: {error.strerror}") from error


def _names(folder: Path) -> list[str]:
    return [found.name for found in folder.glob("*.csv")]


def _short(row: Sequence[str]) -> str:
    text = ", ".join(row)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
