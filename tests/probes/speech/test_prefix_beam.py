"""The search against all alignments of tiny cases, in float64."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.probes.speech.prefix_beam import prefix_beam
from rnnlab.tasks.transcription import best_path


def by_all_alignments(log_p):
    """log p of every transcript, by summing over all K^T paths."""
    found = {}
    for path in itertools.product(range(log_p.shape[1]), repeat=len(log_p)):
        said = tuple(k for k, _ in itertools.groupby(path) if k)
        value = sum(log_p[t, k] for t, k in enumerate(path))
        found[said] = np.logaddexp(found.get(said, -np.inf), value)
    return found


def drawn(recordings, steps=6, classes=3):
    """Logarithms of probabilities [T, B, K]."""
    return np.log(np.random.default_rng(0).dirichlet(np.full(classes, 0.7), (steps, recordings)))


def searched(log_p, lengths, width, longest=6):
    found = prefix_beam(jnp.asarray(log_p), jnp.asarray(lengths), longest, width)
    return [tuple(int(label) for label in row if label) for row in found.T]


def test_a_wide_beam_finds_the_most_likely_transcript_of_all():
    log_p, lengths = drawn(40), np.arange(40) % 6 + 1
    with jax.enable_x64(True):
        found = searched(log_p, lengths, 200)
    for b, said in enumerate(found):
        exact = by_all_alignments(log_p[: lengths[b], b])
        assert exact[said] == pytest.approx(max(exact.values()), abs=1e-12)


@pytest.mark.slow
def test_a_narrow_beam_is_seldom_worse_than_the_best_path_and_often_better():
    """Graves et al. 2006, section 3.2: the best path says nothing, p = .36, and the transcript `1` has .64."""
    log_p = np.log([[[0.6, 0.4]], [[0.6, 0.4]]])
    assert searched(log_p, [2], 8) == [(1,)] and not best_path(jnp.asarray(log_p), jnp.array([2])).any()
    log_p, lengths = drawn(40), jnp.full(40, 6)
    paths = [tuple(int(label) for label in row if label) for row in best_path(jnp.asarray(log_p), lengths).T]
    exact = [by_all_alignments(log_p[:, b]) for b in range(40)]
    gain = np.array([of[a] - of[b] for of, a, b in zip(exact, searched(log_p, lengths, 8), paths, strict=True)])
    assert (gain > 1e-9).sum() > 5 and (gain < -1e-9).sum() == 0


def test_a_transcript_has_at_most_so_many_labels():
    """The most likely of those; and the empty one where none may be said."""
    log_p, lengths = drawn(20), np.full(20, 6)
    for b, said in enumerate(searched(log_p, lengths, 200, longest=1)):
        exact = {k: v for k, v in by_all_alignments(log_p[:, b]).items() if len(k) <= 1}
        assert exact[said] == pytest.approx(max(exact.values()), abs=1e-6)
