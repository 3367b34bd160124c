"""Online training by forward traces: an update is the general engine's, and trials do not disturb one another."""

import functools

import chz
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.cells import LSTM1997
from rnnlab.online import (
    Online,
    OnlineSpec,
    compile_windows,
    examine,
    forward,
    gradient,
    initial_state,
    initial_states,
    learn,
    window,
)
from rnnlab.tasks import Adding1997
from rnnlab.tasks.adding1997 import Sequence
from rnnlab.tasks.base import Batch
from rnnlab.train import DIVERGED, RUNNING, SOLVED

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
CELL = LSTM1997(features=4, input_biases=(-1.0, -2.0), gradient="truncated", init_range=0.5)
SPEC = OnlineSpec(cell=CELL, task=Adding1997(length=33, output="linear"), window=20, sequences=50)


def double(output="linear", **more):
    cell = chz.replace(CELL, **FLOAT64, **more)
    return OnlineSpec(cell=cell, task=Adding1997(length=33, output=output))


def assert_same(one, two):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)


def draw(spec, seed=0):
    return jax.tree.map(jnp.float64, spec.task.sequence(jax.random.key(seed)))


@pytest.mark.parametrize("output", ["linear", "logistic"])
@pytest.mark.parametrize("blocks", [{}, {"cells_per_block": 1, "input_biases": ()}, {"g_range": 1.0, "h_range": 2.0}])
def test_an_update_is_plain_sgd_on_the_engines_truncated_gradient(output, blocks):
    """Forward traces and the walk back agree to 1e-10 in float64."""
    spec = double(output, **blocks)
    state = initial_state(spec, 1, learning_rate=0.7)
    inputs, _, targets = draw(spec)
    sequence = Sequence(inputs, jnp.zeros((), jnp.int32), targets)
    batch = Batch(inputs[:, None], targets[:, None])
    by_engine = jax.grad(lambda m: jnp.mean(spec.task.losses(m(batch.inputs, answers=1), batch)))(state.model)
    after, loss = learn(spec, state, sequence)
    np.testing.assert_allclose(loss, spec.task.losses(state.model(batch.inputs, answers=1), batch)[0], rtol=1e-12)
    for w, d, got in zip(*map(jax.tree.leaves, (state.model, by_engine, after.model)), strict=True):
        np.testing.assert_allclose(got - w, -0.7 * d, rtol=1e-10, atol=1e-15)


def test_what_stands_before_the_start_is_no_part_of_a_sequence():
    """Values, gradient and all: the sequence cut out gives what the padded one gives, whatever the padding."""
    spec = double()
    model = initial_state(spec, 1).model
    inputs, _, targets = draw(spec)
    start = jnp.asarray(3)
    padded = Sequence(inputs.at[:3].set(7.0), start, targets)
    alone = Sequence(inputs[3:], jnp.asarray(0), targets)
    for one, two in zip(*(jax.tree.leaves(gradient(spec.task, model, s)) for s in (padded, alone)), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(forward(model, padded)[1], model(inputs[3:, None], answers=1)[0, 0], rtol=1e-12)


def run(spec, states, windows=3):
    program = compile_windows(spec, states)
    for _ in range(windows):
        states, record = program(states)
    return jax.device_get(states), jax.device_get(record)


def test_trials_do_not_know_of_one_another():
    """Permuting trials permutes results, to the bit; one that diverges, or has another rate, changes no other."""
    states = initial_states(SPEC, [0, 1, 2, 3])
    rates = jnp.asarray([0.5, 1e30, 0.1, 0.5], states.learning_rate.dtype)
    states = states._replace(learning_rate=rates)
    straight, _ = run(SPEC, states)
    order = np.array([2, 0, 3, 1])
    permuted, _ = run(SPEC, jax.tree.map(lambda x: x[order], states))
    assert_same(jax.tree.map(lambda x: x[order], straight), permuted)
    np.testing.assert_array_equal(straight.status, [RUNNING, DIVERGED, RUNNING, RUNNING])
    assert straight.step[1] < 5 and (straight.step[[0, 2, 3]] == 50).all()
    assert all(np.isfinite(leaf[[0, 2, 3]]).all() for leaf in jax.tree.leaves(straight.model))


def test_windows_do_not_change_results():
    states = initial_states(SPEC, [4, 5])
    one, _ = run(SPEC, states, 3)
    other, _ = run(chz.replace(SPEC, window=7), states, 8)
    assert_same(one, other)


def test_a_trial_ends_at_the_sequence_that_makes_its_streak():
    """Everything within 10 is right: the streak is full after as many sequences, and nothing moves afterwards."""
    spec = chz.replace(SPEC, task=Adding1997(length=33, output="linear", tolerance=10.0), streak=13)
    after, record = run(spec, initial_states(spec, [0, 1]), 1)
    assert (after.status == SOLVED).all() and (after.step == 13).all() and (record["streak"] == 13).all()
    assert_same(after, run(spec, after, 2)[0])


def test_a_streak_breaks_at_a_wrong_answer():
    spec = chz.replace(double(), task=Adding1997(length=33, tolerance=1e-9))
    state = initial_state(spec, 0)._replace(streak=jnp.asarray(7, jnp.int32))
    assert learn(spec, state, draw(spec))[0].streak == 0


def test_a_window_reports_the_mean_loss_of_its_sequences():
    state = initial_state(SPEC, 3)
    after, record = window(SPEC, state)
    losses = []
    for number in range(20):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(3), 1), number)
        state, loss = jax.jit(functools.partial(learn, SPEC))(state, SPEC.task.sequence(key))
        losses.append(loss)
    np.testing.assert_allclose(record["train/loss"], np.mean(losses), rtol=1e-5)
    for one, two in zip(jax.tree.leaves(after.model), jax.tree.leaves(state.model), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


def test_the_examination_counts_wrong_answers_in_2560_new_sequences():
    """An output unit that says 1/2 whatever it reads is wrong wherever |X1 + X2| / 4 is .04 or more: 1 - .16 + .16^2/4
    of sequences with two uniform values, and .84 of the rare ones with one."""
    spec = chz.replace(SPEC, task=Adding1997(length=110, output="linear"))
    state = initial_state(spec, 0)
    state.model.readout.kernel[...] *= 0
    state.model.readout.bias[...] = jnp.full(1, 0.5, jnp.float32)
    found = jax.jit(functools.partial(examine, spec))(state)
    expected = 2560 * (1 - 0.16 + 0.16**2 / 4)
    np.testing.assert_allclose(found["wrong"], expected, atol=60)
    np.testing.assert_allclose(found["mse"], 2 * spec.task.chance, rtol=0.06)


def test_the_full_gradient_is_refused():
    with pytest.raises(ValueError, match="gradient=full"):
        OnlineSpec(cell=chz.replace(CELL, gradient="full"))


def test_states_are_drawn_from_the_papers_range():
    state = initial_state(OnlineSpec(), 0)
    assert isinstance(state, Online)
    weights = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state.model)])
    assert len(weights) == 93 and sorted(weights)[:2] == [-6, -3]
    assert 0.08 < np.abs(sorted(weights)[2:]).max() <= 0.1
