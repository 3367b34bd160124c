"""CTC against all alignments in float64; a padded batch against single sequences; edits against plain Python."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import GRU, LSTM
from rnnlab.data import transcripts
from rnnlab.model import SequenceModel
from rnnlab.tasks import Batch
from rnnlab.tasks.transcription import best_path, ctc_losses, edit_distance, exactly_right

pytestmark = pytest.mark.slow

LABELS = [[1], [1, 1], [2, 1], [1, 2, 1], [2, 2, 2], []]


def padded(rows):
    wide = np.zeros((max(map(len, rows)), len(rows)), np.int32)
    for column, row in enumerate(rows):
        wide[: len(row), column] = row
    return jnp.asarray(wide)


def by_all_paths(outputs, said):
    """-log of the summed probability of all paths that collapse to what was said."""
    p = np.exp(outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True)))
    total = 0.0
    for path in itertools.product(range(p.shape[1]), repeat=len(p)):
        if [k for k, _ in itertools.groupby(path) if k] == said:
            total += np.prod([p[t, k] for t, k in enumerate(path)])
    return -np.log(total)


def test_the_loss_is_that_of_all_alignments():
    lengths = np.array([3, 4, 5, 5, 5, 2])
    outputs = np.random.default_rng(0).standard_normal((5, 6, 3))
    found = ctc_losses(jnp.asarray(outputs), jnp.asarray(lengths), padded(LABELS))
    wanted = [by_all_paths(outputs[: lengths[b], b], LABELS[b]) for b in range(6)]
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_its_gradient_is_that_of_all_alignments():
    outputs = np.random.default_rng(1).standard_normal((4, 1, 3))
    gradient = jax.grad(lambda o: ctc_losses(o, jnp.array([4]), padded([[1, 1]])).sum())(jnp.asarray(outputs))
    for t, k in itertools.product(range(4), range(3)):
        moved = [outputs.copy() for _ in range(2)]
        moved[0][t, 0, k] += 1e-5
        moved[1][t, 0, k] -= 1e-5
        slope = (by_all_paths(moved[0][:, 0], [1, 1]) - by_all_paths(moved[1][:, 0], [1, 1])) / 2e-5
        assert gradient[t, 0, k] == pytest.approx(slope, abs=1e-7)


def test_a_transcript_that_does_not_fit_has_a_large_loss_and_finite_gradients():
    outputs = jnp.zeros((3, 2, 3), jnp.float32)
    labels, lengths = padded([[1, 1, 1], [1, 2, 1]]), jnp.array([3, 2])
    losses, gradient = (
        ctc_losses(outputs, lengths, labels),
        jax.grad(lambda o: ctc_losses(o, lengths, labels).sum())(outputs),
    )
    assert (losses > 9e4).all() and jnp.isfinite(losses).all() and jnp.isfinite(gradient).all()


@pytest.mark.parametrize(("cell", "bidirectional"), [(LSTM, True), (LSTM, False), (GRU, True)])
def test_a_padded_batch_is_its_sequences_alone(cell, bidirectional):
    """Losses, transcripts and gradients: whatever stands behind a sequence's end, and however long it is."""
    lengths, said = [5, 9, 7], [[1], [2, 2, 1], [1, 2]]
    model = SequenceModel(cell(features=4, dtype="float64", param_dtype="float64"), 3, 3, bidirectional=bidirectional,
                          rngs=nnx.Rngs(0))  # fmt: skip
    draw = np.random.default_rng(0)
    alone = [draw.standard_normal((n, 1, 3)) for n in lengths]
    wide = np.full((12, 3, 3), 99.0)
    for b, xs in enumerate(alone):
        wide[: len(xs), b] = xs[:, 0]

    def loss(model, xs, lengths, labels):
        outputs = model(jnp.asarray(xs), lengths=jnp.asarray(lengths))
        return jnp.sum(ctc_losses(outputs, jnp.asarray(lengths), labels)), outputs

    (whole, outputs), gradient = jax.value_and_grad(loss, has_aux=True)(model, wide, lengths, padded(said))
    parts = [jax.value_and_grad(loss, has_aux=True)(model, xs, [len(xs)], padded([s]))
             for xs, s in zip(alone, said, strict=True)]  # fmt: skip
    np.testing.assert_allclose(whole, sum(value for (value, _), _ in parts), rtol=1e-12)
    for b, ((_, single), _) in enumerate(parts):
        np.testing.assert_allclose(outputs[: lengths[b], b], single[:, 0], rtol=1e-12, atol=1e-14)
    summed = jax.tree.map(lambda *leaves: sum(leaves), *(gradient for _, gradient in parts))
    for one, two in zip(jax.tree.leaves(gradient), jax.tree.leaves(summed), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-12)


def test_best_paths_and_edit_distances_are_those_of_plain_python():
    draw = np.random.default_rng(3)
    outputs, lengths = draw.standard_normal((9, 40, 3)), draw.integers(1, 10, 40)
    found = np.asarray(best_path(jnp.asarray(outputs), jnp.asarray(lengths)))
    paths = [outputs[: lengths[b], b].argmax(axis=1) for b in range(40)]
    heard = [[int(k) for k, _ in itertools.groupby(path) if k] for path in paths]
    assert [[int(k) for k in found[:, b] if k] for b in range(40)] == heard
    said = [draw.integers(1, 3, draw.integers(0, 6)).tolist() for _ in range(40)]
    wanted = transcripts.edits(said, heard)
    np.testing.assert_array_equal(edit_distance(padded(said), jnp.asarray(found)), wanted)
    batch = Batch(jnp.zeros((9, 40, 1)), jnp.zeros((9, 40), jnp.int32).at[: len(padded(said))].set(padded(said)),
                  jnp.asarray(lengths))  # fmt: skip
    np.testing.assert_array_equal(exactly_right(jnp.asarray(outputs), batch), [d == 0 for d in wanted])
