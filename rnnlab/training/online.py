"""Online training with forward traces: one sequence an update, and no backward pass through time.

With the truncated gradient (Hochreiter & Schmidhuber 1997, appendix A.1) a weight acts on a cell state through sums
over time alone, ds_T/dw = sum over t of a factor of step t times what the weight read at t. A forward scan returns
factors and sources, one matmul adds them up, and the loss at the end is multiplied in. All trials run in one program,
one after another within a device, each with its own weights, random stream, learning rate and end.
`training.updates` uses it for windows of trials that it `fits`. Its updates equal those of the general update, but for
the blank pairs before a short sequence, which a batch has and which are left out here.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rnnlab.cells.lstm1997 import LSTM1997, LSTM1997Cell
from rnnlab.model import SequenceModel
from rnnlab.tasks.adding1997 import Adding1997, Sequence
from rnnlab.tasks.base import Batch
from rnnlab.training.norms import global_norm
from rnnlab.training.spec import BATCHES, HELD_OUT, TrialSpec, stream
from rnnlab.training.state import DIVERGED, TrainState, count_streak, unfinished


def fits(spec: TrialSpec, model: SequenceModel) -> bool:
    """Whether forward traces give this trial's updates: one sequence each, plain descent, a truncated gradient."""
    train, [cell, *more] = spec.train, model.cells
    plain = (train.optimizer, train.batch_size, train.momentum, train.clip_norm, train.warmup, train.omega)
    return (
        plain == ("sgd", 1, 0, None, 0, 0) and train.schedule == "constant"
        and not train.weight_decay and not train.options and not train.truncation
        and not more and model.plain and isinstance(cell, LSTM1997Cell) and cell.spec.gradient == "truncated"
        and cell.spec.dtype == cell.spec.param_dtype != "bfloat16"
        and isinstance(spec.task, Adding1997)
    )  # fmt: skip


class SequenceGradient(NamedTuple):
    """The gradient of the loss on one sequence, and the outputs and adjoints behind it."""

    gradient: SequenceModel  # a tree like the model
    outputs: Float[Array, "1 1 K"]
    adjoints: tuple[Float[Array, "L H"], Float[Array, "L A"], Float[Array, "L H"]]  # dL/ds, dL/da and dL/dh by step


def forward(model: SequenceModel, sequence: Sequence) -> tuple[dict[str, Array], Float[Array, " K"]]:
    """Inputs, gates and states of every step by name, and the outputs at the end.

    Products are written out as sums, so that XLA on CPU compiles the loop as one kernel: 10 times as fast as a dot
    product at each step, at these widths.
    """
    cell: Any = model.cells[0]
    spec, blocks = cell.spec, cell.spec.num_blocks
    w_x, w_h, b = cell.projection()
    w_back = jnp.concatenate([cell.w_g[...].astype(w_x.dtype), w_h]).T
    inputs = sequence.inputs.astype(w_x.dtype)
    within = (jnp.arange(len(inputs)) >= sequence.start).astype(w_x.dtype)

    def body(carry, step):
        s, back = carry
        z, within = step
        units = jax.nn.sigmoid(z + jnp.sum(w_back * back, axis=-1)) * within
        gates, g = units[: 2 * blocks], spec.g_range * (2 * units[2 * blocks :] - within)
        i, o = _spread(gates, spec)
        s = s + i * g
        y = o * _squash(s, spec.h_range)
        back = jnp.concatenate([gates, y])
        return (s, back), (back, g)

    zeros = jnp.zeros(w_back.shape[1], w_x.dtype)
    (s, last), (backs, g) = jax.lax.scan(body, (zeros[: spec.features], zeros), (inputs @ w_x + b, within))
    before = jnp.concatenate([zeros[None], backs[:-1]])
    sources = jnp.concatenate([inputs, before, jnp.ones_like(within)[:, None]], axis=1)
    outputs = last[2 * blocks :] @ model.readout.kernel[...]
    if model.readout.bias is not None:
        outputs = outputs + model.readout.bias[...]
    return {"s": s, "last": last, "backs": backs, "g": g, "within": within, "sources": sources}, outputs


def gradient(task: Adding1997, model: SequenceModel, sequence: Sequence) -> SequenceGradient:
    """The truncated gradient of the task's loss on one sequence."""
    cell: Any = model.cells[0]
    spec, blocks, size = cell.spec, cell.spec.num_blocks, cell.spec.cells_per_block
    found, outputs = forward(model, sequence)
    batch = Batch(sequence.inputs[:, None], sequence.targets[:, None])
    d_out = jax.grad(lambda out: task.losses(out[None, None], batch)[0])(outputs)

    gates, g = found["backs"][:, : 2 * blocks], found["g"]
    i, o = _spread(gates, spec)
    slope = (spec.g_range - g) * (spec.g_range + g) / (2 * spec.g_range) * found["within"][:, None]
    through_cell = (i * slope).T @ found["sources"]  # ds/dw [H, D + Z + 1] of the weights to the cell's input
    through_gate = (g * i * (1 - i)).T @ found["sources"]  # the same, to its input gate

    r = _squash(found["s"], spec.h_range)
    d_y = model.readout.kernel[...] @ d_out
    d_s = d_y * o[-1] * (spec.h_range - r) * (spec.h_range + r) / (2 * spec.h_range)
    d_o = jnp.sum((d_y * r).reshape(blocks, size), axis=1) * (gates[-1] * (1 - gates[-1]))[blocks:]
    d_in = jnp.sum((d_s[:, None] * through_gate).reshape(blocks, size, -1), axis=1)
    d_w = jnp.concatenate([d_in, d_o[:, None] * found["sources"][-1], d_s[:, None] * through_cell]).T

    d_z_in = jnp.sum((d_s * g * i * (1 - i)).reshape(len(g), blocks, size), axis=2)
    d_z = jnp.concatenate([d_z_in, jnp.zeros_like(d_z_in).at[-1].set(d_o), d_s * i * slope], axis=1)
    into = jnp.concatenate([d_z[1:], jnp.zeros_like(d_z[:1])])  # an error reaches the step before and ends there
    d_a, d_last = (into @ w[...].T.astype(d_z.dtype) * found["within"][:, None] for w in (cell.w_g, cell.w_h))
    adjoints = d_s * found["within"][:, None], d_a, d_last  # y_T is the answer; the last a and h are not used again

    biased = blocks if spec.biased == "input gates" else d_w.shape[1]
    d_w = d_w.at[-1, biased:].set(0)
    d_x, d_g, d_h, d_b = jnp.split(d_w, [len(cell.w_x), len(cell.w_x) + 2 * blocks, len(d_w) - 1])
    new: Any = jax.tree.map(lambda leaf: leaf, model)
    new.cells[0].w_x[...], new.cells[0].w_g[...], new.cells[0].w_h[...], new.cells[0].b[...] = d_x, d_g, d_h, d_b[0]
    new.readout.kernel[...] = found["last"][2 * blocks :, None] * d_out
    if model.readout.bias is not None:
        new.readout.bias[...] = d_out
    return SequenceGradient(new, outputs[None, None], adjoints)


def _spread(gates, spec: LSTM1997):
    """Input and output gates [..., 2N], each for every cell [..., H]."""
    return (jnp.repeat(part, spec.cells_per_block, axis=-1) for part in jnp.split(gates, 2, axis=-1))


def _squash(s, limit):
    return limit * (2 * jax.nn.sigmoid(s) - 1)


def learn(spec: TrialSpec, state: TrainState, sequence: Sequence) -> tuple[TrainState, dict[str, Array]]:
    """The state after an update on one sequence, and the loss and gradient norm before it. Where these are not finite,
    or above `train.bound`, the trial ends without the update."""
    train, task = spec.train, spec.task
    found = gradient(task, state.model, sequence)
    batch = Batch(sequence.inputs[:, None], sequence.targets[:, None])
    loss, norm = task.losses(found.outputs, batch)[0], global_norm(found.gradient)
    well = jnp.isfinite(loss) & jnp.isfinite(norm) & jnp.isfinite(state.numbers["learning_rate"] * norm)
    if train.bound is not None:
        well &= (loss <= train.bound) & (norm <= train.bound)
    rate = state.numbers["learning_rate"]
    model = jax.tree.map(lambda w, d: w - (rate * d).astype(w.dtype), state.model, found.gradient)
    moved = state._replace(model=model, step=state.step + 1)
    if train.streak:
        moved = count_streak(train, moved, task.right(found.outputs, batch)[0] == 1, 1)
    stopped = state._replace(status=jnp.asarray(DIVERGED, jnp.int32))
    state = jax.tree.map(functools.partial(jnp.where, well), moved, stopped)
    return state, {"loss": loss, "norm": norm}


def updates(spec: TrialSpec, state: TrainState) -> tuple[TrainState, dict[str, Any]]:
    """The updates of a window and their metrics, named as in `rnnlab.training.updates`."""
    # The stream does not depend on the window: sequence n of a trial is drawn from its seed and n.
    numbers = state.step + jnp.arange(spec.train.window)
    keys = jax.vmap(functools.partial(jax.random.fold_in, stream(state.seed, BATCHES)))(numbers)
    drawn = jax.vmap(lambda key: spec.task.sequence(jax.random.split(key, 1)[0]))(keys)  # as a batch of one draws it

    def more(carry):
        number, state, _, _ = carry
        return (number < spec.train.window) & unfinished(spec, state.status, state.step)

    def body(carry):
        number, state, sums, _ = carry
        after, new = learn(spec, state, jax.tree.map(lambda x: x[number], drawn))
        sums = {"loss": sums["loss"] + new["loss"], "norm": sums["norm"] + new["norm"],
                "max": jnp.maximum(sums["max"], new["norm"])}  # fmt: skip
        return number + 1, after, sums, state.model

    zero = jnp.zeros((), state.model.cells[0].dtype)
    begin = (0, state, dict.fromkeys(("loss", "norm", "max"), zero), state.model)
    ran, state, sums, before = jax.lax.while_loop(more, body, begin)
    last = gradient(spec.task, before, jax.tree.map(lambda x: x[ran - 1], drawn))
    taps = tuple(jnp.linalg.norm(adjoint, axis=-1) for adjoint in last.adjoints)
    measured = {"train/loss": sums["loss"] / ran, "grad/norm": sums["norm"] / ran, "grad/norm_max": sums["max"]}
    return state, measured | {"ran": jnp.asarray(ran, jnp.int32), "taps": [taps]}


def evaluate(spec: TrialSpec, state: TrainState) -> dict[str, Array]:
    """Held-out metrics, always of the same sequences, each from its own start."""
    return examine(spec.task, state.model, stream(state.seed, HELD_OUT), spec.train.eval_size)


def examine(task: Adding1997, model: SequenceModel, key: Array, sequences: int) -> dict[str, Array]:
    """The task's metrics of `held_out(key, sequences)`, each sequence from its own start."""
    drawn = jax.vmap(task.sequence)(jax.random.split(key, sequences))
    outputs = jax.vmap(lambda sequence: forward(model, sequence)[1])(drawn)[None]
    return task.metrics(outputs, Batch(jnp.moveaxis(drawn.inputs, 0, 1), drawn.targets[:, 0][None]))


def wrong_answers(
    task: Adding1997, model: SequenceModel, inputs, losses, answers: int, *, tests: int, seed: int
) -> dict[str, Array]:
    """How many of `tests` sequences a network gets wrong, the same ones for all trials: {"wrong", "absolute_error"}.

    A network of 1997 sees each sequence from its own start, any other one the blank steps before a short one too.
    """
    key = jax.random.key(seed)
    if isinstance(model.cells[0], LSTM1997Cell):
        found = examine(task, model, key, tests)
    else:
        batch = task.held_out(key, tests)
        found = task.metrics(model(batch.inputs, answers=answers), batch)
    return {"wrong": tests * (1 - found["accuracy"]), "absolute_error": found["absolute_error"]}
