"""The state of a trial in training: what the next update depends on, and whether there is one."""

from __future__ import annotations

import functools
from typing import NamedTuple

import chz
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from rnnlab.model import SequenceModel
from rnnlab.training.spec import TrainSpec, TrialSpec

RUNNING, SOLVED, DIVERGED = 0, 1, 2  # `TrainState.status`
Status = Array | np.ndarray


class TrainState(NamedTuple):
    """All that the next update depends on."""

    model: SequenceModel
    optimiser: PyTree
    step: Array  # updates made
    status: Array  # RUNNING, SOLVED (and stopped for it) or DIVERGED
    learned: Array  # updates made when the stop rule was first met; -1 before
    seed: Array
    numbers: dict[str, Array]  # `TrainSpec.numbers`
    streak: Array  # latest training sequences that were right in a row, counted by whole batches


def initial_state(spec: TrialSpec, seed: int) -> TrainState:
    """The state of the trial with this seed before its first update."""
    model = spec.build(seed)
    numbers = {name: jnp.asarray(value, float) for name, value in spec.train.numbers().items()}
    optimiser = spec.train.optimiser(numbers["learning_rate"]).init(model)
    as_int = functools.partial(jnp.asarray, dtype=jnp.int32)
    return TrainState(
        model, optimiser, as_int(0), as_int(RUNNING), as_int(-1), jnp.asarray(seed, jnp.uint32), numbers, as_int(0)
    )


def blank_state(spec: TrialSpec) -> TrainState:
    """A state of this trial's shapes, drawn without flossing, into which a checkpoint is read."""
    return initial_state(chz.replace(spec, train=chz.replace(spec.train, floss=0)), 0)


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


def outcome(status: int, learned: int) -> str:
    """The outcome of a trial so far: `diverged`, `learned` or `not learned`."""
    if status == DIVERGED:
        return "diverged"
    return "learned" if learned >= 0 else "not learned"
