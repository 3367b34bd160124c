"""Training: windows of steps on the device, and a host loop around them that is never waited for."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from rnnlab.background import Interrupted, start, wait
from rnnlab.model import SequenceModel
from rnnlab.probes.omega import regulariser
from rnnlab.tasks.base import Batch
from rnnlab.trial import BATCHES, HELD_OUT, TrialSpec, stream
from rnnlab.trials import BATCH, local_batch, map_trials, stack

RUNNING, SOLVED, DIVERGED = 0, 1, 2


def outcome(status: int, learned: int) -> str:
    """How a trial stands: `diverged`, `learned` or `not learned`."""
    if status == DIVERGED:
        return "diverged"
    return "learned" if learned >= 0 else "not learned"


class TrainState(NamedTuple):
    """All that the next update depends on."""

    model: SequenceModel
    optimiser: PyTree
    step: Array  # updates made
    status: Array  # RUNNING, SOLVED (and stopped for it) or DIVERGED
    learned: Array  # updates made when held-out metrics first met the task's rule; -1 before
    seed: Array


def initial_state(spec: TrialSpec, seed: int) -> TrainState:
    model = spec.build(seed)
    as_int = functools.partial(jnp.asarray, dtype=jnp.int32)
    return TrainState(
        model, spec.train.optimiser().init(model), as_int(0), as_int(RUNNING), as_int(-1), jnp.asarray(seed, jnp.uint32)
    )


def training_loss(spec: TrialSpec, batch: Batch, model: SequenceModel, taps: PyTree | None) -> tuple[Array, Any]:
    """What an update descends: the task's loss, and Omega times its weight; (it, (the task's loss, {"omega": ...}))."""
    task, train = spec.task, spec.train
    outputs = model(batch.inputs, answers=task.answers, taps=taps)
    loss = jnp.mean(task.losses(outputs, batch))
    if not train.omega:
        return loss, (loss, {})
    omega = regulariser(model, batch.inputs, lambda outputs: task.losses(outputs, batch), task.answers)
    return loss + train.omega * omega.astype(loss.dtype), (loss, {"omega": omega})


def train_step(spec: TrialSpec, state: TrainState) -> tuple[TrainState, dict[str, Any]]:
    """One update. A loss or gradient that is not finite leaves the parameters alone and ends the trial.

    The metrics' `taps` are the mean norms over the batch of the adjoints of one example's loss, [T] for
    each carry component, by step (the last is lag 0). `loss` is the task's alone, `omega` the regulariser's.
    """
    task, train = spec.task, spec.train
    key = jax.random.fold_in(stream(state.seed, BATCHES), state.step)
    batch = local_batch(task.sample(key, train.batch_size), axis=1)
    size = batch.inputs.shape[1]

    taps = state.model.tap_zeros(task.length, size)
    (_, means), (gradient, norms) = jax.value_and_grad(
        functools.partial(training_loss, spec, batch), argnums=(0, 1), has_aux=True
    )(state.model, taps)
    norms = jax.tree.map(lambda norm: size * jnp.mean(norm, axis=1), norms)
    (loss, also), gradient, norms = jax.lax.pmean((means, gradient, norms), BATCH)
    norm = optax.tree.norm(gradient)
    updates, optimiser = train.optimiser().update(gradient, state.optimiser, state.model)
    finite = jnp.isfinite(loss) & jnp.isfinite(norm) & jnp.isfinite(optax.tree.norm(updates))
    moved = state._replace(model=optax.apply_updates(state.model, updates), optimiser=optimiser, step=state.step + 1)
    stopped = state._replace(status=jnp.asarray(DIVERGED, jnp.int32))
    state = jax.tree.map(functools.partial(jnp.where, finite), moved, stopped)
    clipped = norm if train.clip_norm is None else jnp.minimum(norm, train.clip_norm)
    return state, {"loss": loss, "norm": norm, "clipped": clipped, "taps": norms} | also


def evaluate(spec: TrialSpec, state: TrainState) -> dict[str, Array]:
    """Held-out loss and accuracy, always of the same sequences."""
    task, size = spec.task, spec.train.eval_size
    batch = task.held_out(stream(state.seed, HELD_OUT), size)
    parts = jax.lax.axis_size(BATCH)
    local = local_batch(batch, axis=1) if size % parts == 0 else batch
    return jax.lax.pmean(task.metrics(state.model(local.inputs, answers=task.answers), local), BATCH)


def window(spec: TrialSpec, state: TrainState) -> tuple[TrainState, dict[str, Any]]:
    """`train.window` updates (fewer at the end, none once the trial has ended), then an evaluation."""
    train = spec.train

    def active(state):
        return (state.status == RUNNING) & (state.step < train.steps)

    def go(state):
        state, metrics = train_step(spec, state)
        return state, metrics | {"ran": jnp.ones((), jnp.int32)}

    def rest(state):
        nothing = jax.eval_shape(go, state)[1]
        return state, jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), nothing)

    def body(carry, _):
        state, taps = carry
        state, metrics = jax.lax.cond(active(state), go, rest, state)
        new = metrics.pop("taps")
        taps = jax.tree.map(functools.partial(jnp.where, metrics["ran"] > 0), new, taps)
        return (state, taps), metrics

    def run(state):
        taps = jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), jax.eval_shape(go, state)[1]["taps"])
        (state, taps), metrics = jax.lax.scan(body, (state, taps), length=min(train.window, max(train.steps, 1)))
        held_out = evaluate(spec, state)
        solved = spec.task.solved(held_out) & (state.status == RUNNING)
        state = state._replace(
            status=jnp.where(solved & train.stop_when_solved, SOLVED, state.status).astype(jnp.int32),
            learned=jnp.where(solved & (state.learned < 0), state.step, state.learned).astype(jnp.int32),
        )
        return state, _record(state, metrics, held_out, taps)

    def skip(state):
        nothing = jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), jax.eval_shape(run, state)[1])
        return state, nothing | {"step": state.step, "status": state.status}

    return jax.lax.cond(active(state), run, skip, state)


def _record(state, metrics, held_out, taps):
    ran = metrics["ran"]

    def mean(x):
        return jnp.sum(jnp.where(ran > 0, x, 0)) / jnp.maximum(jnp.sum(ran), 1)

    return {
        "step": state.step + (state.status == DIVERGED),  # the update that was tried
        "status": state.status,
        "learned": state.learned,
        "ran": jnp.sum(ran),
        "train/loss": mean(metrics["loss"]),
        "grad/norm": mean(metrics["norm"]),
        "grad/norm_max": jnp.max(metrics["norm"]),
        "grad/norm_clipped": mean(metrics["clipped"]),
        "eval/loss": held_out["loss"],
        "eval/accuracy": held_out["accuracy"],
        "taps": taps,
    } | ({"train/omega": mean(metrics["omega"])} if "omega" in metrics else {})


def initial_states(spec: TrialSpec, seeds: list[int]) -> TrainState:
    """The states of all trials, stacked [S, ...]."""
    return stack([initial_state(spec, seed) for seed in seeds])


Program = Callable[[TrainState], tuple[TrainState, dict[str, Any]]]


def compile_windows(spec: TrialSpec, states: TrainState) -> Program:
    """`window` over all trials, compiled for states like these.

    Arms that differ only in what their weights are drawn from share a program: a window reads the task and
    the training of its spec, and everything about the cell from the state.
    """
    leaves, treedef = jax.tree.flatten(states)
    return _compiled(spec.task, spec.train, treedef, tuple((leaf.shape, leaf.dtype) for leaf in leaves))


@functools.cache
def _compiled(task, train, treedef, shapes) -> Program:
    spec = TrialSpec(task=task, train=train)
    states = treedef.unflatten([jax.ShapeDtypeStruct(*shape) for shape in shapes])
    run = map_trials(functools.partial(window, spec), int(states.step.shape[0]), train.batch_size)
    return run.lower(states).compile()


def fit(
    spec: TrialSpec,
    run: Program,
    state: TrainState,
    *,
    on_record: Callable[[dict[str, Any], TrainState], None],
    on_checkpoint: Callable[[TrainState], None],
    stopping: Callable[[], bool] = lambda: False,
) -> TrainState:
    """Runs windows until every trial has ended.

    Args:
      spec: what is trained.
      run: what `compile_windows` gave.
      state: stacked states [S, ...] as NumPy arrays, fresh or restored.
      on_record: gets each window's record as NumPy arrays [S, ...] and the state after it; the next window
        is on the device by then, so that the device never waits for the host.
      on_checkpoint: gets the state every `checkpoint_seconds` and at the end, all its records delivered.
      stopping: asked all the time; true saves the last state that is complete, without waiting for the
        window that is being computed, and raises Interrupted.
    """
    saved = time.monotonic()
    ahead = start(run, state)  # in a thread: on CPU a dispatch may wait until what it reads is computed
    while True:
        try:
            new, record = wait(ahead, stopping)
            ahead = start(run, new)  # a window of trials that have ended does nothing
            record = wait(start(jax.device_get, record), stopping)
        except Interrupted:
            on_checkpoint(jax.device_get(state))
            raise
        state = new
        on_record(record, state)
        ended = not np.any((record["status"] == RUNNING) & (record["step"] < spec.train.steps))
        if ended or time.monotonic() - saved >= spec.train.checkpoint_seconds:
            on_checkpoint(jax.device_get(state))
            saved = time.monotonic()
        if ended:
            return state
