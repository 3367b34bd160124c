"""The state of a trial in training: what the next update depends on, and whether there is one."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from rnnlab.model import SequenceModel
from rnnlab.training.spec import TrainSpec, TrialSpec

RUNNING, SOLVED, DIVERGED, STALE = 0, 1, 2, 3  # `TrainState.status`
Status = Array | np.ndarray


class Best(NamedTuple):
    """The model at its lowest held-out loss so far; the first one at infinity before there was any."""

    model: SequenceModel
    loss: Array
    step: Array  # updates made by then


class TrainState(NamedTuple):
    """All that the next update depends on."""

    model: SequenceModel
    optimiser: PyTree
    step: Array  # updates made
    status: Array  # RUNNING, SOLVED (and stopped for it), DIVERGED or STALE (no better evaluation for too long)
    learned: Array  # updates made when the stop rule was first met; -1 before
    seed: Array
    numbers: dict[str, Array]  # `TrainSpec.numbers`
    streak: Array  # latest training sequences that were right in a row, counted by whole batches
    best: Best | None = None  # None: of a trial that was run before it was kept
    carry: PyTree = None  # where the next window of truncated BPTT begins, of the whole batch; None: no windows


def initial_state(spec: TrialSpec, seed: int) -> TrainState:
    """The state of the trial with this seed before its first update."""
    return first_state(spec.train, spec.build(seed), seed)


def first_state(train: TrainSpec, model: SequenceModel, seed: int) -> TrainState:
    """The state before the first update of a training that begins with this model."""
    numbers = {name: jnp.asarray(value, float) for name, value in train.numbers().items()}
    optimiser = train.optimiser(numbers["learning_rate"], numbers.get("weight_decay")).init(model)
    as_int = functools.partial(jnp.asarray, dtype=jnp.int32)
    best = Best(model, jnp.asarray(jnp.inf, jnp.float32), as_int(0))
    seed = jnp.asarray(seed, jnp.uint32)
    carry = model.initial_carry(train.batch_size) if train.truncation else None
    return TrainState(model, optimiser, as_int(0), as_int(RUNNING), as_int(-1), seed, numbers, as_int(0), best, carry)


def unfinished(spec: TrialSpec, status: Status, step: Status) -> Status:
    """Whether a trial has updates left to make."""
    return (status == RUNNING) & (step < spec.train.steps)


def count_streak(train: TrainSpec, state: TrainState, right: Array, sequences: int) -> TrainState:
    """The state after so many more training sequences, all right or not; a full streak meets the stop rule."""
    streak = jnp.where(right, state.streak + sequences, 0).astype(jnp.int32)
    return apply_stop_rule(train, state._replace(streak=streak), streak >= (train.streak or 0))


def apply_stop_rule(train: TrainSpec, state: TrainState, solved: Array) -> TrainState:
    """The state after its stop rule was checked: `solved` marks it as learned and, if the training asks, ends it."""
    return state._replace(
        status=jnp.where(solved & train.stop_when_solved, SOLVED, state.status).astype(jnp.int32),
        learned=jnp.where(solved & (state.learned < 0), state.step, state.learned).astype(jnp.int32),
    )


def keep_best(train: TrainSpec, state: TrainState, loss: Array) -> TrainState:
    """The state after an evaluation: it keeps the model where its held-out loss is the lowest so far, and ends the
    trial where the last `train.patience` windows brought none lower."""
    loss = loss.astype(state.best.loss.dtype)
    now = Best(state.model, loss, state.step)
    best = jax.tree.map(functools.partial(jnp.where, loss < state.best.loss), now, state.best)
    if train.patience is None:
        return state._replace(best=best)
    stale = (state.status == RUNNING) & (state.step - best.step >= train.patience * train.window)
    return state._replace(best=best, status=jnp.where(stale, STALE, state.status).astype(jnp.int32))


def kept_network(train: TrainSpec, state: TrainState) -> TrainState:
    """The state, or states [S, ...], with the network that is measured at the end: see `TrainSpec.keep`."""
    if train.keep == "last" or state.best is None:
        return state

    def chosen(best, last):
        finite = np.isfinite(state.best.loss)
        return np.where(finite.reshape(finite.shape + (1,) * (np.ndim(last) - np.ndim(finite))), best, last)

    return state._replace(model=jax.tree.map(chosen, state.best.model, state.model))


def outcome(status: int, learned: int) -> str:
    """The outcome of a trial so far: `diverged`, `learned` or `not learned`."""
    if status == DIVERGED:
        return "diverged"
    return "learned" if learned >= 0 else "not learned"
