"""Own arrays as a task: epochs, losses and chance against NumPy, and a program that holds none of the data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import VanillaRNN
from rnnlab.model import SequenceModel
from rnnlab.runs.own_arrays import as_task
from rnnlab.training import arrays
from rnnlab.training.layout import layout, stack
from rnnlab.training.spec import TrainSpec
from rnnlab.training.state import first_state

RNG = np.random.default_rng(0)
XS = RNG.normal(size=(4, 10, 3))
CLASSES = RNG.integers(0, 3, (4, 10))
LENGTHS = np.array([1, 4, 2, 3, 4, 1, 2, 3, 4, 4])


def task_of(ys, lengths=None):
    return as_task((XS, ys), lengths, 0.3, 0, None)


def test_every_sequence_is_seen_once_an_epoch_in_another_order():
    task, key = task_of(XS[0, :, 0]), jax.random.key(1)
    seen = [task.training_batch(key, step, 4).targets[0, :, 0] for step in range(14)]
    epochs = np.concatenate(seen).reshape(8, 7)
    want = np.sort(np.asarray(task.training.targets[0, :, 0]))
    assert all(np.array_equal(np.sort(epoch), want) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 8
    inputs = task.training_batch(key, 0, 4).inputs
    np.testing.assert_array_equal(inputs[0, :, 0], seen[0])  # inputs go with their targets


def test_what_is_held_out_is_never_trained_on():
    task = task_of(XS[0, :, 0])
    held, trained = (set(np.asarray(part.targets).ravel()) for part in (task.validation, task.training))
    assert len(held) == 3 and len(trained) == 7 and not held & trained
    assert set(np.asarray(task.held_out(jax.random.key(5), 3).targets).ravel()) == held
    assert set(np.asarray(task.sample(jax.random.key(5), 50).targets).ravel()) <= trained


def test_losses_and_right_are_means_over_the_answers_that_there_are():
    task = task_of(CLASSES, LENGTHS)
    batch = task.training_batch(jax.random.key(0), 0, 7)
    outputs = jnp.asarray(RNG.normal(size=(4, 7, 3)), jnp.float32)
    losses, right = task.losses(outputs, batch), task.right(outputs, batch)
    for b, (length, targets) in enumerate(zip(batch.lengths, np.asarray(batch.targets).T, strict=True)):
        z, targets = np.asarray(outputs[:length, b], float), targets[:length]
        log_p = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
        np.testing.assert_allclose(losses[b], -np.mean(log_p[np.arange(length), targets]), rtol=1e-5)
        np.testing.assert_allclose(right[b], np.mean(z.argmax(axis=-1) == targets), rtol=1e-6)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_chance_is_the_lowest_loss_of_outputs_that_read_nothing(kind, lengths):
    """Found by descent on a constant output a step, which has no other minimum."""
    task = task_of(CLASSES if kind == "classes" else XS[..., :2] ** 2, lengths)
    batch = arrays._counted(jax.tree.map(jnp.asarray, task.training), task.length)

    def loss(bias):
        return jnp.mean(task.losses(jnp.broadcast_to(bias[:, None], (4, 7, task.outputs)), batch))

    def descend(_, bias):
        return bias - 2.0 * jax.grad(loss)(bias)

    bias = jax.lax.fori_loop(0, 3000, descend, jnp.zeros((4, task.outputs)))
    np.testing.assert_allclose(loss(bias), task.chance, rtol=2e-3)


def test_other_arrays_of_the_same_shapes_run_the_same_program_and_none_is_in_it():
    train = TrainSpec(steps=2, window=2, batch_size=4, eval_size=2)
    where = layout(1, 4)
    model = SequenceModel(VanillaRNN(features=2), 3, 1, rngs=nnx.Rngs(0))
    arrays._compiled.cache_clear()
    losses = []
    for scale in (1, 10):
        task = as_task((XS, scale * XS[0, :, 0]), None, 0.3, 0, model)
        first = jax.device_get(first_state(train, model, 0))
        _, record = arrays.windows_on(task, train, first, where)(stack([first]))
        losses.append(float(record["train/loss"][0]))
    assert arrays._compiled.cache_info().misses == 1 and losses[1] > 10 * losses[0]
    assert hash(task) != hash(as_task((XS, XS[0, :, 0]), None, 0.3, 0, model)) and "7 sequences, 3 held out" in repr(
        task
    )
