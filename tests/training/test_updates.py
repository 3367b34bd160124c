"""An update equals optax's by hand, its metrics and stop rules are right, and trials do not affect one another."""

import functools

import chz
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_training import SPEC, TRAIN, assert_same, every, initial_states, run

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.tasks import Adding
from rnnlab.training.layout import WIDE, layout, map_trials, stack
from rnnlab.training.spec import HELD_OUT, TrialSpec, stream
from rnnlab.training.state import DIVERGED, RUNNING, SOLVED, STALE, initial_state, kept_network
from rnnlab.training.updates import compile_windows, evaluate, program_key, train_step

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd", "adamw"])
def test_an_update_is_optaxs_on_the_gradient_of_the_mean_loss(optimizer):
    decay = {"weight_decay": 0.3} if optimizer == "adamw" else {}
    spec = chz.replace(SPEC, train=chz.replace(TRAIN, optimizer=optimizer, **decay))
    state = initial_state(spec, 0)
    step = map_trials(functools.partial(train_step, spec), layout(1, TRAIN.batch_size))
    after, metrics = step(jax.tree.map(lambda x: x[None], state))

    batch = spec.task.sample(jax.random.fold_in(stream(0, 1), 0), TRAIN.batch_size)
    gradient = jax.grad(lambda m: jnp.mean(spec.task.losses(m(batch.inputs, answers=1), batch)))(state.model)
    rule = {
        "adam": optax.adam(1e-2), "rmsprop": optax.rmsprop(1e-2, decay=0.9), "sgd": optax.sgd(1e-2),
        "adamw": optax.adamw(1e-2, weight_decay=0.3, mask=jax.tree.map(lambda w: w.ndim > 1, state.model)),
    }[optimizer]  # fmt: skip
    norm = optax.tree.norm(gradient)
    clipped = jax.tree.map(lambda g: g * min(1, 0.1 / norm), gradient)
    updates, _ = rule.update(clipped, rule.init(state.model), state.model)
    want = optax.apply_updates(state.model, updates)
    for got, wanted in zip(jax.tree.leaves(after.model), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(got[0], wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(metrics["norm"][0], norm, rtol=1e-5)
    np.testing.assert_allclose(metrics["clipped"][0], min(norm, 0.1), rtol=1e-5)


def test_a_batch_spread_over_devices_gives_the_same_update():
    """One trial on two devices is its batch halved; the mean gradient is the whole batch's."""
    assert layout(1, 4) == (1, 1, "mapped", 2) and layout(1, 3) == (1, 1, "mapped", 1)
    assert layout(1, 14, weights=WIDE - 1) == layout(1, 16, weights=WIDE) == (1, 1, "mapped", 2)
    assert layout(1, 14, weights=WIDE) == (1, 1, "mapped", 1)
    assert layout(2, 4) == layout(3, 4) == (2, 1, "mapped", 1)
    assert layout(3, 4, "sequential") == (1, 1, "mapped", 2) and layout(3, 4, "batched") == (2, 2, "batched", 1)
    whole, _, _ = run(SPEC, [0, 1])
    halved, _, _ = run(SPEC, [0])
    for one, two in zip(jax.tree.leaves(halved.model), jax.tree.leaves(whole.model), strict=True):
        np.testing.assert_allclose(one[0], two[0], rtol=1e-3, atol=1e-5)


def test_a_trial_has_the_same_bits_whichever_trials_run_beside_it():
    three, _, _ = run(SPEC, [0, 1, 2])
    other, _, _ = run(SPEC, [2, 0, 5])
    assert_same(jax.tree.map(lambda x: x[0], three), jax.tree.map(lambda x: x[1], other))


def test_a_loss_that_is_not_finite_ends_its_trial_alone_and_keeps_its_last_good_parameters():
    """A linear network whose weights square themselves at rate 1e30 overflows in a few updates."""
    cell = VanillaRNN(features=4, activation="linear")
    wild = chz.replace(TRAIN, optimizer="sgd", learning_rate=1e12, clip_norm=None, steps=12)
    final, records, _ = run(TrialSpec(cell=cell, task=Adding(length=6), train=wild), [0, 1])
    assert final.status.tolist() == [DIVERGED, DIVERGED]
    assert (final.step < 12).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(final.model))
    assert sum(r["ran"] for r in records).tolist() == (final.step + 1).tolist()  # the fatal update counts as tried


def test_a_nan_in_one_trial_leaves_every_bit_of_the_others_alone():
    states = initial_states(SPEC, [0, 1, 2], every(3))
    poisoned = states._replace(model=jax.tree.map(np.copy, states.model))
    for leaf in jax.tree.leaves(poisoned.model):
        leaf[1] = np.nan
    healthy, _, _ = run(SPEC, [0, 1, 2])
    final, records, _ = run(SPEC, [0, 1, 2], states=poisoned)
    assert final.status[:3].tolist() == [RUNNING, DIVERGED, RUNNING] and final.step[:3].tolist() == [6, 0, 6]
    assert records[0]["step"][:3].tolist() == [3, 1, 3]  # the update that was tried: no step stands in two records
    for trial in (0, 2):
        assert_same(jax.tree.map(lambda x, t=trial: x[t], final), jax.tree.map(lambda x, t=trial: x[t], healthy))


def test_training_stops_at_the_tasks_own_rule():
    easy = chz.replace(SPEC, task=Adding(length=6, tolerance=10.0))
    final, _, _ = run(easy, [0, 1])
    assert final.status.tolist() == [SOLVED, SOLVED] and final.step.tolist() == [3, 3]
    on = chz.replace(easy, train=chz.replace(TRAIN, stop_when_solved=False))
    final, _, _ = run(on, [0, 1])
    assert final.step.tolist() == [6, 6] and final.learned.tolist() == [3, 3]  # learned, though it went on


def test_arms_that_differ_only_in_their_draws_share_a_program():
    chrono = chz.replace(SPEC, cell=LSTM(features=4, bias="chrono"))
    faster = chz.replace(SPEC, train=chz.replace(TRAIN, learning_rate=0.1, clip_norm=2.0))
    assert program_key(SPEC) == program_key(chrono) == program_key(faster)
    assert compile_windows(program_key(SPEC), every(2)) is compile_windows(program_key(faster), every(2))
    for other in (
        chz.replace(SPEC, cell=LSTM(features=5)),
        chz.replace(SPEC, train=chz.replace(TRAIN, clip_norm=None)),
    ):
        assert program_key(other) != program_key(SPEC)


@pytest.mark.parametrize("inner", ["mapped", "batched"])
def test_each_trial_has_its_own_rate_and_clip_and_permuting_trials_permutes_results(inner):
    """Trials with rates and clips of their own, in any order: the same bits, and those of each by itself."""
    where = every(4)._replace(inner=inner)
    trains = [(1e-2, 0.1), (1e-1, 1.0), (1e-3, 10.0), (3e-2, 0.5)]
    specs = [chz.replace(SPEC, train=chz.replace(TRAIN, learning_rate=rate, clip_norm=clip)) for rate, clip in trains]
    states = [jax.device_get(initial_state(spec, seed)) for seed, spec in enumerate(specs)]
    order = [2, 0, 3, 1]
    straight, _, _ = run(SPEC, range(4), states=stack(states), where=where)
    permuted, _, _ = run(SPEC, range(4), states=stack([states[trial] for trial in order]), where=where)
    for index, trial in enumerate(order):
        assert_same(jax.tree.map(lambda x, i=index: x[i], permuted), jax.tree.map(lambda x, t=trial: x[t], straight))
    if inner == "mapped":
        alone, _, _ = run(specs[1], [1], states=stack([states[1]] * 2), where=every(2))
        assert_same(jax.tree.map(lambda x: x[0], alone), jax.tree.map(lambda x: x[1], straight))
    moved = [
        float(np.abs(straight.model.readout.bias[...][s] - states[s].model.readout.bias[...]).max()) for s in range(4)
    ]
    assert moved[1] > 10 * moved[2]


def test_a_gradient_above_the_bound_ends_a_trial():
    strict = chz.replace(SPEC, train=chz.replace(TRAIN, bound=1e-6))
    final, records, _ = run(strict, [0, 1])
    assert final.status.tolist() == [DIVERGED] * 2 and final.step.tolist() == [0, 0]
    assert np.isfinite(records[0]["grad/norm"]).all()
    assert run(chz.replace(SPEC, train=chz.replace(TRAIN, bound=1e6)), [0, 1])[0].status.tolist() == [RUNNING] * 2


@pytest.mark.parametrize("batch", [40, 41])
def test_a_streak_is_of_sequences_that_were_right_whatever_the_batch(batch):
    """41 ones have a mean below 1 on some backends. Of the streak's 100 sequences the third batch brings the last."""
    train = chz.replace(TRAIN, batch_size=batch, streak=100, steps=9, window=9)
    easy = chz.replace(SPEC, task=Adding(length=6, tolerance=1e3), train=train)
    for where in (layout(2, batch), layout(1, batch)):
        final, _, _ = run(easy, range(where.trials_at_once), where=where)
        assert final.step.tolist() == final.learned.tolist() == [3] * where.trials_at_once
    on = chz.replace(easy, train=chz.replace(train, stop_when_solved=False))
    final, _, _ = run(on, [0, 1])
    assert final.step.tolist() == [9, 9] and final.learned.tolist() == [3, 3]


def test_the_clip_rate_is_the_share_of_updates_that_were_clipped():
    never = chz.replace(SPEC, train=chz.replace(TRAIN, clip_norm=1e9))
    always = chz.replace(SPEC, train=chz.replace(TRAIN, clip_norm=1e-9))
    assert run(never, [0, 1])[1][0]["grad/clip_rate"].tolist() == [0, 0]
    clipped = run(always, [0, 1])[1][0]
    assert clipped["grad/clip_rate"].tolist() == [1, 1]
    np.testing.assert_allclose(clipped["grad/norm_clipped"], 1e-9, rtol=1e-5)


def test_an_update_works_under_jit_alone():
    """Without devices to spread the batch over it is the update of `map_trials` on one, and an evaluation is too."""
    state = initial_state(SPEC, 0)
    after, metrics = jax.jit(functools.partial(train_step, SPEC))(state)
    step = map_trials(functools.partial(train_step, SPEC), layout(1, 1))
    want, measured = step(jax.tree.map(lambda x: x[None], state))
    for got, wanted in zip(jax.tree.leaves((after, metrics)), jax.tree.leaves((want, measured)), strict=True):
        np.testing.assert_allclose(got, wanted[0], rtol=1e-5, atol=1e-7)
    found = jax.jit(functools.partial(evaluate, SPEC))(after)
    batch = SPEC.task.held_out(stream(0, HELD_OUT), TRAIN.eval_size)
    want = SPEC.task.metrics(after.model(batch.inputs, answers=1), batch)
    np.testing.assert_allclose(found["loss"], want["loss"], rtol=1e-5)


def test_the_best_model_is_that_of_the_lowest_held_out_loss_and_patience_counts_from_it():
    """At this learning rate the loss rises again; a training that ends at the best evaluation ends with that model."""
    train = chz.replace(TRAIN, steps=24, learning_rate=0.3, optimizer="sgd", clip_norm=None, momentum=0.9)
    spec = chz.replace(SPEC, train=train)
    final, records, _ = run(spec, [0, 1])
    losses = np.stack([record["eval/loss"] for record in records if record["ran"].all()])
    lowest = losses.argmin(axis=0)
    np.testing.assert_array_equal(final.best.step, 3 * (lowest + 1))
    np.testing.assert_array_equal(final.best.loss, losses.min(axis=0).astype(np.float32))
    assert (lowest < len(losses) - 3).any()  # or nothing is tested
    for trial in (0, 1):
        states, program = initial_states(spec, [0, 1], every(2)), compile_windows(program_key(spec), every(2))
        for _ in range(lowest[trial] + 1):
            states, _ = program(states)
        for got, want in zip(jax.tree.leaves(final.best.model), jax.tree.leaves(states.model), strict=True):
            np.testing.assert_array_equal(got[trial], want[trial])

    kept = kept_network(chz.replace(train, keep="best"), final)
    assert_same(kept.model, final.best.model)
    never = final._replace(best=final.best._replace(loss=np.array([np.inf, final.best.loss[1]])))
    for part, best, last in zip(*map(jax.tree.leaves, (kept_network(chz.replace(train, keep="best"), never).model,
                                                       final.best.model, final.model)), strict=True):  # fmt: skip
        np.testing.assert_array_equal(part, np.stack([last[0], best[1]]))
    assert kept_network(train, final) is final

    patient = chz.replace(spec, train=chz.replace(train, patience=2))
    final, _, _ = run(patient, [0, 1])
    best_so_far = np.minimum.accumulate(losses, axis=0)
    for trial in (0, 1):
        stale = [w for w in range(2, len(losses)) if best_so_far[w, trial] == best_so_far[w - 2, trial]]
        ended = min(stale, default=None)
        assert final.step[trial] == (24 if ended is None else 3 * (ended + 1))
        assert final.status[trial] == (RUNNING if ended is None else STALE)
