"""Translation: its batches, its chance, and that nothing of the validation or test part reaches training."""

import chz
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_training import run

from rnnlab.cells import LSTM
from rnnlab.data.pairs import BEGIN, END, OTHER, PADDING
from rnnlab.tasks import Translation
from rnnlab.training.spec import TrainSpec, TrialSpec

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
SPANISH = dict(
    zip(WORDS, ["uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve", "diez"], strict=True)
)
ROWS = [((a, b, c), (SPANISH[a], SPANISH[b], SPANISH[c])) for a in WORDS for b in WORDS for c in WORDS[:4]]
TRAIN = TrainSpec(steps=4, window=2, batch_size=8, eval_size=8, learning_rate=1e-2)


def written(path, rows):
    path.write_text("".join(f"{' '.join(a)}\t{' '.join(b)}\n" for a, b in rows))
    return str(path)


def test_a_batch_is_a_source_and_what_the_decoder_reads():
    task = Translation(size=300, numbers=10**6, length=26, source_length=16)
    batch = jax.device_get(task.sample(jax.random.key(0), 64))
    source, read = batch.inputs[:16], batch.inputs[16:]
    assert (read[0] == BEGIN).all() and (np.sum(batch.targets == END, axis=0) == 1).all()
    np.testing.assert_array_equal(batch.mask, batch.targets != PADDING)
    for b in range(64):
        length = int(batch.mask[:, b].sum())
        np.testing.assert_array_equal(read[1:length, b], batch.targets[: length - 1, b])
        assert not read[length:, b].any() and batch.targets[length - 1, b] == END
        steps = int(np.sum(source[:, b] != PADDING))
        assert steps and not source[steps:, b].any()
        assert ((source[:steps, b] >= task.out_features) | (source[:steps, b] == OTHER)).all()


def test_chance_is_the_loss_of_the_frequencies_of_words():
    task = Translation(size=300, numbers=10**6, length=26, source_length=16)
    training, held = (task.data.parts[part].target for part in ("training", "validation"))
    counts = np.array([1.0 + np.sum(training == k) if k >= END else 0 for k in range(task.out_features)])
    p = counts / counts.sum()
    each = [-np.mean(np.log(p[row[row != PADDING]])) for row in held]
    np.testing.assert_allclose(task.chance, np.mean(each), rtol=1e-12)


@pytest.mark.slow
def test_what_is_held_out_changes_no_weight_by_a_bit(tmp_path):
    """Other targets, unknown words among them, in the validation and test part, and other sources there too."""
    file = tmp_path / "pairs.tsv"
    task = Translation(length=10, pairs=written(file, ROWS))
    spec = TrialSpec(cell=LSTM(features=6), task=task, attention="dot", train=TRAIN)
    before = task.data
    trained = run(spec, [0])[0].model
    held = {source for part in ("validation", "test") for source, _ in before.texts[part]}
    rows = [(a, ("nada", "uno") if " ".join(a) in held else b) for a, b in ROWS]
    task = chz.replace(task, pairs=written(tmp_path / "other.tsv", rows))
    after = task.data
    assert len(held) > 20 and after.card.sha256 != before.card.sha256
    np.testing.assert_array_equal(after.parts["training"].target, before.parts["training"].target)
    assert not np.array_equal(after.parts["test"].target, before.parts["test"].target)
    again = run(chz.replace(spec, task=task), [0])[0].model
    for one, two in zip(jax.tree.leaves(trained), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_sentence_is_right_as_a_whole():
    task = Translation(size=300, numbers=1000, length=24, source_length=12)
    batch = task.held_out(jax.random.key(1), 12)
    outputs = np.array(jax.nn.one_hot(batch.targets, task.out_features))
    outputs[1, 3] = np.roll(outputs[1, 3], 1)  # one answer of sentence 3
    outputs[-1, 5, END] = 5.0  # behind the end of sentence 5, where nothing counts
    right = np.asarray(task.right(jnp.asarray(outputs), batch))
    assert right[3] == (0 if batch.mask[1, 3] else 1) and right.sum() == 11 and bool(batch.mask[1, 3])
