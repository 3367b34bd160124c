"""A table of text and how it is shown: in a terminal, and as Markdown, LaTeX, CSV and plain text."""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Sequence
from csv import writer
from pathlib import Path
from typing import NamedTuple

import rich.box
import rich.table
from rich.console import Console
from rich.markup import escape

from rnnlab.runs.files import write_whole
from rnnlab.stats.estimates import Interval

PAPER = 105  # characters across both columns of a paper in footnote size
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
    """Prints the table in as many blocks as the width needs; as plain text where there is no terminal."""
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
    """Aligned text, for a log: columns that fit in `width` characters, then the next ones below."""
    blocks = []
    for columns, rows in _blocks(table, width):
        heads = [column.split("\n") for column in columns]
        height = max(map(len, heads))
        lines = list(zip(*([""] * (height - len(head)) + head for head in heads), strict=True))
        widths = [max(map(len, cells)) for cells in zip(*lines, *rows, strict=True)]
        lines += [tuple("-" * w for w in widths), *rows]
        blocks.append("\n".join(_aligned(line, widths) for line in lines))
    return "\n\n".join([textwrap.fill(table.caption, width), *blocks]) + "\n"


def markdown(table: Table) -> str:
    """A table as GitHub reads it, its caption in front."""
    marks = str.maketrans({mark: f"\\{mark}" for mark in "\\|*_`<"})
    lines = [table.columns, ["---"] + ["---:"] * (len(table.columns) - 1), *table.rows]
    shown = [[cell if cell.startswith("---") else cell.translate(marks) for cell in line] for line in lines]
    return "\n".join([table.caption.translate(marks), "", *("| " + " | ".join(line) + " |" for line in shown)]) + "\n"


def latex(table: Table) -> str:
    """A `table*` for a paper of two columns (needs booktabs), in as many blocks below each other as its width needs."""
    parts = [
        "% \\usepackage{booktabs}",
        r"\begin{table*}",
        r"\centering\footnotesize",
        rf"\caption{{{_tex(table.caption)}}}",
    ]
    for columns, rows in _blocks(table, PAPER, PROSE):
        kinds = ["l" if n == 0 else "r" for n in range(len(columns))]
        for place, cells in enumerate(zip(*rows, strict=True)):
            if any(map(_prose, cells)):
                kinds[place] = f"p{{{PROSE * EM:g}em}}"
        # A header of several lines is a small tabular of its own: no package beyond booktabs is needed.
        lines = [r" \\ ".join(_tex(line) for line in column.split("\n")) for column in columns]
        heads = [
            rf"\begin{{tabular}}[b]{{@{{}}{'r' if kind == 'r' else 'l'}@{{}}}}{head}\end{{tabular}}"
            for kind, head in zip(kinds, lines, strict=True)
        ]
        parts += [
            rf"\begin{{tabular}}{{{''.join(kinds)}}}",
            r"\toprule",
            " & ".join(heads) + r" \\",
            r"\midrule",
        ]
        parts += [" & ".join(map(_tex_cell, row, kinds)) + r" \\" for row in rows]
        parts += [r"\bottomrule", r"\end{tabular}", r"\par\medskip"]
    return "\n".join([*parts[:-1], r"\end{table*}"]) + "\n"


def csv(table: Table) -> str:
    """Comma-separated values: the columns' names, then the rows; the caption is left out."""
    file = io.StringIO()
    writer(file, lineterminator="\n").writerows([table.columns, *table.rows])
    return file.getvalue()


def write_forms(table: Table, folder: Path, name: str) -> None:
    """NAME.md, NAME.tex and NAME.csv, each replaced whole."""
    for ending, form in {"md": markdown, "tex": latex, "csv": csv}.items():
        write_whole(folder / f"{name}.{ending}", form(table).encode())


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


def _blocks(table: Table, width: int, prose: int | None = None) -> list[tuple[list[str], list[list[str]]]]:
    """(columns, rows) of as many columns as fit in `width`, headers folded to their cells; the first always leads.

    A column with cells of prose is `prose` characters wide, as its lines are to be broken.
    """
    cells = [[row[place] for row in table.rows] for place in range(len(table.columns))]
    longest = [max(map(len, column), default=0) for column in cells]
    if prose is not None:
        longest = [prose if any(map(_prose, column)) else size for column, size in zip(cells, longest, strict=True)]
    heads = [textwrap.fill(head, max(size, 14)) for head, size in zip(table.columns, longest, strict=True)]
    sizes = [max(size, *map(len, head.split("\n"))) + 3 for head, size in zip(heads, longest, strict=True)]
    groups: list[list[int]] = [[0]]
    for place in range(1, len(heads)):
        if len(groups[-1]) > 1 and sum(sizes[p] for p in groups[-1]) + sizes[place] > width:
            groups.append([0])
        groups[-1].append(place)
    return [([heads[p] for p in group], [[row[p] for p in group] for row in table.rows]) for group in groups]


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
