"""A table of text and how it is shown: in a terminal, and as Markdown, LaTeX, CSV and plain text."""

from __future__ import annotations

import io
import itertools
import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from csv import writer
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from rnnlab.reports.folding import LEVELS, WORD, fit, numeric
from rnnlab.runs.files import write_whole
from rnnlab.stats.estimates import Interval

LOG = 120  # characters, of a line where there is no terminal
GAP = 2  # characters, between two columns
COLUMN, PAGE = 54, 118  # characters, across a column of a two-column paper and, in its smallest size, across a page
SIZES = {"footnotesize": 110, "scriptsize": PAGE}
DENSE = 1.07  # more of them where the columns are intervals, with narrow marks
EM = 0.5  # a character's width


class Table(NamedTuple):
    """Cells are text. The first column names the rows: it is headed "arm" or "model" where they are `TASK/LABEL`."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def numeric(self) -> list[bool]:
        """Of each column, whether its cells are numbers, and not words."""
        return [numeric([row[place] for row in self.rows]) for place in range(len(self.columns))]


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
    """Prints the table no wider than the terminal; as plain text of 120 characters where there is none."""
    width = line_width(console)
    texts = [(textwrap.fill(table.caption, width), "italic")]
    for heads, rows in _blocks(table, width):
        texts += [(heads, "bold"), (f"{rows}\n", "")]
    for text, style in texts:
        console.print(Text(text, style), soft_wrap=True)


def line_width(console: Console) -> int:
    """Characters of a line: the terminal's, or `LOG` where there is none."""
    return console.width if console.is_terminal else LOG


def plain(table: Table, width: int = LOG) -> str:
    """Aligned text, for a log.

    What is wider than `width` is folded: headers, then arms below their task and intervals below their estimates, then
    any text by words. Where that does not help, the last columns stand in a block below, with the rows' names.
    """
    blocks = ["\n".join(block) for block in _blocks(table, width)]
    return "\n".join([textwrap.fill(table.caption, width), "\n\n".join(blocks)]) + "\n"


def markdown(table: Table) -> str:
    """A table as GitHub reads it, its caption in front."""
    marks = str.maketrans({mark: f"\\{mark}" for mark in "\\|*_`<"})
    sides = ["---:" if place and number else "---" for place, number in enumerate(table.numeric)]
    lines = [[cell.translate(marks) for cell in line] for line in (table.columns, *table.rows)]
    shown = ["| " + " | ".join(line) + " |" for line in (lines[0], sides, *lines[1:])]
    return "\n".join([table.caption.translate(marks), "", *shown]) + "\n"


def latex(table: Table, label: str = "table") -> str:
    """A `table` that fits a column of a two-column paper, or a `table*` across both (needs booktabs): one tabular.

    Columns of words are broken into lines of a paragraph; arms stand below their task and intervals below their
    estimates where a column of the paper, or else its page, would be too narrow.
    """
    (environment, size, width, _), fitted = next(
        (place, fitted) for place in _places() if (fitted := fit(table.columns, table.rows, place[2], GAP, place[3]))
    )
    sizes, natural, heads, groups = fitted
    numbers = [place and number for place, number in enumerate(table.numeric)]
    kinds = [
        f"p{{{EM * chars:.1f}em}}" if chars < full and not number else "r" if number else "l"
        for chars, full, number in zip(sizes, natural, numbers, strict=True)
    ]
    lines = []
    height = max(map(len, heads))
    for row in zip(*([""] * (height - len(head)) + head for head in heads), strict=True):
        lines.append(" & ".join(map(_tex, row)) + r" \\")
    lines.append(r"\midrule")
    for number, (task, rows) in enumerate(groups):
        if task:
            lines += [r"\addlinespace"] * (number > 0)
            lines.append(rf"\multicolumn{{{len(kinds)}}}{{@{{}}l}}{{\emph{{{_tex(task)}}}}} \\")
        for row in rows:
            lines += _tex_row(row, kinds)
    return "\n".join([
        r"% \usepackage{booktabs}" + "; wider than a page: choose fewer --columns" * (width > PAGE * DENSE),
        rf"\begin{{{environment}}}",
        rf"\centering\{size}\setlength{{\tabcolsep}}{{4pt}}",
        rf"\caption{{{_tex(table.caption)}}}",
        rf"\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{@{{}}{''.join(kinds)}@{{}}}}",
        r"\toprule",
        *lines,
        r"\bottomrule",
        r"\end{tabular}",
        rf"\end{{{environment}}}",
    ]) + "\n"  # fmt: skip


def csv(table: Table) -> str:
    """Comma-separated values: the columns' names, then the rows; the caption is left out."""
    file = io.StringIO()
    writer(file, lineterminator="\n").writerows([table.columns, *table.rows])
    return file.getvalue()


def write_forms(table: Table, folder: Path, name: str) -> None:
    """NAME.md, NAME.tex and NAME.csv, each replaced whole."""
    for ending, form in {"md": markdown(table), "tex": latex(table, name), "csv": csv(table)}.items():
        write_whole(folder / f"{name}.{ending}", form.encode())


def _like(value: float, scale: float, digits: int) -> str:
    """`value` to the decimal place of the last of `digits` significant digits of `scale`."""
    if math.isnan(value):
        return "n/a"
    size = abs(scale)
    if not math.isfinite(value) or not 1e-4 <= size < 1e6 or abs(value) >= 1e6:
        return f"{value:.{digits}g}"
    return f"{value:z.{max(digits - 1 - math.floor(math.log10(size)), 0)}f}"


def _blocks(table: Table, width: int) -> list[tuple[str, str]]:
    """Header and rows as aligned lines of `width` at most; columns that do not fit stand in further blocks."""
    width = max(width, 2 * WORD + GAP)  # two columns at least
    sizes, _, heads, groups = next(
        fitted
        for count in range(len(table.columns), 0, -1)
        for level in LEVELS
        if (fitted := fit(table.columns[:count], [row[:count] for row in table.rows], width, GAP, level))
    )
    right = [place > 0 and number for place, number in enumerate(table.numeric)]

    def aligned(lines: Iterable[Sequence[str]]) -> str:
        cells = (zip(line, sizes, right, strict=False) for line in lines)
        padded = ([text.rjust(size) if r else text.ljust(size) for text, size, r in line] for line in cells)
        return "\n".join((" " * GAP).join(line).rstrip() for line in padded)

    height = max(map(len, heads))
    top = aligned(zip(*([""] * (height - len(head)) + head for head in heads), strict=True))
    shown = [aligned([["-" * size for size in sizes]])]
    for task, rows in groups:
        shown += [task] if task else []
        shown += [aligned(itertools.zip_longest(*row, fillvalue="")) for row in rows]
    blocks = [(top, "\n".join(shown))]
    if len(sizes) == len(table.columns):
        return blocks
    rest = [[line[0], *line[len(sizes) :]] for line in (table.columns, *table.rows)]
    return blocks + _blocks(Table("", rest[0], rest[1:]), width)


_TEX = {c: rf"\{c}" for c in "&%$#_{}"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
}
_TEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "[": "{[}", "|": r"\textbar{}", '"': "''"}


def _places() -> Iterator[tuple[str, str, int, int]]:
    """Environment, size, characters and how far a table is folded, the best first."""
    for environment, sizes in (("table", {"footnotesize": COLUMN}), ("table*", SIZES)):
        for level in LEVELS[:3]:
            yield from ((environment, size, int(n * DENSE) if level else n, level) for size, n in sizes.items())
    yield from (("table*", "scriptsize", width, 2) for width in itertools.count(int(PAGE * DENSE) + 1))


def _tex_row(row: Sequence[Sequence[str]], kinds: Sequence[str]) -> list[str]:
    """A row, and below it what stands behind its estimates."""
    broken = [kind.startswith("p") for kind in kinds]
    end = r"\tabularnewline" if broken[-1] else r"\\"  # \raggedright makes \\ end a line of its own cell
    cells = [[" ".join(cell)] if p else cell for cell, p in zip(row, broken, strict=True)]
    above = [rf"\raggedright {_tex(cell[0])}" if p else _tex(cell[0]) for cell, p in zip(cells, broken, strict=True)]
    below = [rf"\scriptsize {_tex(' '.join(rest))}" if rest else "" for _, *rest in cells]
    lines = [above, below] if any(below) else [above]
    apart = "[2pt]" if len(lines) > 1 or any(broken) else ""
    return [f"{' & '.join(line)} {end}{apart if line is lines[-1] else ''}" for line in lines]


def _tex(text: str) -> str:
    """LaTeX that prints `text`: >= and the minus of a number as mathematics, "[" not as an option of \\\\."""
    escaped = "".join(_TEX.get(c, c) for c in text)
    escaped = escaped.replace(r"\textgreater{}=", r"$\geq$")
    return re.sub(r"(?<![\w.])-(?=\d|inf)", "$-$", escaped)
