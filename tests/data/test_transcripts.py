"""Edits and alignments, of which jiwer counts the edits."""

import jiwer
import numpy as np
import pytest

from rnnlab.data.transcripts import alignments, edits, error_rate


def fewest(one, two):
    """Edits by the definition: the first labels are equal, or one of three edits is made (Levenshtein 1966)."""
    if not one or not two:
        return len(one) + len(two)
    if one[0] == two[0]:
        return fewest(one[1:], two[1:])
    return 1 + min(fewest(one[1:], two), fewest(one, two[1:]), fewest(one[1:], two[1:]))


def test_edits_are_the_fewest():
    draw = np.random.default_rng(0)
    said = [draw.integers(1, 25, draw.integers(1, 7)).tolist() for _ in range(60)] + [[], [1], []]
    heard = [draw.integers(1, 25, draw.integers(0, 7)).tolist() for _ in range(60)] + [[2], [], []]
    said[:30], heard[:30] = (
        [[k % 4 + 1 for k in of] for of in said[:30]],
        [[k % 4 + 1 for k in of] for of in heard[:30]],
    )
    assert edits(said, heard) == [fewest(one, two) for one, two in zip(said, heard, strict=True)]
    for one, two, pairs in zip(said, heard, alignments(said, heard), strict=True):
        assert [a for a, _ in pairs if a] == one and [b for _, b in pairs if b] == two
    words = [[" ".join(map(str, one)) for one in of] for of in (said, heard)]
    assert error_rate(said, heard) == pytest.approx(jiwer.wer(*words))
    assert edits([], []) == [] and error_rate([], []) == 0
