"""How columns of text are made as narrow as a width asks: which lines each cell and header is broken into."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

HARD = "\N{NO-BREAK SPACE}"  # does not end a line
HEAD = 14  # characters that a header may have above narrower cells
PROSE = 18  # characters that a line of words has at least, where it can
WORD = 12  # characters, above which a word may be broken where nothing else helps
NUMBER = r"(>= )?[-+]?(\d[\d.,e+-]*|inf)(/\d+|%)?( [\[(].*[\])])?"
NAMED = ("arm", "model")  # how a column is headed whose cells are `TASK/LABEL`
LEVELS = range(5)  # as they are; arms below tasks; intervals below estimates; words below words; long words broken


class Fitted(NamedTuple):
    """A table that is broken into lines: each cell and header is a list of them."""

    sizes: list[int]  # characters, by column
    natural: list[int]  # that it would have if no text were broken
    heads: list[list[str]]
    groups: list[tuple[str, list[list[list[str]]]]]  # a task, or "", and its rows


def numeric(column: Sequence[str]) -> bool:
    """Whether a column is of numbers, each maybe with brackets behind it: some cell is one, and none is a sentence."""
    sentence = any(len(cell) > 32 and len(re.findall(r"[a-zA-Z]{2,}", cell)) > 4 for cell in column)
    return not sentence and any(re.fullmatch(NUMBER, cell) for cell in column)


def apart(cell: str) -> tuple[str, str]:
    """An estimate and what stands behind it in brackets: `-0.25 [-0.30, -0.21]` is ("-0.25", "[-0.30, -0.21]")."""
    found = re.fullmatch(r"([^\[(]+?) ((?:[\[(][^\])]*[\])] ?)+)", cell)
    return (found[1], found[2]) if found else (cell, "")


def by_task(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[tuple[str, list[list[str]]]]:
    """Rows of arms `TASK/LABEL` under their task, by label; one group without a name where there are none such."""
    tasks: dict[str, list[list[str]]] = {}
    for row in rows:
        task, _, label = row[0].rpartition("/")
        tasks.setdefault(task, []).append([label, *row[1:]])
    if columns[0] not in NAMED or "" in tasks or len(tasks) == len(rows) > 1:
        return [("", [list(row) for row in rows])]
    return list(tasks.items())


def fit(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, gap: int, level: int) -> Fitted | None:
    """The table in `width` characters with `gap` between columns, folded as its level allows; None if that is too wide.

    Columns of words are broken by words, the widest first, and so are headers.
    """
    numbers = [numeric([row[place] for row in rows]) for place in range(len(columns))]
    groups = by_task(columns, rows) if level else [("", [list(row) for row in rows])]
    groups = [
        (task, [[_breakable(cell, n, p == 0 and columns[0] in NAMED, level)
                 for p, (cell, n) in enumerate(zip(row, numbers, strict=True))] for row in of])
        for task, of in groups
    ]  # fmt: skip
    cells = list(zip(*(row for _, of in groups for row in of), strict=True)) or [() for _ in columns]
    natural, least = [], []
    for head, column in zip(columns, cells, strict=True):
        longest = max((len(line) for cell in column for line in cell.split("\n")), default=0)
        folded = textwrap.wrap(head, max(longest, HEAD), break_on_hyphens=False) or [""]
        natural.append(max(longest, *map(len, folded)))
        words = max(len(word) for text in (head, *column) for word in re.split("[ \n]", text))
        least.append(max(words, min(longest, PROSE)) if level < 3 else words if level < 4 else min(words, WORD))
    sizes = list(natural)
    room = width - gap * (len(columns) - 1)
    while sum(sizes) > room:
        wide = max(range(len(sizes)), key=lambda place: (sizes[place] > least[place], sizes[place]))
        if sizes[wide] <= least[wide]:
            return None
        sizes[wide] -= 1
    return Fitted(
        sizes,
        natural,
        [_wrapped(head, size) for head, size in zip(columns, sizes, strict=True)],
        [(task, [[_wrapped(cell, size) for cell, size in zip(row, sizes, strict=True)] for row in of])
         for task, of in groups],
    )  # fmt: skip


def _breakable(cell: str, number: bool, name: bool, level: int) -> str:
    """The cell with its lines, and hard spaces where it is not to be broken."""
    estimate, detail = apart(cell) if number and level > 1 else (cell, "")
    text = f"{estimate}\n{detail}" if detail else estimate
    return text.replace(" ", HARD) if (number or name) and level < 3 else text.replace(">= ", f">={HARD}")


def _wrapped(text: str, size: int) -> list[str]:
    lines = [textwrap.wrap(part, size, break_on_hyphens=False) or [""] for part in text.split("\n")]
    return [line.replace(HARD, " ") for of in lines for line in of]
