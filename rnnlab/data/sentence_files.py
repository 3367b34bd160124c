"""A file of pairs of sentences: source TAB target a line, as Tatoeba and its collections export them."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path

from rnnlab.data.card import digest
from rnnlab.data.pairs import FEWEST, Pairs, made
from rnnlab.data.tokens import Units
from rnnlab.data.utf8 import decoded
from rnnlab.specs.errors import UserError, nearest

LANGUAGES = {"english", "spanish", "german", "french", "italian", "portuguese", "dutch", "russian", "chinese",
             "japanese", "korean", "arabic", "turkish", "polish", "swedish", "danish", "finnish", "greek", "hebrew",
             "hindi", "ukrainian", "czech", "hungarian", "romanian", "latin", "esperanto"}  # fmt: skip
HEADS = LANGUAGES | {"source", "target", "en", "es", "de", "fr", "src", "tgt", "text", "sentence", "translation", "eng",
                     "deu", "fra", "spa"}  # fmt: skip
SHOWN = 40  # characters of a line in a message
TAG = re.compile(r"<[a-zA-Z/!][^>]*>")
ENTITY = re.compile(r"&(?:#\d+|#x[0-9a-fA-F]+|[a-zA-Z]+);")


def read_pairs(file: str, units: Units, steps: tuple[int, int], fewest: int) -> Pairs:
    """The file's pairs: see `rnnlab.data.pairs.made`.

    A third column (an attribution) is left out; of four of which the first and third are numbers, Tatoeba's own
    export, the second and fourth are taken.

    Raises:
      UserError: what is no such file, in one line that names the file, the line, and what to do.
    """
    path = Path(file)
    if not file.strip():
        raise UserError("pairs=: names no file; source TAB target a line")
    if path.is_dir():
        raise UserError(f"pairs={file}: is a folder; name a file in it, source TAB target a line")
    if not path.exists():
        there = [str(p) for p in sorted(path.parent.iterdir()) if p.is_file()] if path.parent.is_dir() else []
        raise UserError(f"pairs={file}: no such file{nearest(file, there)}")
    about = path.stat()
    return _read(file, (about.st_mtime_ns, about.st_size), units, steps, fewest)


@functools.lru_cache(maxsize=8)
def _read(file, stamp, units, steps, fewest) -> Pairs:
    content = Path(file).read_bytes()
    notes: list[str] = []
    rows = _columns(file, _lines(file, _decoded(file, content, notes), notes), notes)
    pairs = _unquoted(rows, notes)
    empty = sum(not (source and target) for source, target in pairs)
    pairs = [pair for pair in pairs if all(pair)]
    if empty:
        notes.append(f"{empty:,} lines with an empty side are left out")
    for pattern, what in ((TAG, "HTML tags"), (ENTITY, "HTML entities, as &amp;")):
        if times := sum(bool(pattern.search(text)) for pair in pairs for text in pair):
            notes.append(f"{times:,} sentences have {what}, which are read as they stand")
    if len(pairs) < FEWEST:
        raise UserError(
            f"pairs={file}: {len(pairs):,} pairs; at least {FEWEST} are needed, and thousands to learn from"
        )
    for side, which in ((0, "sources"), (1, "targets")):
        if len({pair[side] for pair in pairs}) == 1:
            raise UserError(f"pairs={file}: all its {which} are {pairs[0][side][:SHOWN]!r}: there is nothing to learn")
    if all(source == target for source, target in pairs):
        raise UserError(f"pairs={file}: both columns are the same in every line: there is nothing to translate")
    notes.append("split by a hash of the source: a sentence that stands in several lines is in one part")
    about = {"name": Path(file).name, "source": f"pairs={file}", "licence": "not stated: the user's own file"}
    return made(about, pairs, units=units, steps=steps, fewest=fewest, sha256=digest(content), notes=notes)


def _decoded(file: str, content: bytes, notes: list[str]) -> str:
    text, odd = decoded(f"pairs={file}", content)
    notes += odd
    if text.lstrip()[:20].lower().startswith(("<!doctype", "<html", "<?xml", "<tmx")):
        raise UserError(
            f"pairs={file}: a web page or XML ({text.strip()[:20]!r}): save its table as tab-separated text"
        )
    return text


def _lines(file: str, text: str, notes: list[str]) -> list[tuple[int, list[str]]]:
    """The columns of each line with its number; one without a tab is refused."""
    rows, blank, comments = [], 0, 0
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            blank += bool(line) or number <= text.count("\n")
        elif line.startswith("#") and "\t" not in line:
            comments += 1
        elif "\t" not in line:
            raise UserError(f"pairs={file}, line {number:,}: {line[:SHOWN]!r} has no tab; {_parted(text, line)}")
        else:
            rows.append((number, [" ".join(cell.split()) for cell in line.split("\t")]))
    for count, what in ((blank, "empty lines"), (comments, "lines that begin with # and have no tab")):
        if count:
            notes.append(f"{count:,} {what} left out")
    if not rows:
        raise UserError(f"pairs={file}: holds no pair: source TAB target a line")
    head = [cell.lower().strip('"') for cell in rows[0][1][:2]]
    if len(rows) > 1 and (set(head) <= HEADS or LANGUAGES & set(head)):
        notes.append(f"line {rows[0][0]}, {' | '.join(rows[0][1])[:SHOWN]!r}, is a header")
        rows = rows[1:]
    return rows


def _parted(text: str, line: str) -> str:
    """What parts the columns, where it is something else."""
    lines = [one for one in text.split("\n") if one.strip()]
    for mark, name in ((";", "semicolons"), (",", "commas"), ("|", "bars"), ("    ", "spaces")):
        if all(mark in one for one in lines):
            return f"its columns may be parted by {name}: write tabs"
    return "each line is source TAB target" + (" (a sentence may not go over several lines)" if "\t" in text else "")


def _columns(file: str, rows: Sequence[tuple[int, list[str]]], notes: list[str]) -> list[tuple[str, str]]:
    """Source and target of each line."""
    widths = {len(cells) for _, cells in rows}

    def numbered(column: int) -> bool:
        return all(len(cells) > column and cells[column].isdigit() for _, cells in rows)

    if widths == {4} and numbered(0) and numbered(2):
        notes.append("columns 1 and 3 are Tatoeba's numbers of sentences, left out")
        return [(cells[1], cells[3]) for _, cells in rows]
    if numbered(0) and widths == {3}:
        counts = [int(cells[0]) for _, cells in rows]
        if sorted(set(counts)) != counts:
            told = "column 1 holds numbers that do not count up: is it the source, or the numbers of lines?"
            raise UserError(f"pairs={file}: {told} Write source TAB target alone")
        notes.append("column 1 holds numbers of lines, left out")
        return [(cells[1], cells[2]) for _, cells in rows]
    if numbered(0) and numbered(1):
        raise UserError(f"pairs={file}: columns 1 and 2 hold nothing but numbers; sentences are needed there")
    for number, cells in rows:
        if len(cells) > 3:
            told = f"{len(cells)} columns; source, target and at most an attribution are read"
            raise UserError(f"pairs={file}, line {number:,}: {told}")
    if 3 in widths:
        third = sum(len(cells) == 3 for _, cells in rows)
        notes.append(f"a third column in {third:,} lines is left out, as an attribution is")
    return [(cells[0], cells[1]) for _, cells in rows]


def _unquoted(pairs: list[tuple[str, str]], notes: list[str]) -> list[tuple[str, str]]:
    """Without the quotation marks that programs put around every cell."""

    def quoted(text: str) -> bool:
        return len(text) > 1 and text[0] == text[-1] == '"'

    if len(pairs) > 1 and not any(map(quoted, pairs[0])) and all(quoted(text) for pair in pairs[1:] for text in pair):
        notes.append(f"line 1, {' | '.join(pairs[0])[:SHOWN]!r}, is a header: it alone has no quotation marks")
        pairs = pairs[1:]
    if not all(quoted(text) for pair in pairs for text in pair):
        return pairs
    notes.append("quotation marks around every cell left out")
    return [tuple(text[1:-1].replace('""', '"').strip() for text in pair) for pair in pairs]
