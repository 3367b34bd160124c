"""Training on sequences of unequal length, with noise, and with everything a model may have."""

import chz
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny_training import TRAIN, assert_same, run

import rnnlab
from rnnlab.cells import LSTM
from rnnlab.model import Dropout, SequenceModel
from rnnlab.settings.errors import SettingError
from rnnlab.tasks import Adding, CopyMemory
from rnnlab.tasks.base import Batch
from rnnlab.tasks.contract import check_task
from rnnlab.training.spec import BATCHES, TrialSpec, stream

pytestmark = pytest.mark.slow

UNEQUAL = Adding(length=9, shortest=4)
DROPOUT = Dropout(between=0.2, variational=0.1, recurrent=0.1, zoneout_c=0.1, zoneout_h=0.1)


def test_a_sequence_is_the_problem_of_its_own_length():
    """Markers lie in the two halves of each sequence, the target is the sum of what they mark."""
    batch = UNEQUAL.sample(jax.random.key(0), 200)
    values, markers = np.moveaxis(np.asarray(batch.inputs), -1, 0)
    lengths = np.asarray(batch.lengths)
    assert set(lengths) == set(range(4, 10))
    for b, length in enumerate(lengths):
        first, second = np.flatnonzero(markers[:, b])
        assert first < round(length / 2) <= second < length
    np.testing.assert_allclose((values * markers).sum(0), batch.targets[0, :, 0], rtol=1e-6)
    check_task(UNEQUAL)
    assert UNEQUAL.needed_lag == 2


def test_trials_in_one_program_train_as_alone():
    """Two trials beside each other and one by one, its batch over two devices: the same training to rounding."""
    spec = TrialSpec(cell=LSTM(features=4), task=UNEQUAL, train=TRAIN, layers=2, residual=True, layer_norm=True)
    both, records, _ = run(spec, [0, 1])
    alone, _, _ = run(spec, [1])
    for one, two in zip(jax.tree.leaves(both.model), jax.tree.leaves(alone.model), strict=True):
        np.testing.assert_allclose(one[1], two[0], rtol=1e-4, atol=1e-6)
    taps = records[-1]["taps"][0][1]  # ||dL/dh|| [S, T] of the first layer: every sequence has lag 3
    assert taps.shape == (2, 9) and (taps[:, -4:] > 0).all()


def test_noise_is_drawn_anew_at_each_update_and_again_the_same():
    spec = TrialSpec(cell=LSTM(features=4), task=Adding(length=6), train=TRAIN, layers=2, dropout=DROPOUT)
    first, second, plain = (run(s, [0])[0] for s in (spec, spec, TrialSpec(**(vars_of(spec) | {"dropout": Dropout()}))))
    for one, two in zip(jax.tree.leaves(first.model), jax.tree.leaves(second.model), strict=True):
        np.testing.assert_array_equal(one, two)
    assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(first.model), jax.tree.leaves(plain.model), strict=True))


def vars_of(spec):
    return {name: getattr(spec, name) for name in ("cell", "task", "train", "layers")}


def test_windows_of_truncated_bptt_are_updates_with_the_carry_handed_on():
    """Three windows of 4 steps of one batch, by hand: each update's gradient is that of its window alone."""
    task = CopyMemory(length=12, symbols=3)
    train = chz.replace(TRAIN, truncation=4, steps=3, window=3, clip_norm=None, optimizer="sgd", learning_rate=0.1)
    spec = TrialSpec(cell=LSTM(features=4), task=task, train=train)
    final, records, _ = run(spec, [0])
    model, batch = spec.build(0), task.sample(jax.random.fold_in(stream(0, BATCHES), 0), train.batch_size)
    carry = model.initial_carry(train.batch_size)
    for start in range(0, 12, 4):
        inputs, targets = batch.inputs[start : start + 4], batch.targets[start : start + 4]

        def loss(model, inputs=inputs, targets=targets, carry=carry):
            outputs, last = model(inputs, carry=carry, return_carry=True)
            return jnp.mean(task.losses(outputs, Batch(inputs, targets))), last

        gradient, carry = jax.jit(jax.grad(loss, has_aux=True))(model)
        model = jax.tree.map(lambda leaf, g: leaf - 0.1 * g, model, gradient)
    for one, two in zip(jax.tree.leaves(final.model), jax.tree.leaves(model), strict=True):
        np.testing.assert_allclose(one[0], two, rtol=1e-4, atol=1e-6)
    taps = records[-1]["taps"][0][1][0]
    assert taps.shape == (12,) and (taps[-4:] > 0).all() and not taps[:-4].any()


@pytest.mark.parametrize(
    ("task", "train", "told"),
    [
        (Adding(length=12), {"truncation": 4}, "Adding answers at 1 of its 12 steps"),
        (CopyMemory(length=12, symbols=3), {"truncation": 5}, "windows divide the length T = 12; the nearest .* is 4"),
        (CopyMemory(length=12, symbols=3), {"truncation": 4, "omega": 1.0}, r"not with train.omega=1\.0"),
    ],
)
def test_windows_that_do_not_fit_are_refused(task, train, told):
    with pytest.raises(ValueError, match=told):
        TrialSpec(task=task, train=chz.replace(TRAIN, **train))


def test_a_window_counts_only_the_sequences_that_reach_it():
    """Sequences that have ended are not right for nothing, and a window behind all of them moves no weight."""
    lengths = jnp.array([2, 6, 2, 2])
    model = SequenceModel(LSTM(features=4), 3, 2, rngs=nnx.Rngs(0))
    xs, ys = (jax.random.normal(jax.random.key(k), (8, 4, n), jnp.float32) for k, n in ((0, 3), (1, 2)))
    how = {"truncation": 2, "steps": 4, "batch_size": 4, "window": 1, "clip_norm": None, "quiet": True}
    own = (xs[:, :2], ys[:, :2], lengths[:2])
    trained = rnnlab.fit(model, data=(xs, ys), lengths=lengths, validation=own, learning_rate=1e-9, **how)
    outputs = model(xs)
    error = jnp.mean((outputs - ys) ** 2, axis=2)
    want = [jnp.mean(error[:2]), jnp.mean(error[2:4, 1]), jnp.mean(error[4:6, 1]), 0.0]
    np.testing.assert_allclose(trained.history["train/loss"], want, rtol=1e-5)
    third = rnnlab.fit(model, data=(xs, ys), lengths=lengths, validation=own, **how | {"steps": 3})
    fourth = rnnlab.fit(model, data=(xs, ys), lengths=lengths, validation=own, **how)
    assert_same(third.end.model, fourth.end.model)


def test_truncation_of_a_model_of_two_directions_is_refused():
    model = SequenceModel(LSTM(features=4), 3, 2, bidirectional=True, rngs=nnx.Rngs(0))
    with pytest.raises(SettingError, match="not with bidirectional=True"):
        rnnlab.fit(model, data=(np.zeros((8, 4, 3)), np.zeros((8, 4, 2))), truncation=2, quiet=True)
