"""Recordings of a user's own with their transcripts: a folder in LJ Speech's layout.

`metadata.csv` has a line a recording, `NAME|transcript` or `NAME|transcript|normalised transcript` (the last is read),
without a header; the recording is `wavs/NAME.wav`.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np

from rnnlab.data import log_mel
from rnnlab.data.card import DataCard, digest
from rnnlab.data.speech import Corpus, Part, corpus_of
from rnnlab.data.utf8 import decoded
from rnnlab.data.wav_file import content_of, samples_of
from rnnlab.specs.errors import UserError, nearest

TABLE, WAVES = "metadata.csv", "wavs"
TENTHS = {0: "test", 1: "validation"}  # of a file's digest; the rest is training
FEWEST = {"training": 8, "validation": 2, "test": 2}  # recordings


def files_of(folder: str) -> tuple[str, ...]:
    """Its table and recordings."""
    return (str(Path(folder, TABLE)), *(str(Path(folder, WAVES, f"{name}.wav")) for name, _ in _table(Path(folder))))


def read_folder(folder: str, longest: int) -> Corpus:
    """Its recordings of at most `longest` steps, split by the digest of each file; tokens are characters.

    Raises:
      UserError: there is no such folder, its table or a recording cannot be read, or too few are left.
    """
    rows = _table(Path(folder))
    paths = [Path(folder, WAVES, f"{name}.wav") for name, _ in rows]
    stamps = tuple((p.stat().st_mtime_ns, p.stat().st_size) if p.is_file() else (0, 0) for p in paths)
    return _read(folder, longest, rows, stamps)


def _table(folder: Path) -> tuple[tuple[str, str], ...]:
    if not folder.is_dir():
        there = [str(p) for p in sorted(folder.parent.iterdir())] if folder.parent.is_dir() else []
        told = "is a file; a folder is needed" if folder.exists() else f"no such folder{nearest(str(folder), there)}"
        raise UserError(f"folder={folder}: {told}")
    path = folder / TABLE
    if not path.is_file():
        near = nearest(TABLE, [p.name for p in sorted(folder.iterdir()) if p.is_file()])
        near = near if "nearest" in near else ""
        raise UserError(f"folder={folder}: holds no {TABLE}, a line NAME|transcript a recording{near}")
    about = path.stat()
    return _parsed(str(path), about.st_mtime_ns, about.st_size)


@functools.lru_cache(maxsize=4)
def _parsed(file: str, *stamp: int) -> tuple[tuple[str, str], ...]:
    text, _ = decoded(file, Path(file).read_bytes())
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        parts = [part.strip() for part in line.split("|")]
        where = f"{file}: line {number:,}"
        if len(parts) not in (2, 3):
            told = "; it has commas, the sign between columns is |" if "," in line and len(parts) == 1 else ""
            raise UserError(f"{where}: {len(parts)} columns by |, where NAME|transcript is needed{told}")
        name, said = parts[0].removesuffix(".wav"), parts[-1] or parts[1]
        if not name or re.search(r"[\\/\0]", name) or name in (".", ".."):
            raise UserError(f"{where}: {parts[0]!r} is no name of a file in {WAVES}/")
        if name in found:
            raise UserError(f"{where}: {name} stands there twice")
        found[name] = _spelled(said)
        if not found[name]:
            raise UserError(f"{where}: {name} has no transcript")
    if not found:
        raise UserError(f"{file}: names no recording")
    return tuple(found.items())


def _spelled(text: str) -> str:
    """Lower case, single spaces, no control characters: `Unicode's` NFC."""
    text = unicodedata.normalize("NFC", " ".join(text.lower().split()))
    return "".join(c for c in text if unicodedata.category(c)[0] != "C")


@functools.lru_cache(maxsize=2)
def _read(folder: str, longest: int, rows: tuple[tuple[str, str], ...], stamps: tuple) -> Corpus:
    found: dict[str, list[tuple[np.ndarray, str]]] = {"training": [], "validation": [], "test": []}
    left: Counter[str] = Counter()
    whole = hashlib.sha256()
    for name, said in rows:
        path = Path(folder, WAVES, f"{name}.wav")
        content = content_of(path)
        wave = samples_of(path, content)
        whole.update(content + said.encode())
        if np.ptp(wave) == 0:
            left["of nothing but silence"] += 1
            continue
        features = log_mel.features(wave)
        if len(features) > longest:
            left[f"longer than {longest} steps of 30 ms (task.length)"] += 1
        elif steps_needed(said) > len(features):
            left["with a transcript longer than their steps allow"] += 1
        else:
            tenth = int(hashlib.sha256(content).hexdigest()[:8], 16) % 10
            found[TENTHS.get(tenth, "training")].append((features, said))
    alphabet = sorted({character for _, said in found["training"] for character in said})
    for part in ("validation", "test"):
        known = [(features, said) for features, said in found[part] if set(said) <= set(alphabet)]
        left["with characters that training lacks"] += len(found[part]) - len(known)
        found[part] = known
    notes = [f"{count:,} recordings {why} are left out" for why, count in left.items() if count]
    for part, fewest in FEWEST.items():
        if len(found[part]) < fewest:
            told = f"{len(found[part])} recordings in the {part} part, where at least {fewest} are needed"
            raise UserError(f"folder={folder}: {'; '.join([told, *notes])}")
    number = {character: index for index, character in enumerate(alphabet, start=1)}
    parts = {
        part: Part.of([features for features, _ in of], [[number[c] for c in said] for _, said in of])
        for part, of in found.items()
    }
    about = DataCard(
        Path(folder).name, f"{folder}, LJ Speech's layout", "not stated: the user's own recordings", 0, {},
        digest(whole.digest()), (*notes, "split by the digest of each file: a speaker may be in several parts"),
    )  # fmt: skip
    return corpus_of(alphabet, parts["training"], parts["validation"], lambda: parts["test"], about, between="")


def steps_needed(said: str) -> int:
    """A step a character, and a blank between equal ones."""
    return len(said) + sum(a == b for a, b in itertools.pairwise(said))
