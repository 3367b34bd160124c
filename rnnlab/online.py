"""Online training with forward traces: one sequence an update, and no walk back in time.

With the truncated gradient (Hochreiter & Schmidhuber 1997, appendix A.1) a weight acts on a cell state through sums
over time alone, ds_T/dw = sum over t of a factor of step t times what the weight read at t. A scan forwards hands out
factors and sources, one matmul adds them up, and the loss at the end multiplies in. All trials run in one program,
one after another within a device, each with its own weights, stream, learning rate and end.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import chz
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from rnnlab.cells import LSTM1997
from rnnlab.model import SequenceModel
from rnnlab.spec import field
from rnnlab.tasks import Adding1997
from rnnlab.tasks.adding1997 import TESTS, Sequence
from rnnlab.tasks.base import Batch
from rnnlab.train import DIVERGED, RUNNING, SOLVED
from rnnlab.trial import BATCHES, HELD_OUT, WEIGHTS, stream
from rnnlab.trials import map_trials, stack


@chz.chz
class OnlineSpec:
    """What is trained online, and until when: by default Hochreiter & Schmidhuber 1997, experiment 4."""

    cell: LSTM1997 = chz.field(
        default_factory=lambda: LSTM1997(features=4, input_biases=(-3.0, -6.0), gradient="truncated"),
        blueprint_unspecified=LSTM1997,
        doc="the memory blocks",
    )
    task: Adding1997 = chz.field(default_factory=Adding1997, blueprint_unspecified=Adding1997, doc="the task")
    sequences: int = field(1_000_000, "training sequences at most", low=0)
    streak: int = field(2000, "a trial ends once as many latest training sequences were right", low=1)
    window: int = field(500, "training sequences a dispatch", low=1)

    @chz.validate
    def _truncated(self):
        if self.cell.gradient != "truncated":
            raise ValueError(f"gradient={self.cell.gradient}: forward traces are of the truncated one")


class Online(NamedTuple):
    """All that a trial's next update depends on."""

    model: SequenceModel
    learning_rate: Float[Array, ""]
    step: Int[Array, ""]  # sequences learned from
    streak: Int[Array, ""]  # how many of the latest were right in a row
    status: Int[Array, ""]  # RUNNING, SOLVED or DIVERGED
    seed: Array


def initial_state(spec: OnlineSpec, seed: int, learning_rate: float = 0.5) -> Online:
    """A trial before its first sequence; the output unit's weights are drawn as the cell's are."""
    rngs = nnx.Rngs(params=stream(seed, WEIGHTS))
    model = SequenceModel(spec.cell, spec.task.in_features, spec.task.out_features, rngs=rngs)
    for weight in (model.readout.kernel, model.readout.bias):
        limit = spec.cell.init_range
        weight[...] = jax.random.uniform(rngs.params(), weight.shape, weight.dtype, -limit, limit)
    as_int = functools.partial(jnp.asarray, dtype=jnp.int32)
    rate = jnp.asarray(learning_rate, model.cells[0].dtype)
    return Online(model, rate, as_int(0), as_int(0), as_int(RUNNING), jnp.asarray(seed, jnp.uint32))


def initial_states(spec: OnlineSpec, seeds: list[int], learning_rate: float = 0.5) -> Online:
    """The states of all trials, stacked [S, ...]."""
    return stack([initial_state(spec, seed, learning_rate) for seed in seeds])


def forward(model: SequenceModel, sequence: Sequence) -> tuple[dict[str, Array], Float[Array, " K"]]:
    """What every step read and did, and the outputs at the end.

    Products are written out as sums, so that XLA on CPU compiles the loop as one kernel: 10 times as fast as a
    dot a step, at these widths.
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
    outputs = last[2 * blocks :] @ model.readout.kernel[...] + model.readout.bias[...]
    return {"s": s, "last": last, "backs": backs, "g": g, "within": within, "sources": sources}, outputs


def gradient(task: Adding1997, model: SequenceModel, sequence: Sequence) -> tuple[SequenceModel, Float[Array, "1 1 K"]]:
    """The truncated gradient of the task's loss on one sequence, a tree like the model, and the outputs."""
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

    d_x, d_g, d_h, d_b = jnp.split(d_w, [len(cell.w_x), len(cell.w_x) + 2 * blocks, len(d_w) - 1])
    new: Any = jax.tree.map(lambda leaf: leaf, model)
    new.cells[0].w_x[...], new.cells[0].w_g[...], new.cells[0].w_h[...], new.cells[0].b[...] = d_x, d_g, d_h, d_b[0]
    new.readout.kernel[...] = found["last"][2 * blocks :, None] * d_out
    new.readout.bias[...] = d_out
    return new, outputs[None, None]


def _spread(gates, spec: LSTM1997):
    """Input and output gates [..., 2N], each for every cell [..., H]."""
    return (jnp.repeat(part, spec.cells_per_block, axis=-1) for part in jnp.split(gates, 2, axis=-1))


def _squash(s, limit):
    return limit * (2 * jax.nn.sigmoid(s) - 1)


def learn(spec: OnlineSpec, state: Online, sequence: Sequence) -> tuple[Online, Float[Array, ""]]:
    """The update on one sequence, and the loss before it; a loss that is not finite ends the trial without one."""
    batch = Batch(sequence.inputs[:, None], sequence.targets[:, None])
    slope, outputs = gradient(spec.task, state.model, sequence)
    loss = spec.task.losses(outputs, batch)[0]
    fine = jnp.isfinite(loss)
    streak = jnp.where(spec.task.right(outputs, batch)[0] == 1, state.streak + 1, 0).astype(jnp.int32)
    status = jnp.where(fine, jnp.where(streak >= spec.streak, SOLVED, RUNNING), DIVERGED).astype(jnp.int32)
    model = jax.tree.map(lambda w, d: jnp.where(fine, w - state.learning_rate * d, w), state.model, slope)
    return state._replace(model=model, step=state.step + fine, streak=streak, status=status), loss


def window(spec: OnlineSpec, state: Online) -> tuple[Online, dict[str, Array]]:
    """The next `spec.window` sequences of one trial, none once it has ended."""

    def active(state):
        return (state.status == RUNNING) & (state.step < spec.sequences)

    def run(state):
        # The stream does not depend on the window: sequence n of a trial is drawn from its seed and n.
        numbers = state.step + jnp.arange(spec.window)
        keys = jax.vmap(functools.partial(jax.random.fold_in, stream(state.seed, BATCHES)))(numbers)
        drawn = jax.vmap(spec.task.sequence)(keys)

        def more(carry):
            number, state, _ = carry
            return (number < spec.window) & active(state)

        def body(carry):
            number, state, total = carry
            state, loss = learn(spec, state, jax.tree.map(lambda x: x[number], drawn))
            return number + 1, state, total + loss

        ran, state, total = jax.lax.while_loop(more, body, (0, state, jnp.zeros((), state.learning_rate.dtype)))
        return state, total / ran

    state, loss = jax.lax.cond(active(state), run, lambda s: (s, jnp.zeros((), s.learning_rate.dtype)), state)
    return state, {"step": state.step, "status": state.status, "streak": state.streak, "train/loss": loss}


def examine(spec: OnlineSpec, state: Online) -> dict[str, Array]:
    """How a trial's network does on 2,560 sequences it has not seen: wrong answers, and their mean squared error."""
    drawn = jax.vmap(spec.task.sequence)(jax.random.split(stream(state.seed, HELD_OUT), TESTS))
    outputs = jax.vmap(lambda sequence: forward(state.model, sequence)[1])(drawn)[None]
    batch = Batch(jnp.moveaxis(drawn.inputs, 0, 1), drawn.targets[:, 0][None])
    wrong = jnp.sum(spec.task.right(outputs, batch) < 1)
    return {"wrong": wrong, "mse": jnp.mean(jnp.square(spec.task.answer(outputs) - batch.targets))}


def compile_windows(spec: OnlineSpec, states: Online):
    """`window` over all trials, compiled for states like these: states -> (states, records [S])."""
    run = map_trials(functools.partial(window, spec), len(states.step), 1)
    return run.lower(states).compile()
