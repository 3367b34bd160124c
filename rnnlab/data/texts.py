"""A text as integers, one a character: read, checked, and split in order into training, validation and test."""

from __future__ import annotations

import dataclasses
import functools
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from rnnlab.data.card import DataCard, digest
from rnnlab.data.utf8 import decoded
from rnnlab.specs.errors import UserError, nearest

UNSEEN = "\N{REPLACEMENT CHARACTER}"  # shown for a character that the training part does not have
SHARES = (0.9, 0.95)  # where training and validation end, as fractions of the text
TEXT8 = 100_000_000  # characters, of which 90, 5 and 5 million are customary (Mikolov et al. 2012)
PARTS = ("training", "validation", "test")
TREEBANK = ("ptb.{}.txt", "ptb.char.{}.txt")  # Mikolov's files by word, and by character with _ for a space


@dataclasses.dataclass(frozen=True, eq=False)
class Text:
    """A text in three parts; nothing but the training part decides what is a character."""

    name: str
    training: Integer[np.ndarray, " _"]
    validation: Integer[np.ndarray, " _"]
    test: Integer[np.ndarray, " _"]
    alphabet: str  # the characters of the training part by number; the next number stands for all others
    card: DataCard

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return len(self.alphabet) + 1

    def encode(self, text: str) -> Integer[np.ndarray, " N"]:
        """A number a character."""
        return _numbers(text, self.alphabet)

    def decode(self, numbers: Sequence[int] | Integer[np.ndarray, " _"]) -> str:
        """The characters; `UNSEEN` for what training does not have."""
        known = np.frombuffer((self.alphabet + UNSEEN).encode("utf-32-le"), np.uint32)
        return known[np.asarray(numbers, np.intp)].tobytes().decode("utf-32-le")


def read_text(file: str | None) -> Text:
    """Python's own manual (None), a file in UTF-8, or a folder that holds the Penn Treebank.

    A file is split 90 : 5 : 5 in the order in which it is written, text8 (by its name) 90 : 5 : 5 million, the
    Penn Treebank by its own files.

    Raises:
      UserError: what is no text, or has too little of it, in one line.
    """
    if file is None:
        return _manual()
    path = Path(file)
    if path.is_dir():
        return _treebank(file, tuple(_stamp(p) for p in sorted(path.iterdir())))
    if not path.exists():
        folder = path.parent
        there = [str(p) for p in sorted(folder.iterdir()) if p.is_file()] if folder.is_dir() else []
        raise UserError(f"file={file}: no such file{nearest(file, there)}")
    return _file(file, _stamp(path))


def text_files(file: str | None) -> tuple[str, ...]:
    """The files that a text is read from."""
    if file is None:
        return ()
    return tuple(str(p) for p in _treebank_files(file).values()) if Path(file).is_dir() else (file,)


def _stamp(path: Path) -> tuple[int, int]:
    """What changes when a file does: it is read again then."""
    about = path.stat()
    return about.st_mtime_ns, about.st_size


@functools.lru_cache(maxsize=4)
def _manual() -> Text:
    """The topics of Python's manual in the order of their names.

    One topic of it holds others whole: without each paragraph's second copy, a fifth of it, no paragraph of the test
    part stands in the training part too.
    """
    from pydoc_data.topics import topics

    paragraphs = [p for name in sorted(topics) for p in topics[name].split("\n\n") if p.strip()]
    first: dict[str, str] = {}
    for paragraph in paragraphs:
        first.setdefault(" ".join(paragraph.split()), paragraph)
    copies = len(paragraphs) - len(first)
    notes = [f"{copies:,} of {len(paragraphs):,} paragraphs that stood before are left out"]
    text = "\n\n".join(first.values())
    about = {
        "name": "Python's manual",
        "source": f"pydoc_data.topics of Python {platform.python_version()}",
        "licence": "PSF-2.0",
    }
    return _made(about, _shares(text), text.encode(), notes)


@functools.lru_cache(maxsize=4)
def _file(file: str, stamp: tuple[int, int]) -> Text:
    content = Path(file).read_bytes()
    text, notes = _decoded(file, content)
    parts = _text8(file, text) if Path(file).name == "text8" else _shares(text)
    about = {"name": Path(file).name, "source": file, "licence": "not stated: the user's own file"}
    return _made(about, parts, content, notes)


def _text8(file: str, text: str) -> dict[str, str]:
    if len(text) != TEXT8:
        told = f"text8 has {TEXT8:,} characters, this has {len(text):,}"
        raise UserError(f"file={file}: {told}; by another name it is split 90 : 5 : 5 as any file")
    return {"training": text[: TEXT8 * 9 // 10], "validation": text[TEXT8 * 9 // 10 : TEXT8 * 19 // 20],
            "test": text[TEXT8 * 19 // 20 :]}  # fmt: skip


def _treebank_files(file: str) -> dict[str, Path]:
    """The three files of a folder, by part."""
    for form in TREEBANK:
        found = {part: Path(file, form.format(n)) for part, n in zip(PARTS, ("train", "valid", "test"), strict=True)}
        there = [path for path in found.values() if path.is_file()]
        if len(there) == len(PARTS):
            return found
        if there:
            lacking = next(path.name for path in found.values() if path not in there)
            raise UserError(f"file={file}: the folder has {there[0].name} and no {lacking}")
    names = ", ".join(TREEBANK[0].format(name) for name in ("train", "valid", "test"))
    raise UserError(f"file={file}: a folder is read as the Penn Treebank, and holds no {names}; name a file otherwise")


@functools.lru_cache(maxsize=4)
def _treebank(file: str, stamps: tuple[tuple[int, int], ...]) -> Text:
    paths = _treebank_files(file)
    contents = {part: path.read_bytes() for part, path in paths.items()}
    parts, notes = {}, []
    for part, content in contents.items():
        parts[part], of_part = _decoded(str(paths[part]), content)
        notes += of_part
    if paths["training"].name.startswith("ptb.char"):
        parts = {part: text.replace(" ", "").replace("_", " ") for part, text in parts.items()}
        notes.append("spaces between characters left out, _ read as a space")
    parts = {part: "\n".join(line.strip(" ") for line in text.split("\n")) for part, text in parts.items()}
    notes.append("spaces at both ends of each line left out")
    about = {"name": "Penn Treebank", "source": f"Marcus et al. 1993, prepared by Mikolov et al. 2012: {file}",
             "licence": "of the Linguistic Data Consortium"}  # fmt: skip
    return _made(about, parts, b"".join(contents.values()), notes)


def _decoded(file: str, content: bytes) -> tuple[str, list[str]]:
    """The characters of a file, and what was done about what was odd in it."""
    text, notes = decoded(f"file={file}", content)
    if not text.strip():
        raise UserError(f"file={file}: holds nothing but white space")
    if len(set(text)) == 1:
        raise UserError(f"file={file}: holds one character alone, {text[0]!r}: there is nothing to predict")
    return text, notes


def _shares(text: str) -> dict[str, str]:
    one, two = (int(share * len(text)) for share in SHARES)
    return {"training": text[:one], "validation": text[one:two], "test": text[two:]}


def _made(about: Mapping[str, str], parts: Mapping[str, str], content: bytes, notes: Iterable[str]) -> Text:
    alphabet, notes = "".join(sorted(set(parts["training"]))), list(notes)
    held = parts["validation"] + parts["test"]
    if unseen := sorted(set(held) - set(alphabet)):
        times, which = sum(map(held.count, unseen)), "".join(unseen)
        shown = repr(which if len(which) <= 20 else which[:20] + "...")
        notes.append(f"characters that training lacks are read as one: {times:,} held out, {shown}")
    counts = {part: f"{len(text):,} characters" for part, text in parts.items()}
    card = DataCard(**about, rows=sum(map(len, parts.values())), parts=counts, sha256=digest(content), notes=notes)
    return Text(about["name"], **{part: _numbers(text, alphabet) for part, text in parts.items()}, alphabet=alphabet,
                card=card)  # fmt: skip


def _numbers(text: str, alphabet: str) -> np.ndarray:
    """uint8 where that is enough."""
    kind = np.min_scalar_type(len(alphabet))
    known = np.frombuffer(alphabet.encode("utf-32-le"), np.uint32)
    found = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    table = np.full(int(max(known.max(initial=0), found.max(initial=0))) + 1, len(alphabet), kind)
    table[known] = np.arange(len(alphabet), dtype=kind)
    return table[found]
