"""Translations without a network: a copy of the source, the most frequent target, and a dictionary word by word."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

from rnnlab.data.pairs import END, OTHER, PADDING, Pairs
from rnnlab.data.tokens import sentence
from rnnlab.translation.alignment import ibm_model_1, most_likely, unpadded

TESTED = 500  # sentences of the test part that are translated
SHOWN = 2  # of which attention is drawn
ITERATIONS = 5
DICTIONARY = "a dictionary (IBM model 1)"


def baselines(data: Pairs) -> dict[str, Any]:
    """As JSON holds it: the tested sentences, what each model writes, and the target's tokens by number."""
    training, test = data.parts["training"], data.parts["test"]
    tested = data.texts["test"][:TESTED]
    targets = collections.Counter(map(tuple, unpadded(training.target)))
    known = {target: times for target, times in targets.items() if OTHER not in target}  # others are several sentences
    frequent, times = max((known or targets).items(), key=lambda pair: pair[1])
    pairs = unpadded(training.source), unpadded(training.target, (PADDING, END))
    dictionary = most_likely(ibm_model_1(*pairs, ITERATIONS))
    word_by_word = [
        sentence(data.target_words([dictionary[n] for n in source if n in dictionary]), data.units)
        for source in unpadded(test.source[:TESTED])
    ]
    return {
        "sources": [source for source, _ in tested],
        "references": [target for _, target in tested],
        "lengths": np.sum(test.source[:TESTED] != PADDING, axis=1).tolist(),
        "source words": [data.source_words(row) for row in test.source[:TESTED]],
        "target words": [data.target_words(row) for row in test.target[:TESTED]],
        "target tokens": ["", "", "", "\N{REPLACEMENT CHARACTER}", *data.target_tokens],
        "units": data.units,
        "frequent": [times, len(training.target)],
        "models": {
            "a copy of the source": [source for source, _ in tested],
            "the most frequent target": [data.decode(frequent)] * len(tested),
            DICTIONARY: word_by_word,
        },
    }
