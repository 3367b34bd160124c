"""The compiled part of training: one update, an evaluation, and the program that runs a window of updates."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import chz
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from rnnlab.model import SequenceModel
from rnnlab.probes.training.omega import regulariser_sums
from rnnlab.scan.presence import align_ends
from rnnlab.specs.errors import UserError
from rnnlab.tasks.base import Batch, steps_of
from rnnlab.training import online, truncated
from rnnlab.training.layout import (
    Layout,
    batch_part,
    batch_parts,
    local_batch,
    map_trials,
    mean_over_devices,
    whole_batch,
)
from rnnlab.training.norms import global_norm
from rnnlab.training.spec import BATCHES, HELD_OUT, NOISE, TrialSpec, stream
from rnnlab.training.state import (
    DIVERGED,
    RUNNING,
    TrainState,
    apply_stop_rule,
    count_streak,
    initial_state,
    keep_best,
    unfinished,
)

MEASURED = {
    "loss": "train/loss",
    "omega": "train/omega",
    "norm": "grad/norm",
    "clipped": "grad/norm_clipped",
    "clips": "grad/clip_rate",
}


def training_loss(
    spec: TrialSpec,
    batch: Batch,
    model: SequenceModel,
    taps: PyTree | None,
    key: Array | None = None,
    carry: list[PyTree] | None = None,
    over_devices: Callable[[Array], Array] = lambda count: count,
) -> tuple[Array, Any]:
    """The objective of an update, the task's loss plus Omega times its weight: (it, (the task's loss, other metrics)).

    `key`: of the model's dropout. `carry`: where a window of truncated BPTT begins; where it ends is a metric then.
    `over_devices` gives the mean over the parts of a batch that is spread over devices.
    """
    task, train = spec.task, spec.train
    answers = min(task.answers, len(batch.inputs))
    options = {"taps": taps, "key": key, "carry": carry} | steps_of(batch)
    outputs, last = model(batch.inputs, answers=answers, return_carry=True, **options)
    losses = task.losses(outputs, batch)
    if carry is not None:
        loss, also = truncated.window_loss(losses, batch, over_devices)
        return loss, (loss, also | {"carry": last})
    loss = jnp.mean(losses)
    also = {"right": jnp.all(task.right(outputs, batch) == 1).astype(loss.dtype)} if train.streak else {}
    if not train.omega:
        return loss, (loss, also)
    if steps_of(batch):
        raise UserError(f"train.omega={train.omega}: {type(task).__name__} has sequences of unequal length or resets, "
                        "for which the regulariser is not defined")  # fmt: skip
    sums = regulariser_sums(model, batch.inputs, lambda outputs: task.losses(outputs, batch), task.answers)
    omega = sums._replace(count=over_devices(sums.count)).mean()
    return loss + train.omega * omega.astype(loss.dtype), (loss, also | {"omega": omega})


def next_update(spec: TrialSpec, state: TrainState) -> tuple[Batch, dict[str, Any]]:
    """What an update is made of: this device's part of its batch, and `key` and `carry` of `training_loss`."""
    task, train = spec.task, spec.train
    key, number, more = stream(state.seed, BATCHES), state.step, {}
    if train.truncation:
        number, at = jnp.divmod(state.step, task.length // train.truncation)
        fresh = state.model.initial_carry(train.batch_size)
        more["carry"] = local_batch(truncated.begin(state.carry, fresh, at), axis=0)
    batch = task.training_batch(key, number, train.batch_size)
    if train.truncation:
        batch = truncated.window_of(task, batch, train.truncation, at)
    if state.model.dropout.any():
        more["key"] = jax.random.fold_in(jax.random.fold_in(stream(state.seed, NOISE), state.step), batch_part())
    return local_batch(batch, axis=1), more


def train_step(spec: TrialSpec, state: TrainState) -> tuple[TrainState, dict[str, Any]]:
    """One update. A loss or gradient that is not finite, or above `train.bound`, leaves the parameters unchanged and
    ends the trial.

    The metrics' `taps` are adjoint norms, those of one example's loss, averaged over the batch: [T] for each carry
    component, by step (the last is lag 0). `loss` is the task's alone, `omega` the regulariser's.
    """
    task, train = spec.task, spec.train
    batch, more = next_update(spec, state)
    length, size = batch.inputs.shape[:2]
    taps = state.model.tap_zeros(length, size)
    objective = functools.partial(training_loss, spec, batch, over_devices=mean_over_devices, **more)
    (_, means), (gradient, norms) = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)(state.model, taps)
    carry = whole_batch(means[1].pop("carry", None))
    if getattr(batch, "lengths", None) is not None:
        norms = align_ends(norms, batch.lengths)  # lags are counted from each sequence's own last step
    norms = jax.tree.map(lambda norm: size * jnp.mean(norm, axis=1), norms)
    norms = jax.tree.map(lambda norm: jnp.pad(norm, (task.length - length, 0)), norms)  # no adjoint leaves a window
    (loss, also), gradient, norms = mean_over_devices((means, gradient, norms))
    norm = global_norm(gradient)
    numbers = state.numbers
    if "clip_norm" in numbers:
        clipped = jnp.minimum(norm, numbers["clip_norm"].astype(norm.dtype))
        shrink = jnp.where(norm > clipped, clipped / norm, 1)
        gradient = jax.tree.map(lambda leaf: leaf * shrink.astype(leaf.dtype), gradient)
        also |= {"clipped": clipped, "clips": (norm > clipped).astype(norm.dtype)}
    rule = train.optimiser(numbers["learning_rate"], numbers.get("weight_decay"))
    updates, optimiser = rule.update(gradient, state.optimiser, state.model)
    well = jnp.isfinite(loss) & jnp.isfinite(norm) & jnp.isfinite(global_norm(updates))
    if train.bound is not None:
        well &= (jnp.abs(loss) <= train.bound) & (norm <= train.bound)
    moved = state._replace(
        model=optax.apply_updates(state.model, updates), optimiser=optimiser, step=state.step + 1, carry=carry
    )
    if train.streak:
        moved = count_streak(train, moved, also.pop("right") > 1 - 0.5 / jax.device_count(), train.batch_size)
    if "there" in also:  # a window behind the ends of all sequences moves nothing
        resting = state._replace(step=state.step + 1, carry=carry)
        moved = jax.tree.map(functools.partial(jnp.where, also["there"] > 0), moved, resting)
    stopped = state._replace(status=jnp.asarray(DIVERGED, jnp.int32))
    state = jax.tree.map(functools.partial(jnp.where, well), moved, stopped)
    return state, {"loss": loss, "norm": norm, "taps": norms} | also


def evaluate(spec: TrialSpec, state: TrainState) -> dict[str, Array]:
    """Held-out loss and accuracy, always of the same sequences."""
    task, size = spec.task, spec.train.eval_size
    batch = task.held_out(stream(state.seed, HELD_OUT), size)
    local = local_batch(batch, axis=1) if size % batch_parts() == 0 else batch
    return mean_over_devices(task.metrics(state.model(local.inputs, answers=task.answers, **steps_of(local)), local))


def window(spec: TrialSpec, state: TrainState) -> tuple[TrainState, dict[str, Any]]:
    """`train.window` updates (fewer at the end, none once the trial has ended), then an evaluation."""
    train = spec.train
    fast = online.fits(spec, state.model)
    updates, evaluated = (online.updates, online.evaluate) if fast else (_updates, evaluate)

    def run(state):
        best = state.best
        state, measured = updates(spec, state._replace(best=None))  # what updates do not read is not carried by them
        held_out = evaluated(spec, state)
        if not train.streak and spec.task.has_stop_rule:
            state = apply_stop_rule(train, state, spec.task.solved(held_out) & (state.status == RUNNING))
        state = keep_best(train, state._replace(best=best), held_out["loss"])
        step = state.step + (state.status == DIVERGED)  # the update that was tried
        progress = {"step": step, "status": state.status, "learned": state.learned}
        return state, progress | measured | {f"eval/{name}": value for name, value in held_out.items()}

    def skip(state):
        nothing = jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), jax.eval_shape(run, state)[1])
        return state, nothing | {"step": state.step, "status": state.status}

    return jax.lax.cond(unfinished(spec, state.status, state.step), run, skip, state)


def _updates(spec: TrialSpec, state: TrainState) -> tuple[TrainState, dict[str, Any]]:
    """The updates of a window and their metrics: means, and the adjoint norms (`taps`) of the last one."""
    train = spec.train

    def go(state):
        state, metrics = train_step(spec, state)
        return state, metrics | {"ran": jnp.ones((), jnp.int32)}

    def rest(state):
        nothing = jax.eval_shape(go, state)[1]
        return state, jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), nothing)

    def body(carry, _):
        state, taps = carry
        state, metrics = jax.lax.cond(unfinished(spec, state.status, state.step), go, rest, state)
        new = metrics.pop("taps")
        taps = jax.tree.map(functools.partial(jnp.where, metrics["ran"] > 0), new, taps)
        return (state, taps), metrics

    taps = jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), jax.eval_shape(go, state)[1]["taps"])
    (state, taps), metrics = jax.lax.scan(body, (state, taps), length=min(train.window, max(train.steps, 1)))
    ran = metrics.pop("ran")
    counted = (ran > 0) & (metrics.pop("there", ran) > 0)

    def mean(x):
        return jnp.sum(jnp.where(counted, x, 0)) / jnp.maximum(jnp.sum(counted), 1)

    means = {MEASURED[name]: mean(values) for name, values in metrics.items()}
    return state, means | {"ran": jnp.sum(ran), "grad/norm_max": jnp.max(metrics["norm"]), "taps": taps}


Program = Callable[[TrainState], tuple[TrainState, dict[str, Any]]]


def program_key(spec: TrialSpec) -> Hashable:
    """What a trial's compiled program depends on: trials with the same key can share one.

    A program reads the task and the training of its spec, and everything about the model from the state: so trials may
    differ in their seed, in `TrainSpec.numbers`, and in what their weights are drawn from.
    """
    plain = chz.replace(spec, train=chz.replace(spec.train.without_numbers(), floss=0))
    return plain.task, plain.train, *_shapes(plain, jax.dtypes.canonicalize_dtype(float), _written(plain.task.files))


def _written(files: tuple[str | Path, ...]) -> tuple[tuple[int, int] | None, ...]:
    """When each file was written, and its size: a task's sizes may be those of its data."""
    paths = map(Path, files)
    return tuple((path.stat().st_mtime_ns, path.stat().st_size) if path.is_file() else None for path in paths)


@functools.cache  # a sweep has thousands of arms that differ in numbers alone
def _shapes(spec: TrialSpec, number: np.dtype, written: tuple) -> tuple[Hashable, Hashable]:
    """The structure of its state, and shape and type of each leaf; `number` is what a Python number becomes here."""
    del written
    leaves, treedef = jax.tree.flatten(jax.eval_shape(lambda: initial_state(spec, 0)))
    return treedef, tuple((leaf.shape, leaf.dtype) for leaf in leaves)


def state_shapes(key: Hashable, leading: tuple[int, ...] = ()) -> TrainState:
    """The shapes of the state of trials with this `program_key`, behind these leading axes."""
    *_, treedef, shapes = key
    return treedef.unflatten([jax.ShapeDtypeStruct((*leading, *shape), dtype) for shape, dtype in shapes])


def blank_state(key: Hashable) -> TrainState:
    """Such a state, of zeros: a checkpoint is read into it."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), state_shapes(key))


@functools.cache
def compile_windows(key: Hashable, where: Layout) -> Program:
    """`window` for the stacked states [S, ...] of trials with one `program_key`, compiled."""
    task, train, *_ = key
    spec = TrialSpec(task=task, train=train)
    states = state_shapes(key, (where.trials_at_once,))
    return map_trials(functools.partial(window, spec), where).lower(states).compile()
