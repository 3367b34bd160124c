"""Decoders against all alignments of tiny cases, and edit distances against jiwer's."""

import itertools

import jiwer
import numpy as np
import pytest

from rnnlab.data.transcripts import aligned, best_path, edits, error_rate, prefix_beam


def by_all_alignments(log_p):
    """log p of every transcript, by summing over all K^T paths."""
    found = {}
    for path in itertools.product(range(log_p.shape[1]), repeat=len(log_p)):
        said = tuple(k for k, _ in itertools.groupby(path) if k)
        value = sum(log_p[t, k] for t, k in enumerate(path))
        found[said] = np.logaddexp(found.get(said, -np.inf), value)
    return found


def drawn(seed, steps=5, classes=3):
    p = np.random.default_rng(seed).dirichlet(np.full(classes, 0.7), steps)
    return np.log(p)


@pytest.mark.parametrize("seed", range(12))
def test_a_wide_beam_finds_the_most_likely_transcript_of_all(seed):
    log_p = drawn(seed)
    exact = by_all_alignments(log_p)
    assert exact[tuple(prefix_beam(log_p, 1000))] == pytest.approx(max(exact.values()), abs=1e-12)


def test_a_beam_beats_the_best_path_where_alignments_add_up():
    """Graves et al. 2006, section 3.2: the best path says nothing, p = .36, and the transcript `1` has .64."""
    log_p = np.log([[0.6, 0.4], [0.6, 0.4]])
    assert best_path(log_p) == [] and prefix_beam(log_p, 8) == [1]
    better = sum(by_all_alignments(p)[tuple(prefix_beam(p, 8))] > by_all_alignments(p)[tuple(best_path(p))]
                 for p in map(drawn, range(40)))  # fmt: skip
    assert better > 3


def test_the_best_path_is_collapsed():
    path = [0, 1, 1, 0, 1, 2, 2, 0]
    assert best_path(np.eye(3)[path]) == [1, 1, 2]


def test_edit_distances_are_jiwers():
    draw = np.random.default_rng(0)
    said = [draw.integers(1, 5, draw.integers(1, 8)).tolist() for _ in range(60)]
    heard = [draw.integers(1, 5, draw.integers(0, 8)).tolist() for _ in range(60)]
    words = [[" ".join(map(str, one)) for one in of] for of in (said, heard)]
    assert error_rate(said, heard) == pytest.approx(jiwer.wer(*words))
    for one, two in zip(said, heard, strict=True):
        pairs = aligned(one, two)
        assert [a for a, _ in pairs if a] == one and [b for _, b in pairs if b] == two
        found = jiwer.process_words(" ".join(map(str, one)), " ".join(map(str, two)))
        assert edits(one, two) == found.substitutions + found.insertions + found.deletions
