"""Every task is a pure function of its key, and its chance line is what a memoryless predictor gets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.specs.discover import subclasses
from rnnlab.tasks import Adding, CopyMemory, PaddedDigits, Task, TemporalOrder
from rnnlab.tasks.contract import check_task
from rnnlab.tasks.padded_digits import PIXELS, TRAIN, digits

pytestmark = pytest.mark.slow

TASKS = sorted((name, task) for name, task in subclasses(Task).items() if task.__module__.startswith("rnnlab.tasks."))


@pytest.mark.parametrize(("name", "task"), TASKS)
class TestEveryTask:
    """The battery: a new file in rnnlab/tasks is tested with no edit here."""

    def test_it_keeps_the_contract_that_a_users_own_is_checked_by(self, name, task):
        check_task(task())

    def test_a_batch_is_a_pure_function_of_its_key(self, name, task):
        draw = jax.jit(task().sample, static_argnums=1)
        jax.tree.map(np.testing.assert_array_equal, draw(jax.random.key(1), 4), draw(jax.random.key(1), 4))

    def test_a_batch_is_the_same_where_float64_is_enabled(self, name, task):
        """Every draw names its type: what another arm needs changes no number of this one."""
        found = []
        for enabled in (False, True):
            with jax.enable_x64(enabled):
                found.append([np.asarray(part, np.float64) for part in task().sample(jax.random.key(3), 4)[:2]])
        for narrow, wide in zip(*found, strict=True):
            np.testing.assert_allclose(narrow, wide, rtol=1e-6, atol=0)

    def test_losses_and_metrics_of_any_outputs(self, name, task):
        task = task()
        batch = task.held_out(jax.random.key(0), 6)
        outputs = jax.random.normal(jax.random.key(1), (task.answers, 6, task.out_features))
        metrics = task.metrics(outputs, batch)
        assert task.losses(outputs, batch).shape == (6,)
        np.testing.assert_allclose(metrics["loss"], task.losses(outputs, batch).mean(), rtol=1e-6)
        assert 0 <= metrics["accuracy"] <= 1
        assert task.chance > 0
        assert not task.solved({"accuracy": 0.0, "loss": 1e9}) and task.solved({"accuracy": 1.0, "loss": 0.0})

    def test_a_length_of_nothing_is_refused(self, name, task):
        with pytest.raises(ValueError, match="length=0"):
            task(length=0)


def test_adding_marks_one_value_in_each_half_and_asks_for_their_sum():
    task = Adding(length=40)
    batch = task.sample(jax.random.key(0), 500)
    values, markers = np.moveaxis(np.asarray(batch.inputs), -1, 0)
    assert (markers[:20].sum(0) == 1).all() and (markers[20:].sum(0) == 1).all()
    np.testing.assert_allclose((values * markers).sum(0), batch.targets[0, :, 0], rtol=1e-5)
    where = np.argmax(markers[:20], axis=0)
    assert set(where) == set(range(20))  # every position of the window is drawn


def test_addings_chance_is_the_loss_of_answering_one():
    batch = Adding().sample(jax.random.key(0), 20_000)
    loss = Adding().metrics(jnp.ones((1, 20_000, 1)), batch)["loss"]
    np.testing.assert_allclose(loss, Adding().chance, rtol=0.03)


@pytest.mark.parametrize(("blanks", "published"), [(100, 0.1733), (200, 0.0945), (500, 0.0400), (2000, 0.0103)])
def test_copy_memorys_chance_is_the_published_memoryless_loss(blanks, published):
    """10 ln 8 / (T + 20): Arjovsky, Shah & Bengio 2016, section 5.1."""
    np.testing.assert_allclose(CopyMemory(length=blanks + 20).chance, published, atol=5e-5)


def test_copy_memorys_chance_is_the_loss_of_blanks_then_a_guess():
    task = CopyMemory(length=50)
    batch = task.sample(jax.random.key(0), 64)
    guess = jnp.where(jnp.arange(9) < 8, 0.0, -1e9)
    silent = jnp.where(jnp.arange(9) == 8, 0.0, -1e9)
    outputs = jnp.where((jnp.arange(50) >= 40)[:, None, None], guess, silent) * jnp.ones((50, 64, 9))
    np.testing.assert_allclose(task.metrics(outputs, batch)["loss"], task.chance, rtol=1e-5)


def test_copy_memory_asks_for_its_first_symbols_after_the_delimiter():
    batch = CopyMemory(length=50).sample(jax.random.key(0), 3)
    symbols = np.argmax(batch.inputs, axis=-1)
    np.testing.assert_array_equal(symbols[:10], batch.targets[-10:])
    assert (symbols[40] == 9).all() and (symbols[10:40] == 8).all() and (symbols[41:] == 8).all()
    assert (np.asarray(batch.targets[:40]) == 8).all()


@pytest.mark.parametrize(("windows", "classes"), [((0.1, 0.2, 0.4, 0.5), 4), ((0.1, 0.2, 0.33, 0.43, 0.66, 0.76), 8)])
def test_temporal_orders_class_is_the_order_of_its_two_kinds_of_symbol(windows, classes):
    task = TemporalOrder(length=100, windows=windows)
    batch = task.sample(jax.random.key(0), 300)
    symbols = np.argmax(batch.inputs, axis=-1)
    relevant = symbols < 2
    assert (relevant.sum(0) == len(windows) // 2).all()
    for column in range(300):
        at = np.flatnonzero(relevant[:, column])
        for step, start, stop in zip(at, windows[::2], windows[1::2], strict=True):
            assert 100 * start <= step < 100 * stop
        bits = symbols[at, column]
        assert batch.targets[0, column] == int("".join(map(str, bits)), 2)
    assert set(np.asarray(batch.targets[0])) == set(range(classes)) and task.out_features == classes


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Adding(length=1), r"length=1: markers=.* leaves a marker no step; the shortest that fits is 2"),
        (lambda: TemporalOrder(length=2), r"length=2: .* the shortest that fits is \d+"),
        (lambda: Adding(markers=(0.5, 0.2, 0.6, 0.7)), "markers=.*: must rise from 0 to 1"),
        (lambda: Adding(markers=(0.0, 0.5)), "two windows"),
        (lambda: TemporalOrder(windows=(0.1, 0.2, 0.4)), "windows=.*: must be pairs"),
        (lambda: CopyMemory(length=20), "length=20: 10 symbols and their answers need at least 21"),
        (lambda: PaddedDigits(length=63), "length=63: must be at least 64"),
    ],
)
def test_markers_that_do_not_fit_are_refused_with_the_nearest_right_length(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_the_shortest_length_that_fits_does_fit():
    for length in range(1, 30):
        try:
            TemporalOrder(length=length)
        except ValueError as error:
            TemporalOrder(length=int(str(error).split()[-1]))


def test_digits_are_read_pixel_by_pixel_and_held_out_ones_are_never_trained_on():
    pixels, classes = digits()
    assert pixels.shape == (1797, 64) and set(classes) == set(range(10))
    np.testing.assert_allclose([pixels[:TRAIN].mean(), pixels[:TRAIN].std()], [0, 1], atol=1e-5)
    task = PaddedDigits(length=80)
    held_out = np.asarray(task.held_out(jax.random.key(0), 360).inputs[:PIXELS, :, 0]).T
    np.testing.assert_array_equal(np.unique(held_out, axis=0), np.unique(pixels[TRAIN:], axis=0))
    train = np.asarray(task.sample(jax.random.key(0), 2000).inputs[:PIXELS, :, 0]).T
    known = {row.tobytes() for row in pixels[:TRAIN]}
    assert all(row.tobytes() in known for row in train)
    noise = np.asarray(task.sample(jax.random.key(0), 2000).inputs[PIXELS:])
    np.testing.assert_allclose([noise.mean(), noise.std()], [0, 1], atol=0.02)


def test_digits_chance_is_the_loss_of_the_class_frequencies():
    _, classes = digits()
    p = np.bincount(classes[:TRAIN]) / TRAIN
    np.testing.assert_allclose(-(p * np.log(p)).sum(), PaddedDigits().chance, rtol=0.001)
