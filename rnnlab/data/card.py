"""What a reader must know of data to judge a result on it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class DataCard(NamedTuple):
    """Where data comes from, how much there is of it, and how it is split."""

    name: str
    source: str  # who measured or wrote it, and what it was read from
    licence: str
    rows: int
    parts: Mapping[str, str]  # of training, validation and test: which rows
    sha256: str  # of what was read, its first 16 digits: see `digest`
    notes: Sequence[str] = ()  # what was done about what was wrong in it, a line each


def digest(content: bytes) -> str:
    """The first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(content).hexdigest()[:16]
