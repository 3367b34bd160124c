"""A dictionary of word alignments: IBM model 1 (Brown, Della Pietra, Della Pietra & Mercer 1993, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Integer

PAIRS, COMBINATIONS = 20_000, 8_000_000  # read at most: of pairs, and of pairs of words in them
NULL = 0  # the source word of what has none; padding's own number


def ibm_model_1(
    sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], iterations: int = 5
) -> dict[int, dict[int, float]]:
    """t(target word | source word) by expectation maximisation, from equal probabilities.

    Each target word is made by one of its sentence's source words, or by the empty word `NULL`, all as likely a
    priori. The likelihood has one maximum but for ties, so few iterations do.

    Args:
      sources: words of each sentence as numbers above 0.
      targets: the same of their translations.
    """
    left, right, of_target, seen = [], [], [], 0  # for each pair of words: source, target, and the place it stands at
    combinations = 0
    for source, target in list(zip(sources, targets, strict=True))[:PAIRS]:
        combinations += len(target) * (len(source) + 1)
        if left and combinations > COMBINATIONS:
            break
        if not target:
            continue
        words = np.array([NULL, *source])
        left.append(np.tile(words, len(target)))
        right.append(np.repeat(np.array(target), len(words)))
        of_target.append(seen + np.repeat(np.arange(len(target)), len(words)))
        seen += len(target)
    e, f, place = (np.concatenate(part) for part in (left, right, of_target))
    base = int(f.max()) + 1
    entries, index = np.unique(e.astype(np.int64) * base + f, return_inverse=True)
    words = entries // base
    t = np.ones(len(entries))
    for _ in range(iterations):
        share = t[index]
        share = share / np.bincount(place, share, seen)[place]  # who made the word at this place
        counts = np.bincount(index, share, len(entries))
        t = counts / np.bincount(words, counts)[words]
    table: dict[int, dict[int, float]] = {}
    for entry, p in zip(entries, t, strict=True):
        table.setdefault(int(entry // base), {})[int(entry % base)] = float(p)
    return table


def most_likely(table: dict[int, dict[int, float]]) -> dict[int, int]:
    """The likeliest target word of each source word."""
    return {word: max(of, key=of.__getitem__) for word, of in table.items()}


def unpadded(rows: Integer[np.ndarray, "n W"], drop: Sequence[int] = (0,)) -> list[list[int]]:
    """Each row without these numbers."""
    return [[int(number) for number in row if number not in drop] for row in rows]
