"""Run a recurrent cell over time, forwards and backwards.

A recurrent step is a linear projection followed by a small update,

    z_t = x_t w_x + h_{t-1} w_h + b,        carry_t, y_t = update(carry_{t-1}, z_t),

and that is all this engine knows of a cell: `cell.projection()` returns (w_x, w_h, b), `cell.update` is
any differentiable function, and h is the last component of the carry. From the split follow one matmul
for the weight gradients of a whole segment of time (not an addition at every step), recomputation by
segments, and the norm of every adjoint dL/dh_t from the backward pass that training does anyway.

A cell whose state is a linear recurrence, with `coefficients(z)`, runs many steps at once (`unroll_linear`).
Any other callable (carry, x) -> (carry, y) runs through the same call in the general form: `jax.lax.scan` with
rematerialised segments. For forward-mode differentiation use `jax.lax.scan(cell, carry, xs)` itself, which
`unroll(cell, carry, xs)` equals.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Int, PyTree

from rnnlab.scan.adjoints import with_carry_addition
from rnnlab.scan.presence import presence
from rnnlab.scan.projected import hidden, unroll_projected
from rnnlab.scan.segments import STORED, even_segment, scan_segments, varying, varying_alike, zeros_like
from rnnlab.scan.stateful import has_state, keep_state, with_state
from rnnlab.scan.taps import tap
from rnnlab.scan.unroll_linear import unroll_linear

Step = Callable[[Any, Any], tuple[Any, Any]]


def unroll(
    cell: Step,
    carry: PyTree,
    xs: PyTree,
    *,
    taps: PyTree | None = None,
    segment: int | None = None,
    lengths: Int[Array, "*B"] | None = None,
    resets: Bool[Array, "T *B"] | None = None,
) -> tuple[PyTree, PyTree]:
    """Equal to `jax.lax.scan(cell, carry, xs)`, with a faster and leaner reverse-mode gradient.

    Args:
      cell: `(carry, x) -> (carry, y)`. One with `projection()` and `update(carry, z)` runs in the projected form,
        which is the fast one; one with `coefficients(z)`, a linear recurrence, all its steps at once. A Flax module's
        own state (dropout's counter, running statistics) goes from step to step and stays in the module, as in
        `flax.nnx.RNN`.
      carry: the initial carry, arrays [*B, H].
      xs: inputs [T, *B, D].
      taps: zeros whose gradients are the adjoint norms: a tree like `carry` of zeros [T, *B]. They do not change
        the output. The "gradient" with respect to one is ||dL/dh_t|| (||dL/dc_t||): the norm over H of the adjoint
        of that carry component as it leaves step t, every use of it counted: by later steps, by y_t, and by the
        rest of the same step.
      segment: keep the carry every `segment` steps and recompute in between; T or more stores everything.
        T need not divide by it. Left out, it is chosen by shape.
      lengths: of sequence b only the first `lengths[b]` steps are there, 0 to T: after them its carry stays as it is,
        and outputs, adjoint norms and gradients are exactly zero whatever xs hold there, NaN too.
      resets: where true the carry begins anew before that step: from the cell's own initial carry, or zeros where it
        has none.

    Returns:
      The final carry (of each sequence after its own last step), and ys stacked over time [T, *B, H].

    Raises:
      ValueError: `segment` below 1, lengths or resets of another shape or type, taps of another shape than [T, *B], or
        within `jax.shard_map` taps that do not vary over the mesh axes that xs vary over.
    """
    length = jax.tree.leaves(xs)[0].shape[0]
    if segment is not None and segment < 1:
        raise ValueError(f"segment={segment}: a segment is at least 1 step")
    if taps is not None:
        _check_taps(taps, carry, xs)
    _check_presence(lengths, resets, carry, length)
    when = presence(lengths, resets, length)
    start = None if resets is None else initial_carry(cell, carry, xs)
    own, (cell, carry, xs, taps, when, start) = cell, varying_alike((cell, carry, xs, taps, when, start))
    xs = when.only_present(xs)
    if length and hasattr(cell, "coefficients"):
        steps = {"keep": when.present, "resets": when.resets, "start": start}
        return unroll_linear(cell, carry, xs, taps=taps, segment=segment, **steps)
    projected = length and hasattr(cell, "projection") and not has_state(cell)
    segment = min(segment or choose_segment(length, hidden(carry).shape, projected=bool(projected)), length)
    if projected:
        return unroll_projected(cell, carry, xs, taps, segment, when, start)
    carry, ys, state = _unroll_general(cell, carry, xs, taps, segment, when, start)
    keep_state(own, state)
    return carry, ys


def initial_carry(cell: Step, carry: PyTree, xs: PyTree) -> PyTree:
    """What a carry begins anew from: the cell's own initial carry for inputs like xs [T, *B, D], or zeros."""
    if not hasattr(cell, "initialize_carry"):
        return zeros_like(carry)
    fresh = cell.initialize_carry(jax.tree.leaves(xs)[0].shape[1:], nnx.Rngs(0))  # Flax's own ask for rngs to make 0
    return jax.tree.map(lambda new, old: new.astype(old.dtype), fresh, carry)


def choose_segment(length: int, shape: tuple[int, ...], *, projected: bool = True) -> int:
    """Steps a segment for h of `shape` [*B, H]; the whole length where everything is to be kept.

    Recomputing costs a step's matmul once more, which grows with H for each number kept, and saves the memory traffic
    of what is kept. Measured by scripts/bench on CPU: in the projected form it pays below H = 256, from 64 KiB a unit.
    """
    numbers, features = math.prod(shape), shape[-1]
    kept = length * numbers * 8 * 4  # about: an LSTM's c, h, z and y in float32
    if kept <= (features * 2**16 if projected and features < 256 else STORED):
        return length
    return even_segment(length, max(8, min(64, 2**16 // numbers)))


def _unroll_general(cell, carry, xs, taps, segment, when, start):
    """`jax.lax.scan`, rematerialised by segments, for a step of any form."""
    step, state = with_state(cell)

    def body(carry, inputs):
        (before, state), (x, zeros, now) = carry, inputs
        before = now.begin(before, start)
        if zeros is None:
            carry, (y, state) = step(before, x, state)
        else:
            carry, (y, state) = with_carry_addition(step)(before, x, state, jax.tree.map(tap, zeros, before))
        return (now.keep(carry, before), state), now.only_present(y)

    @jax.checkpoint
    def run(carry, inputs):
        return jax.lax.scan(body, carry, inputs)

    if segment == jax.tree.leaves(xs)[0].shape[0]:
        (carry, state), ys = jax.lax.scan(body, (carry, state), (xs, taps, when))
    else:
        (carry, state), ys, _ = scan_segments(
            lambda carry, inputs, _: (*run(carry, inputs), None), (carry, state), (xs, taps, when), segment
        )
    return carry, ys, state


def _check_taps(taps, carry, xs):
    """Shapes; and over devices, where what is taken to be replicated would get the sum of theirs as its gradient."""
    length = jax.tree.leaves(xs)[0].shape[0]
    axes = frozenset().union(*map(varying, jax.tree.leaves(xs)))
    for zeros, part in zip(jax.tree.leaves(taps), jax.tree.leaves(carry), strict=True):
        if zeros.shape != (length, *part.shape[:-1]):
            raise ValueError(f"taps: shape {zeros.shape}, must be [T, *B] = {(length, *part.shape[:-1])}")
        if missing := axes - varying(zeros):
            names = tuple(sorted(missing))
            raise ValueError(f"taps: must vary over {names} as xs do: jax.lax.pcast(taps, {names}, to='varying')")


def _check_presence(lengths, resets, carry, length):
    batch = hidden(carry).shape[:-1]
    if lengths is not None and (lengths.shape != batch or not jnp.issubdtype(lengths.dtype, jnp.integer)):
        raise ValueError(f"lengths: {lengths.dtype}{list(lengths.shape)}, must be integers [*B] = {list(batch)}")
    if resets is not None and (resets.shape != (length, *batch) or resets.dtype != bool):
        given = f"{resets.dtype}{list(resets.shape)}"
        raise ValueError(f"resets: {given}, must be booleans [T, *B] = {[length, *batch]}")
