"""n-gram models sum to 1, and give what is worked out by hand and by brute force."""

import gzip
from collections import Counter, defaultdict

import numpy as np
import pytest

from rnnlab.data.annotations import annotations
from rnnlab.data.ngrams import compressed_bits, ngram_probabilities


def by_counting(training, context, character, size, order):
    """Witten & Bell's estimate by its definition, context by context."""
    p = 1 / size
    for length in range(order):
        if length > len(context):
            break
        h = tuple(context[len(context) - length :])
        after = defaultdict(Counter)
        for at in range(length, len(training)):
            after[tuple(training[at - length : at])][training[at]] += 1
        n, t = sum(after[h].values()), len(after[h])
        p = (after[h][character] + t * p) / (n + t) if n else p
    return p


def test_an_example_by_hand():
    """abab over {a, b, c}: p(a) = (2 + 2/3) / 6; after a only b, twice, so p(b | a) = (2 + p(b)) / 3."""
    found = ngram_probabilities(np.array([0, 1, 0, 1]), np.array([0]), np.array([1, 2]), size=3, order=2)
    b, c = (2 + 2 / 3) / 6, (2 / 3) / 6
    np.testing.assert_allclose(found[0], [b, c])
    np.testing.assert_allclose(found[1], [(2 + b) / 3, (1 * 0 + 1 * c) / 2])  # after b came a, once


@pytest.mark.parametrize("seed", range(3))
def test_every_order_is_that_of_counting(seed):
    rng = np.random.default_rng(seed)
    size = 4  # the last of which training lacks
    training, before, test = (rng.integers(0, top, n) for top, n in ((3, 60), (3, 7), (4, 25)))
    found = ngram_probabilities(training, before, test, size, order=5)
    stream = [*before, *test]
    for order in range(1, 6):
        wanted = [by_counting(training, stream[: 7 + at], c, size, order) for at, c in enumerate(test)]
        np.testing.assert_allclose(found[order - 1], wanted, rtol=1e-12)


def test_probabilities_sum_to_1_whatever_stood_before():
    rng = np.random.default_rng(3)
    training = rng.integers(0, 5, 200).astype(np.uint8)
    for before in (training[:6], np.array([5, 5, 5, 5, 5], np.uint8), np.zeros(0, np.uint8)):
        each = [ngram_probabilities(training, before, np.array([c], np.uint8), 6, order=6)[:, 0] for c in range(6)]
        np.testing.assert_allclose(np.sum(each, axis=0), 1, rtol=1e-12)


def test_a_large_alphabet_overflows_nothing():
    training = np.arange(60_000, dtype=np.uint16)
    p = ngram_probabilities(training, training[:5], training[5:7], 60_001, order=6)
    assert (np.diff(p[:, 0]) >= 0).all() and p[-1, 0] > p[0, 0] > 0


def test_a_compressor_is_charged_what_the_test_part_adds():
    training, test = b"the cat sat on the mat. " * 40, b"the cat sat"
    found = compressed_bits(training, test, len(test))
    added = len(gzip.compress(training + test, 9, mtime=0)) - len(gzip.compress(training, 9, mtime=0))
    assert found["gzip"] == 8 * added / 11 and 0 <= found["xz"] < 8


def test_annotations_follow_marks_and_lines():
    text = 'a "b(c)" (d [e) f]\ng "h\n\ni“j”'
    found = {name: of.tolist() for name, of in annotations(text).items()}
    assert "".join(c for c, inside in zip(text, found["quotes"], strict=True) if inside) == '"b(c)"h\n“j'
    assert "".join(c for c, inside in zip(text, found["brackets"], strict=True) if inside) == "(c(d [e"
    assert found["line"][:3] == [1, 2, 3] and found["line"][18:21] == [0, 1, 2] and len(found["line"]) == len(text)
    assert max(annotations("x" * 500)["line"]) == 100 and not len(annotations("")["quotes"])
