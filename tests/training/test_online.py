"""Online training by forward traces: an update is the general engine's, and trials do not disturb one another."""

import chz
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.cells import LSTM1997
from rnnlab.tasks import Adding1997
from rnnlab.tasks.adding1997 import Sequence
from rnnlab.tasks.base import Batch
from rnnlab.training import online
from rnnlab.training.layout import Layout, layout, map_trials, stack
from rnnlab.training.spec import TrainSpec, TrialSpec
from rnnlab.training.state import DIVERGED, RUNNING, SOLVED, initial_state
from rnnlab.training.updates import compile_windows, program_key, train_step, window

pytestmark = pytest.mark.slow

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
CELL = LSTM1997(features=4, input_biases=(-1.0, -2.0), gradient="truncated", init_range=0.5)
TRAIN = TrainSpec(
    optimizer="sgd", batch_size=1, clip_norm=None, learning_rate=0.5, streak=2000, window=20, steps=50, eval_size=16
)
SPEC = TrialSpec(cell=CELL, task=Adding1997(length=33, output="linear"), train=TRAIN)
FOUR = Layout(2, 2, "mapped", 1)


def double(output="linear", **more):
    return chz.replace(SPEC, cell=chz.replace(CELL, **FLOAT64, **more), task=Adding1997(length=33, output=output))


def assert_same(one, two):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)


def draw(spec, seed=0):
    return jax.tree.map(jnp.float64, spec.task.sequence(jax.random.key(seed)))


@pytest.mark.parametrize("output", ["linear", "logistic"])
@pytest.mark.parametrize(
    "blocks",
    [{}, {"cells_per_block": 1, "input_biases": ()}, {"g_range": 1.0, "h_range": 2.0}, {"biased": "input gates"}],
)
def test_an_update_is_plain_sgd_on_the_engines_truncated_gradient(output, blocks):
    """Forward traces and the backward pass agree to 1e-10 in float64."""
    spec = chz.replace(double(output, **blocks), train=chz.replace(TRAIN, learning_rate=0.7))
    state = initial_state(spec, 1)
    inputs, _, targets = draw(spec)
    sequence = Sequence(inputs, jnp.zeros((), jnp.int32), targets)
    batch = Batch(inputs[:, None], targets[:, None])
    by_engine = jax.grad(lambda m: jnp.mean(spec.task.losses(m(batch.inputs, answers=1), batch)))(state.model)
    after, found = online.learn(spec, state, sequence)
    np.testing.assert_allclose(
        found["loss"], spec.task.losses(state.model(batch.inputs, answers=1), batch)[0], rtol=1e-12
    )
    for w, d, got in zip(*map(jax.tree.leaves, (state.model, by_engine, after.model)), strict=True):
        np.testing.assert_allclose(got - w, -0.7 * d, rtol=1e-10, atol=1e-15)


def test_an_update_and_its_metrics_equal_those_of_the_general_update():
    """Loss, gradient norm and taps of one update, and the parameters after it, in float64."""
    spec = chz.replace(
        double(), task=Adding1997(length=30, varied=0.0, output="linear"), train=chz.replace(TRAIN, steps=1)
    )
    state = jax.tree.map(lambda x: x[None], initial_state(spec, 3))
    assert online.fits(spec, initial_state(spec, 3).model)
    step = map_trials(lambda s: train_step(spec, s), layout(1, 1))
    after, slow = step(state)
    ended, fast = map_trials(lambda s: window(spec, s), layout(1, 1))(state)
    np.testing.assert_allclose(fast["train/loss"], slow["loss"], rtol=1e-12)
    np.testing.assert_allclose(fast["grad/norm"], slow["norm"], rtol=1e-12)
    for one, two in zip(jax.tree.leaves(fast["taps"]), jax.tree.leaves(slow["taps"]), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-16)
    for one, two in zip(jax.tree.leaves(ended.model), jax.tree.leaves(after.model), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-12)


def test_the_padding_before_the_start_is_no_part_of_a_sequence():
    """Values, gradient and all: the sequence cut out gives what the padded one gives, whatever the padding."""
    spec = double()
    model = initial_state(spec, 1).model
    inputs, _, targets = draw(spec)
    start = jnp.asarray(3)
    padded = Sequence(inputs.at[:3].set(7.0), start, targets)
    alone = Sequence(inputs[3:], jnp.asarray(0), targets)
    found, wanted = (online.gradient(spec.task, model, s) for s in (padded, alone))
    for one, two in zip(jax.tree.leaves(found[:2]), jax.tree.leaves(wanted[:2]), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-16)
    for one, two in zip(found.adjoints, wanted.adjoints, strict=True):
        assert not one[:3].any()
        np.testing.assert_allclose(one[3:], two, rtol=1e-12, atol=1e-16)
    found = online.forward(model, padded)[1]
    np.testing.assert_allclose(found, model(inputs[3:, None], answers=1)[0, 0], rtol=1e-12)


def states_of(spec, seeds):
    return stack([jax.device_get(initial_state(spec, seed)) for seed in seeds])


def run(spec, states, windows=3, where=FOUR):
    program = compile_windows(program_key(spec), where)
    for _ in range(windows):
        states, record = program(states)
    return jax.device_get(states), jax.device_get(record)


def test_trials_do_not_affect_one_another():
    """Permuting trials permutes results bit-exactly; one that diverges, or has another rate, changes no other."""
    states = states_of(SPEC, range(4))
    rates = np.asarray([0.5, 1e30, 0.1, 0.5], states.numbers["learning_rate"].dtype)
    states = states._replace(numbers={"learning_rate": rates})
    straight, _ = run(SPEC, states)
    order = np.array([2, 0, 3, 1])
    permuted, _ = run(SPEC, jax.tree.map(lambda x: x[order], states))
    assert_same(jax.tree.map(lambda x: x[order], straight), permuted)
    np.testing.assert_array_equal(straight.status, [RUNNING, DIVERGED, RUNNING, RUNNING])
    assert straight.step[1] < 5 and (straight.step[[0, 2, 3]] == 50).all()
    assert all(np.isfinite(leaf[[0, 2, 3]]).all() for leaf in jax.tree.leaves(straight.model))


def test_windows_do_not_change_results():
    """But for the best model, which is that of an evaluation: there is one a window."""
    where = layout(2, 1)
    one, _ = run(SPEC, states_of(SPEC, [4, 5]), 3, where)
    other, _ = run(chz.replace(SPEC, train=chz.replace(TRAIN, window=7)), states_of(SPEC, [4, 5]), 8, where)
    assert_same(one._replace(best=None), other._replace(best=None))


@pytest.mark.parametrize("gradient", ["truncated", "full"])
def test_a_trial_ends_at_the_sequence_that_makes_its_streak(gradient):
    """Everything within 10 is right: the streak is full after as many sequences, and nothing moves afterwards. The
    truncated gradient is trained online, the full one by the general update."""
    train = chz.replace(TRAIN, streak=13)
    task = Adding1997(length=33, output="linear", tolerance=10.0)
    spec = chz.replace(SPEC, cell=chz.replace(CELL, gradient=gradient), task=task, train=train)
    assert online.fits(spec, initial_state(spec, 0).model) == (gradient == "truncated")
    where = layout(2, 1)
    after, record = run(spec, states_of(spec, [0, 1]), 1, where)
    assert (after.status == SOLVED).all() and (after.step == 13).all() and (after.learned == 13).all()
    assert (record["ran"] == 13).all()
    assert_same(after, run(spec, after, 2, where)[0])


def test_a_streak_breaks_at_a_wrong_answer():
    spec = chz.replace(double(), task=Adding1997(length=33, tolerance=1e-9))
    state = initial_state(spec, 0)._replace(streak=jnp.asarray(7, jnp.int32))
    assert online.learn(spec, state, draw(spec))[0].streak == 0


def test_the_examination_counts_wrong_answers_in_2560_new_sequences():
    """An output unit that is 1/2 whatever it reads is wrong wherever |X1 + X2| / 4 is .04 or more: 1 - .16 + .16^2/4
    of sequences with two uniform values, and .84 of the rare ones with one."""
    spec = chz.replace(SPEC, task=Adding1997(length=110, output="linear"), train=chz.replace(TRAIN, eval_size=2560))
    state = initial_state(spec, 0)
    state.model.readout.kernel[...] *= 0
    state.model.readout.bias[...] = jnp.full(1, 0.5, jnp.float32)
    found = jax.jit(lambda state: online.evaluate(spec, state))(state)
    np.testing.assert_allclose(1 - found["accuracy"], 1 - 0.16 + 0.16**2 / 4, atol=60 / 2560)
    np.testing.assert_allclose(found["loss"], spec.task.chance, rtol=0.06)


def test_weights_are_drawn_from_the_papers_range():
    spec = TrialSpec(cell=LSTM1997(features=4, input_biases=(-3.0, -6.0)), task=Adding1997(), train=TRAIN)
    weights = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(initial_state(spec, 0).model)])
    assert len(weights) == 93 and sorted(weights)[:2] == [-6, -3]
    assert 0.08 < np.abs(sorted(weights)[2:]).max() <= 0.1


def test_units_without_a_bias_are_never_biased():
    """Only two of the entries of b move, and the output has none: 93 - 7 weights are left."""
    spec = chz.replace(SPEC, cell=chz.replace(CELL, biased="input gates"))
    states = states_of(spec, [0, 1])
    after, _ = run(spec, states, 1, layout(2, 1))
    moved = np.asarray(after.model.cells[0].b[...]) != np.asarray(states.model.cells[0].b[...])
    assert moved[:, :2].all() and not moved[:, 2:].any() and after.model.readout.bias is None
    z = initial_state(spec, 0).model.cells[0].projection()[2]
    assert (np.asarray(z)[2:] == 0).all() and (np.asarray(z)[:2] == [-1, -2]).all()
