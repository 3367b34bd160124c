"""Transcripts from what a network says at every step, beside what was said; and answers that hear nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from rnnlab.data.speech import Corpus


def best_path(log_p: Float[np.ndarray, "T K"]) -> list[int]:
    """The most likely path without repetitions and blanks (class 0)."""
    path = np.argmax(log_p, axis=1)
    return [int(label) for label, before in zip(path, [0, *path[:-1]], strict=True) if label and label != before]


def prefix_beam(log_p: Float[np.ndarray, "T K"], width: int = 8) -> list[int]:
    """The most likely transcript among `width` prefixes kept at each step, all alignments of each summed.

    Hannun, Maas, Jurafsky & Ng 2014, algorithm 1, without a language model; Graves 2012, section 7.5.3.

    Args:
      log_p: logarithms of each class's probability at each step; class 0 is the blank.
      width: prefixes kept; with all of them the search is exact.
    """
    ended, open_ = {(): 0.0}, {(): -np.inf}  # by prefix: log p of alignments that end in a blank, and in its last label
    for step in log_p:
        blank: dict[tuple[int, ...], float] = {}
        label: dict[tuple[int, ...], float] = {}

        def add(where, prefix, value):
            where[prefix] = float(np.logaddexp(where.get(prefix, -np.inf), value))

        for prefix in ended:
            whole = np.logaddexp(ended[prefix], open_[prefix])
            add(blank, prefix, whole + step[0])
            if prefix:
                add(label, prefix, open_[prefix] + step[prefix[-1]])
            for new in range(1, len(step)):
                before = ended[prefix] if prefix and new == prefix[-1] else whole
                add(label, (*prefix, new), before + step[new])
        scores = {p: np.logaddexp(blank.get(p, -np.inf), label.get(p, -np.inf)) for p in blank | label}
        kept = sorted(scores, key=scores.__getitem__, reverse=True)[:width]
        ended = {p: blank.get(p, -np.inf) for p in kept}
        open_ = {p: label.get(p, -np.inf) for p in kept}
    return list(max(ended, key=lambda p: np.logaddexp(ended[p], open_[p])))


def aligned(said: Sequence[int], heard: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs (said, heard) of an alignment with the fewest edits; 0 stands for nothing."""
    table = np.zeros((len(said) + 1, len(heard) + 1), int)
    table[:, 0], table[0] = np.arange(len(said) + 1), np.arange(len(heard) + 1)
    for i, one in enumerate(said, start=1):
        for j, two in enumerate(heard, start=1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (one != two))
    i, j, pairs = len(said), len(heard), []
    while i or j:
        if i and j and table[i, j] == table[i - 1, j - 1] + (said[i - 1] != heard[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((said[i], heard[j]))
        elif i and table[i, j] == table[i - 1, j] + 1:
            i -= 1
            pairs.append((said[i], 0))
        else:
            j -= 1
            pairs.append((0, heard[j]))
    return pairs[::-1]


def edits(said: Sequence[int], heard: Sequence[int]) -> int:
    """Insertions, deletions and substitutions, at least."""
    return sum(one != two for one, two in aligned(said, heard))


def error_rate(said: Sequence[Sequence[int]], heard: Sequence[Sequence[int]]) -> float:
    """Edits over tokens that were said."""
    wrong = sum(edits(one, two) for one, two in zip(said, heard, strict=True))
    return wrong / max(sum(map(len, said)), 1)


def constant_answers(corpus: Corpus) -> dict[str, Any]:
    """The test part's transcripts (`said`), error rates of answers that are the same whatever is heard, and what
    features and tokens are: a transcript of another recording needs no corpus.

    Of the training part: its most frequent transcript, and its most frequent token as often as the median transcript
    has tokens.
    """
    known = [tuple(corpus.training.tokens(number)) for number in range(len(corpus.training))]
    said = [corpus.test.tokens(number) for number in range(len(corpus.test))]
    token = Counter(label for each in known for label in each).most_common(1)[0][0]
    answers = {
        "nothing": [],
        "most frequent transcript": list(Counter(known).most_common(1)[0][0]),
        "most frequent token, median length": [token] * int(np.median([len(each) for each in known])),
    }
    rates = {name: error_rate(said, [answer] * len(said)) for name, answer in answers.items()}
    about = {"tokens": list(corpus.tokens), "between": corpus.between}
    scaling = {"mean": corpus.mean.tolist(), "deviation": corpus.deviation.tolist()}
    return {"said": said, "answers": rates} | about | scaling
