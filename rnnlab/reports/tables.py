"""A table of text and how it is shown: in a terminal, and as Markdown, LaTeX, CSV and plain text."""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Sequence
from csv import writer
from typing import NamedTuple

import rich.box
import rich.table
from rich.console import Console
from rich.markup import escape

from rnnlab.stats.estimates import Interval

COLUMN, PAGE = 50, 105  # characters across one column, and both, of a paper in footnote size
GAP = 1  # characters between two columns of a table in a paper
GAP_BETWEEN, HEAD = 2, 10  # characters between two columns in a terminal, and of a narrow column's head
PROSE = 32  # characters, above which a cell of several words is prose: it is broken into lines of so many
EM = 0.5  # of footnote size, a character's width


class Table(NamedTuple):
    """Cells are text. The first column names the rows; it is repeated where a table is too wide for one block."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def format_number(value: float, digits: int = 3) -> str:
    """`value` to `digits` significant digits; nan, a number that is not known, is "n/a"."""
    return _like(value, value, digits)


def format_interval(interval: Interval, digits: int = 3) -> str:
    """An estimate to `digits` significant digits and its ends to the same place: `-0.046 [-0.048, -0.044]`.

    What is not known is left out: a single trial has no ends, no trial is "n/a".
    """
    estimate = _like(interval.estimate, interval.estimate, digits)
    if math.isnan(interval.low):
        return estimate
    low, high = (_like(end, interval.estimate, digits) for end in (interval.low, interval.high))
    return f"{estimate} [{low}, {high}]"


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def terminal(table: Table, console: Console) -> None:
    """Prints the table within the console's width; as plain text where there is no terminal."""
    if not console.is_terminal:
        console.print(plain(table), markup=False, highlight=False, soft_wrap=True)
        return
    for number, (columns, rows) in enumerate(_blocks(table, console.width - 2)):  # its edges
        caption = escape(table.caption) if number == 0 else None
        shown = rich.table.Table(title=caption, title_justify="left", title_style="italic", box=rich.box.SIMPLE_HEAD)
        for place, column in enumerate(columns):
            shown.add_column(escape(column), justify="right" if place else "left", no_wrap=True)
        for row in rows:
            shown.add_row(*map(escape, row))
        console.print(shown)


def plain(table: Table, width: int = 120) -> str:
    """Aligned text, for a log."""
    blocks = []
    for columns, rows in _blocks(table, width):
        lines = [line for row in (columns, *rows) for line in _lines(row, row is columns)]
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        rule = max(column.count("\n") for column in columns) + 1
        lines.insert(rule, tuple("-" * w for w in widths))
        blocks.append("\n".join(_aligned(line, widths) for line in lines))
    return "\n\n".join([textwrap.fill(table.caption, width), *blocks]) + "\n"


def _lines(row: Sequence[str], at_foot: bool) -> list[tuple[str, ...]]:
    """The lines of a row whose cells may have several: a head's stand at its foot, a cell's at its top."""
    cells = [cell.split("\n") for cell in row]
    height = max(map(len, cells))
    padded = [[""] * (height - len(c)) + c if at_foot else c + [""] * (height - len(c)) for c in cells]
    return list(zip(*padded, strict=True))


def markdown(table: Table) -> str:
    """A table as GitHub reads it, its caption in front."""
    marks = str.maketrans({mark: f"\\{mark}" for mark in "\\|*_`<"})
    lines = [table.columns, ["---"] + ["---:"] * (len(table.columns) - 1), *table.rows]
    shown = [[cell if cell.startswith("---") else cell.translate(marks) for cell in line] for line in lines]
    return "\n".join([table.caption.translate(marks), "", *("| " + " | ".join(line) + " |" for line in shown)]) + "\n"


def latex(table: Table, label: str) -> str:
    """A `table` for one column of a paper, or a `table*` for its page, with one tabular; needs booktabs.

    A table that is too wide for a page is set as it is, with a comment that says so. `label` stands behind "tab:".
    """
    kinds = ["l"] + ["r"] * (len(table.columns) - 1)
    sizes = []
    for place, (head, cells) in enumerate(zip(table.columns, zip(*table.rows, strict=True), strict=True)):
        longest = max(map(len, cells))
        if any(map(_prose, cells)):
            kinds[place], longest = f"p{{{PROSE * EM:g}em}}", PROSE
        sizes.append(max(longest, *map(len, textwrap.wrap(head, max(longest, 10)) or [""])))
    width = sum(sizes) + GAP * len(sizes)
    star = "*" * (width > COLUMN)
    heads = [_head(column, size, kind) for column, size, kind in zip(table.columns, sizes, kinds, strict=True)]
    parts = ["% \\usepackage{booktabs}"]
    if width > PAGE:
        parts.append("% wider than a page: choose fewer columns (--columns=...)")
    parts += [
        rf"\begin{{table{star}}}",
        rf"\caption{{{_tex(table.caption)}}}",
        rf"\label{{tab:{label}}}",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\begin{{tabular}}{{@{{}}{''.join(kinds)}@{{}}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
    ]
    parts += [" & ".join(map(_tex_cell, row, kinds)) + r" \\" for row in table.rows]
    parts += [r"\bottomrule", r"\end{tabular}", rf"\end{{table{star}}}"]
    return "\n".join(parts) + "\n"


def _head(text: str, size: int, kind: str) -> str:
    """A header of several lines is a small tabular of its own: no package beyond booktabs is needed."""
    lines = r" \\ ".join(_tex(line) for line in textwrap.wrap(text, max(size, 10)))
    return rf"\begin{{tabular}}[b]{{@{{}}{'r' if kind == 'r' else 'l'}@{{}}}}{lines}\end{{tabular}}"


def csv(table: Table) -> str:
    """Comma-separated values: the columns' names, then the rows; the caption is left out."""
    file = io.StringIO()
    writer(file, lineterminator="\n").writerows([table.columns, *table.rows])
    return file.getvalue()


def _like(value: float, scale: float, digits: int) -> str:
    """`value` to the decimal place of the last of `digits` significant digits of `scale`."""
    if math.isnan(value):
        return "n/a"
    size = abs(scale)
    if not math.isfinite(value) or not 1e-4 <= size < 1e6 or abs(value) >= 1e6:
        return f"{value:.{digits}g}"
    return f"{value:z.{max(digits - 1 - math.floor(math.log10(size)), 0)}f}"


def _prose(cell: str) -> bool:
    """Words: an interval with its p, or an arm's name, is a number or a name, however long."""
    return len(cell) > PROSE and len(re.findall(r"[a-zA-Z]{2,}", cell)) > 4


def _blocks(table: Table, width: int) -> list[tuple[list[str], list[list[str]]]]:
    """(columns, rows) in one block that fits in `width` if it can be had, heads folded to their cells.

    What is too wide gets its intervals below its estimates; what is too wide then is cut into blocks of as many
    columns as fit, each led by the first.
    """
    rows = [list(row) for row in table.rows]
    if sum(_sizes(table.columns, rows)) > width:
        rows = [[row[0], *(re.sub(r" (?=[\[(])", "\n", cell, count=1) for cell in row[1:])] for row in rows]
    sizes = _sizes(table.columns, rows)
    heads = [
        textwrap.fill(head, max(size - GAP_BETWEEN, HEAD)) for head, size in zip(table.columns, sizes, strict=True)
    ]
    groups: list[list[int]] = [[0]]
    for place in range(1, len(heads)):
        if len(groups[-1]) > 1 and sum(sizes[p] for p in groups[-1]) + sizes[place] > width:
            groups.append([0])
        groups[-1].append(place)
    return [([heads[p] for p in group], [[row[p] for p in group] for row in rows]) for group in groups]


def _sizes(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Characters that each column takes, the gap behind it included."""
    longest = [
        max((len(line) for row in rows for line in row[place].split("\n")), default=0) for place in range(len(heads))
    ]
    folded = [
        max(map(len, textwrap.wrap(head, max(size, HEAD)) or [""])) for head, size in zip(heads, longest, strict=True)
    ]
    return [max(pair) + GAP_BETWEEN for pair in zip(longest, folded, strict=True)]


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.rjust(w) if place else cell.ljust(w) for place, (cell, w) in enumerate(zip(line, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


_TEX = {c: rf"\{c}" for c in "&%$#_{}"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
}
_TEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "[": "{[}", "|": r"\textbar{}", '"': "''"}


def _tex_cell(cell: str, kind: str) -> str:
    """In braces, or \\raggedright takes the row's end for a line's."""
    return rf"{{\raggedright {_tex(cell)}\par}}" if kind.startswith("p") else _tex(cell)


def _tex(text: str) -> str:
    """LaTeX that prints `text`: >= and the minus of a number as mathematics, "[" not as an option of \\\\."""
    escaped = "".join(_TEX.get(c, c) for c in text)
    escaped = escaped.replace(r"\textgreater{}=", r"$\geq$")
    return re.sub(r"(?<![\w.])-(?=\d|inf)", "$-$", escaped)
