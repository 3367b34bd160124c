"""Training: windows of steps on the device, and a host loop around them that is never waited for."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import chz
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from rnnlab.model import SequenceModel
from rnnlab.probes.training.omega import regulariser_sums
from rnnlab.tasks.base import Batch
from rnnlab.training import online
from rnnlab.training.background import Interrupted, start, wait
from rnnlab.training.layout import BATCH, Layout, local_batch, map_trials, replace
from rnnlab.training.spec import BATCHES, DIVERGED, HELD_OUT, RUNNING, TrialSpec, counted, going, learned, stream

MEASURED = {
    "loss": "train/loss",
    "omega": "train/omega",
    "norm": "grad/norm",
    "clipped": "grad/norm_clipped",
    "clips": "grad/clip_rate",
}


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
    learned: Array  # updates made when the stop rule was first met; -1 before
    seed: Array
    numbers: dict[str, Array]  # `TrainSpec.numbers`
    streak: Array  # latest training sequences that were right in a row, counted by whole batches


def initial_state(spec: TrialSpec, seed: int) -> TrainState:
    model = spec.build(seed)
    numbers = {name: jnp.asarray(value, float) for name, value in spec.train.numbers().items()}
    optimiser = spec.train.optimiser(numbers["learning_rate"]).init(model)
    as_int = functools.partial(jnp.asarray, dtype=jnp.int32)
    return TrainState(
        model, optimiser, as_int(0), as_int(RUNNING), as_int(-1), jnp.asarray(seed, jnp.uint32), numbers, as_int(0)
    )


def blank_state(spec: TrialSpec) -> TrainState:
    """A state of this trial's shapes, drawn without flossing: what a checkpoint is read into."""
    return initial_state(chz.replace(spec, train=chz.replace(spec.train, floss=0)), 0)


def training_loss(
    spec: TrialSpec,
    batch: Batch,
    model: SequenceModel,
    taps: PyTree | None,
    over_devices: Callable[[Array], Array] = lambda count: count,
) -> tuple[Array, Any]:
    """What an update descends, the task's loss and Omega times its weight: (it, (the task's loss, what else is known)).

    `over_devices` gives the mean over the parts of a batch that is spread.
    """
    task, train = spec.task, spec.train
    outputs = model(batch.inputs, answers=task.answers, taps=taps)
    loss = jnp.mean(task.losses(outputs, batch))
    also = {"right": jnp.all(task.right(outputs, batch) == 1).astype(loss.dtype)} if train.streak else {}
    if not train.omega:
        return loss, (loss, also)
    sums = regulariser_sums(model, batch.inputs, lambda outputs: task.losses(outputs, batch), task.answers)
    omega = sums._replace(count=over_devices(sums.count)).mean()
    return loss + train.omega * omega.astype(loss.dtype), (loss, also | {"omega": omega})


def train_step(spec: TrialSpec, state: TrainState) -> tuple[TrainState, dict[str, Any]]:
    """One update. A loss or gradient that is not finite, or above `train.bound`, leaves the parameters alone and ends
    the trial.

    The metrics' `taps` are the mean norms over the batch of the adjoints of one example's loss, [T] for
    each carry component, by step (the last is lag 0). `loss` is the task's alone, `omega` the regulariser's.
    """
    task, train = spec.task, spec.train
    key = jax.random.fold_in(stream(state.seed, BATCHES), state.step)
    batch = local_batch(task.sample(key, train.batch_size), axis=1)
    size = batch.inputs.shape[1]

    taps = state.model.tap_zeros(task.length, size)
    objective = functools.partial(training_loss, spec, batch, over_devices=lambda count: jax.lax.pmean(count, BATCH))
    (_, means), (gradient, norms) = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)(state.model, taps)
    norms = jax.tree.map(lambda norm: size * jnp.mean(norm, axis=1), norms)
    (loss, also), gradient, norms = jax.lax.pmean((means, gradient, norms), BATCH)
    norm = optax.tree.norm(gradient)
    numbers = state.numbers
    if "clip_norm" in numbers:
        clipped = jnp.minimum(norm, numbers["clip_norm"].astype(norm.dtype))
        shrink = jnp.where(norm > clipped, clipped / norm, 1)
        gradient = jax.tree.map(lambda leaf: leaf * shrink.astype(leaf.dtype), gradient)
        also |= {"clipped": clipped, "clips": (norm > clipped).astype(norm.dtype)}
    updates, optimiser = train.optimiser(numbers["learning_rate"]).update(gradient, state.optimiser, state.model)
    well = jnp.isfinite(loss) & jnp.isfinite(norm) & jnp.isfinite(optax.tree.norm(updates))
    if train.bound is not None:
        well &= (jnp.abs(loss) <= train.bound) & (norm <= train.bound)
    moved = state._replace(model=optax.apply_updates(state.model, updates), optimiser=optimiser, step=state.step + 1)
    if train.streak:
        moved = counted(train, moved, also.pop("right") > 1 - 0.5 / jax.device_count(), train.batch_size)
    stopped = state._replace(status=jnp.asarray(DIVERGED, jnp.int32))
    state = jax.tree.map(functools.partial(jnp.where, well), moved, stopped)
    return state, {"loss": loss, "norm": norm, "taps": norms} | also


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
    fast = online.fits(spec, state.model)
    updates, evaluated = (online.updates, online.evaluate) if fast else (_updates, evaluate)

    def run(state):
        state, measured = updates(spec, state)
        held_out = evaluated(spec, state)
        if not train.streak:
            state = learned(train, state, spec.task.solved(held_out) & (state.status == RUNNING))
        step = state.step + (state.status == DIVERGED)  # the update that was tried
        stands = {"step": step, "status": state.status, "learned": state.learned}
        return state, stands | measured | {f"eval/{name}": value for name, value in held_out.items()}

    def skip(state):
        nothing = jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), jax.eval_shape(run, state)[1])
        return state, nothing | {"step": state.step, "status": state.status}

    return jax.lax.cond(going(spec, state.status, state.step), run, skip, state)


def _updates(spec: TrialSpec, state: TrainState) -> tuple[TrainState, dict[str, Any]]:
    """The updates of a window, and what was measured in them: means, and the taps of the last one."""
    train = spec.train

    def go(state):
        state, metrics = train_step(spec, state)
        return state, metrics | {"ran": jnp.ones((), jnp.int32)}

    def rest(state):
        nothing = jax.eval_shape(go, state)[1]
        return state, jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), nothing)

    def body(carry, _):
        state, taps = carry
        state, metrics = jax.lax.cond(going(spec, state.status, state.step), go, rest, state)
        new = metrics.pop("taps")
        taps = jax.tree.map(functools.partial(jnp.where, metrics["ran"] > 0), new, taps)
        return (state, taps), metrics

    taps = jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), jax.eval_shape(go, state)[1]["taps"])
    (state, taps), metrics = jax.lax.scan(body, (state, taps), length=min(train.window, max(train.steps, 1)))
    ran = metrics.pop("ran")

    def mean(x):
        return jnp.sum(jnp.where(ran > 0, x, 0)) / jnp.maximum(jnp.sum(ran), 1)

    means = {MEASURED[name]: mean(values) for name, values in metrics.items()}
    return state, means | {"ran": jnp.sum(ran), "grad/norm_max": jnp.max(metrics["norm"]), "taps": taps}


Program = Callable[[TrainState], tuple[TrainState, dict[str, Any]]]


def kind(spec: TrialSpec) -> Hashable:
    """What its program depends on: trials of one kind can run in one.

    A program reads the task and the training of its spec, and everything about the model from the state: so trials may
    differ in their seed, in `TrainSpec.numbers`, and in what their weights are drawn from.
    """
    plain = chz.replace(spec, train=chz.replace(spec.train.without_numbers(), floss=0))
    state = jax.eval_shape(lambda: blank_state(plain))
    leaves, treedef = jax.tree.flatten(state)
    return plain.task, plain.train, treedef, tuple((leaf.shape, leaf.dtype) for leaf in leaves)


@functools.cache
def compile_windows(kind: Hashable, where: Layout) -> Program:
    """`window` for the states [slots, ...] of trials of one kind."""
    task, train, treedef, shapes = kind
    spec = TrialSpec(task=task, train=train)
    states = treedef.unflatten([jax.ShapeDtypeStruct((where.slots, *shape), dtype) for shape, dtype in shapes])
    return map_trials(functools.partial(window, spec), where).lower(states).compile()


def fit(
    spec: TrialSpec,
    run: Program,
    state: TrainState,
    *,
    on_record: Callable[[dict[str, Any], TrainState], None],
    on_checkpoint: Callable[[TrainState], None],
    refill: Callable[[], Mapping[int, TrainState]] = dict,
    stopping: Callable[[], bool] = lambda: False,
) -> TrainState:
    """Runs windows until every slot's trial has ended and no other takes its place.

    Args:
      spec: what is trained; of its training only `steps` and `checkpoint_seconds` are read.
      run: what `compile_windows` gave.
      state: stacked states [slots, ...] as NumPy arrays, fresh or restored.
      on_record: gets each window's record as NumPy arrays [slots, ...] and the state after it; the next window
        is on the device by then, so that the device never waits for the host.
      on_checkpoint: gets the state every `checkpoint_seconds`, all its records delivered.
      refill: asked after each record; what it gives takes the places {slot: state} of trials that have ended.
      stopping: asked all the time; true saves the last state that is complete, without waiting for the
        window that is being computed, and raises Interrupted. One that `on_record` or `refill` raises passes as it is.
    """
    saved = time.monotonic()
    fresh: Mapping[int, TrainState] = {}
    ahead = start(run, state)  # in a thread: on CPU a dispatch may wait until what it reads is computed
    while True:
        try:
            new, record = wait(ahead, stopping)
            new = replace(new, fresh)  # the window that has just run did nothing in these places
            ahead = start(run, new)  # nor does one of trials that have ended
            record = wait(start(jax.device_get, record), stopping)
        except Interrupted:
            on_checkpoint(replace(jax.device_get(state), fresh))
            raise
        state = new
        on_record(record, state)
        under_way = bool(np.any(going(spec, np.asarray(state.status), np.asarray(state.step))))
        if time.monotonic() - saved >= spec.train.checkpoint_seconds:
            on_checkpoint(jax.device_get(state))
            saved = time.monotonic()
        fresh = refill()
        if not fresh and not under_way:
            return state
