"""Transcripts beside what was said, and answers that hear nothing."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnlab.data.series import needs_extra
from rnnlab.data.speech import Corpus


def alignments(said: Sequence[Sequence[int]], heard: Sequence[Sequence[int]]) -> list[list[tuple[int, int]]]:
    """Of each transcript the pairs (said, heard) of an alignment with the fewest edits, by jiwer; 0: nothing."""
    try:
        from jiwer import process_words
    except ImportError as error:
        raise needs_extra(error) from None
    words = [[" ".join(map(str, labels)) for labels in of] for of in (said, heard)]
    found = []
    for one, two, chunks in zip(said, heard, process_words(*words).alignments if said else [], strict=True):
        pairs = ((one[c.ref_start_idx : c.ref_end_idx], two[c.hyp_start_idx : c.hyp_end_idx]) for c in chunks)
        found.append([pair for of in pairs for pair in itertools.zip_longest(*of, fillvalue=0)])
    return found


def edits(said: Sequence[Sequence[int]], heard: Sequence[Sequence[int]]) -> list[int]:
    """Insertions, deletions and substitutions of each, at least."""
    return [sum(one != two for one, two in pairs) for pairs in alignments(said, heard)]


def error_rate(said: Sequence[Sequence[int]], heard: Sequence[Sequence[int]]) -> float:
    """Edits over tokens that were said."""
    return sum(edits(said, heard)) / max(sum(map(len, said)), 1)


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
