"""Lyapunov spectrum of any cell, and of any map: how fast each direction of its state grows or decays.

A frame of k orthonormal tangent vectors is pushed along the trajectory and orthonormalised by QR; the logs
of R's diagonal add up to the exponents (Benettin, Galgani, Giorgilli & Strelcyn 1980, part 2; for recurrent
networks Engelken, Wolf & Abbott 2023, section 2). QR costs more than a step, so it is done only as often as
the frame needs it: as soon as a column would keep fewer than four digits of its own direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from rnnlab.probes.dynamics.tangent_frames import initial_carry, orthonormalise, push, random_frame
from rnnlab.probes.precision import at_full_precision
from rnnlab.scan.state_vectors import vector_step

DIGITS = 1e-4  # relative error that a diagonal entry of R may have: it averages out over a run


class Spectrum(NamedTuple):
    """Lyapunov exponents in nats a step, largest first; `*B` is the batch, absent for a single trajectory."""

    exponents: Float[Array, "*B k"]
    standard_error: Float[Array, "*B k"]  # over `blocks` equal blocks of time; NaN where the exponent is -inf
    running: Float[Array, "n *B k"]  # the estimate after each block: it has settled, or the run was too short


@at_full_precision
def lyapunov_spectrum(
    cell,
    xs: Float[Array, "T B D"],
    *,
    k: int | None = None,
    carry: PyTree | None = None,
    warmup: int | None = None,
    blocks: int = 10,
    every: int = 16,
) -> Spectrum:
    """The k largest Lyapunov exponents of a cell along each sequence of a batch.

    Args:
      cell: rnnlab's, Flax's own, or any (carry, x) -> (carry, y) whose carry has leaves [B, ...].
      xs: [T, B, D], the inputs that drive it; the spectrum is that of the driven cell.
      k: how many; left out, all N (N = H for a vanilla RNN, 2H for an LSTM).
      carry: where it starts; left out, the cell's own initial carry.
      warmup: steps dropped while the state and the frame settle (left out, T/10), and up to `blocks` - 1 more.
      blocks: equal blocks of time, for the standard error and the running estimate.
      every: the most steps between two QRs. 1 is the textbook; more is as accurate, see `spectrum`.

    Returns:
      Exponents [B, k] in nats a step. One that is -inf belongs to a direction lost for good: at some step the
      Jacobian took it into the span of the directions above it, to within 16 units of rounding. A singular
      w_h, a ReLU and a saturated tanh do so exactly. In float32 a very small gate may look the same: take
      the last exponents of an LSTM in float64. Weights that are NaN give NaN.

    Raises:
      ValueError: k is not in 1..N, fewer than two steps are left after `warmup`, or there is no carry.
    """
    carry = initial_carry(cell, xs) if carry is None else carry
    return _spectrum(lambda carry, x: cell(carry, x)[0], carry, xs, k, warmup, blocks, every)


@at_full_precision
def spectrum(
    step: Callable[[PyTree, PyTree], PyTree],
    state: PyTree,
    xs: PyTree,
    *,
    k: int | None = None,
    warmup: int | None = None,
    blocks: int = 10,
    every: int = 16,
) -> Spectrum:
    """The k largest Lyapunov exponents of any differentiable map along one trajectory.

    Args:
      step: (state, x) -> state.
      state: where it starts: any pytree, N numbers in all.
      xs: what each step reads, T first; `jnp.arange(T)` for a map that reads nothing.
      k, warmup, blocks: as in `lyapunov_spectrum`, without its batch.
      every: the most steps between two QRs. There are fewer wherever a column's part outside the span of
        those above it falls under 1e4 units of rounding, or a column nears the limits of its type; a stretch
        that went too far is taken again in single steps. The trajectory's exponents do not depend on it.

    Returns:
      Exponents [k] in nats a step. It is a measurement: reverse differentiation does not go through its loops.
    """
    one = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], state)
    found = _spectrum(jax.vmap(step, in_axes=(0, None)), one, xs, k, warmup, blocks, every)
    return Spectrum(found.exponents[0], found.standard_error[0], found.running[:, 0])


def kaplan_yorke(exponents: Float[Array | np.ndarray, "*B k"]) -> Float[np.ndarray, "*B"]:
    """The Lyapunov dimension: how many exponents, largest first, add up to zero (Kaplan & Yorke 1979).

    j + (l_1 + ... + l_j) / |l_{j+1}| for the last j whose sum is not negative. 0 where the first is negative;
    k where the sum of all is not: the dimension itself for k = N, a lower bound for fewer. NaN gives NaN.
    """
    exponents = np.asarray(exponents, np.float64)
    sums = np.cumsum(exponents, axis=-1)
    count = np.sum(sums >= 0, axis=-1)
    padded = np.concatenate([exponents, np.full((*exponents.shape[:-1], 1), -np.inf)], axis=-1)
    following = np.take_along_axis(padded, count[..., None], axis=-1)[..., 0]
    reached = np.take_along_axis(np.concatenate([np.zeros_like(sums[..., :1]), sums], -1), count[..., None], -1)[..., 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(count > 0, reached / np.abs(following), 0.0)
    return np.where(np.isnan(exponents).any(axis=-1), np.nan, count + part)


def _spectrum(step, state, xs, k, warmup, blocks, every) -> Spectrum:
    length = len(jax.tree.leaves(xs)[0])
    vector, step = vector_step(step, state)
    size = vector.shape[-1]
    k = size if k is None else k
    if not 1 <= k <= size:
        raise ValueError(f"k={k}: this state has {size} numbers, so k is 1 to {size}")
    warmup = length // 10 if warmup is None else warmup
    if warmup < 0 or length - warmup < 2:
        raise ValueError(f"T={length}, warmup={warmup}: at least two steps must be left to measure")
    if every < 1 or blocks < 2:
        raise ValueError(f"every={every}, blocks={blocks}: every is 1 or more, blocks 2 or more")
    blocks = min(blocks, length - warmup)
    block = (length - warmup) // blocks
    dropped = length - blocks * block

    start = (vector, random_frame(vector, k), jnp.zeros((len(vector), k), bool), jnp.int32(1))
    propagate = _FramePropagation(step, xs, every)
    if dropped:
        (vector, frame, lost, wait), _ = propagate(start, jnp.int32(0), jnp.int32(dropped))
        start = (vector, frame, jnp.zeros_like(lost), wait)  # what only the transient lost is not lost
    starts = dropped + block * jnp.arange(blocks, dtype=jnp.int32)
    _, growth = jax.lax.scan(lambda state, t: propagate(state, t, t + jnp.int32(block)), start, starts)
    exponents = jnp.mean(growth, axis=0) / block
    spread = jnp.std(growth / block, axis=0, ddof=1) / math.sqrt(blocks)
    running = jnp.cumsum(growth, axis=0) / (block * jnp.arange(1, blocks + 1)[:, None, None])
    order = jnp.argsort(-exponents, axis=-1)
    return Spectrum(
        jnp.take_along_axis(exponents, order, axis=-1),
        jnp.take_along_axis(spread, order, axis=-1),
        jnp.take_along_axis(running, order[None], axis=-1),
    )


class _FramePropagation:
    """(state, frame, lost directions, steps to the next QR) from step t to step `end`, and the logs of growth."""

    def __init__(self, step, xs, every):
        self.step, self.xs, self.every = step, xs, every

    def __call__(self, state, t, end):
        *state, wait = state
        logs = jnp.zeros(state[1].shape[::2], state[1].dtype)

        def body(loop):
            t, wait, state, logs = loop
            n = jnp.minimum(wait, end - t)
            new, growth, norms = self.stretch(state, t, n)
            fewest = jnp.log(jnp.finfo(logs.dtype).eps / DIGITS)
            good = (growth - norms >= fewest) & jnp.isfinite(norms)
            again = (n > 1) & ~jnp.all(good | state[2])
            n = jnp.where(again, jnp.int32(1), n)
            new, growth, norms = jax.lax.cond(
                again, lambda: self.stretch(state, t, jnp.int32(1)), lambda: (new, growth, norms)
            )
            return t + n, self.next_wait(n, growth, norms, new[2]), new, logs + growth

        t, wait, state, logs = jax.lax.while_loop(lambda loop: loop[0] < end, body, (t, wait, tuple(state), logs))
        return (*state, wait), logs

    def stretch(self, state, t, n):
        """n steps and a QR: the new state, the log of R's diagonal and of the columns' norms."""
        vector, frame, lost = state

        def advance(i, carried):
            x = jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, t + i, keepdims=False), self.xs)
            return push(self.step, carried[0], x, carried[1])

        vector, frame = jax.lax.fori_loop(jnp.int32(0), n, advance, (vector, frame))
        frame, r, norms = orthonormalise(frame)
        diagonal = jnp.abs(jnp.diagonal(r, axis1=-2, axis2=-1))
        lost = lost | ((diagonal == 0) & (n == 1))  # over more steps a zero may be a growth too small to be seen
        growth = jnp.where(jnp.isnan(norms), jnp.nan, jnp.where(lost, -jnp.inf, jnp.log(diagonal)))
        return (vector, frame, lost), growth, norms

    def next_wait(self, n, growth, norms, lost):
        """As many steps as the last stretch's rates leave digits and range for, at most twice as many as before."""
        kind = jnp.finfo(growth.dtype)
        spread = jnp.max(jnp.where(lost, 0, norms - growth))
        size = jnp.max(jnp.where(lost, 0, jnp.abs(norms)))
        room = jnp.minimum(jnp.log(DIGITS / kind.eps) / spread, jnp.log(kind.max) / 4 / size)
        steps = jnp.minimum(jnp.minimum(room, 2.0) * n, self.every)
        return jnp.where(steps >= 1, steps, 1).astype(jnp.int32)
