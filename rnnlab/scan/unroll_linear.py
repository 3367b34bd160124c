"""Run a cell whose state is a linear recurrence over many steps at once.

Given the inputs alone, a_t and b_t of s_t = a_t s_{t-1} + b_t are known for every step before the first is made: one
matmul projects all inputs of a segment of time, one `linear_scan` makes its states, one call its outputs of them.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rnnlab.scan.linear import linear_scan
from rnnlab.scan.segments import STORED, even_segment, scan_segments, sum_dtype, varying_alike
from rnnlab.scan.taps import tap


def unroll_linear(
    cell: Any,
    carry: Float[Array, "*B H"],
    xs: Float[Array, "T *B D"],
    *,
    taps: Float[Array, "T *B"] | None = None,
    keep: Bool[Array, "T *B"] | None = None,
    resets: Bool[Array, "T *B"] | None = None,
    start: Float[Array, "*B H"] | None = None,
    segment: int | None = None,
    method: str | None = None,
) -> tuple[Float[Array, "*B H"], Float[Array, "T *B H"]]:
    """Equal to `jax.lax.scan(cell, carry, xs)` but for rounding.

    Args:
      cell: has `projection() -> (w_x, w_h, b)` with a w_h of zeros; `coefficients(z) -> (a, b)`, [*B, N] each, the
        recurrence of its state given z = x w_x + b; and `output(carry, z) -> y`. All of them elementwise in *B.
      carry: the initial one [*B, H]: the state, N = H; or, where b is complex, its real parts beside its imaginary
        parts, N = H/2.
      xs: inputs [T, *B, D].
      taps: zeros [T, *B], whose gradient is the norm of the carry's adjoint as it leaves step t, its uses by later
        steps and by y_t counted. 0 at a step that does not exist.
      keep: where False the step does not exist: the carry passes, y is 0, and nothing of x, NaN included, reaches an
        output or a gradient.
      resets: where True the carry becomes `start` before the step; nothing before it, NaN included, reaches a later
        output, and no gradient comes back. A step that does not exist resets nothing.
      start: like `carry`; left out, zeros.
      segment: keep the carry every `segment` steps and recompute in between; T or more stores everything. T need not
        divide by it. Left out, it is chosen by shape.
      method: see `rnnlab.scan.linear.linear_scan`.

    Returns:
      The final carry, and ys stacked over time [T, *B, H].

    Raises:
      ValueError: `segment` below 1, or a method of another name.
    """
    length = len(xs)
    if segment is not None and segment < 1:
        raise ValueError(f"segment={segment}: a segment is at least 1 step")
    cell, carry, start, *steps = varying_alike((cell, carry, start, xs, taps, keep, resets))
    segment = min(segment or choose_linear_segment(length, carry.size), length)
    run = functools.partial(_at_once, method, cell, start)
    if segment == length:
        return run(carry, *steps)
    run = jax.checkpoint(run, prevent_cse=False)  # a scan's body is not merged with its recomputation
    carry, ys, _ = scan_segments(lambda carry, steps, _: (*run(carry, *steps), None), carry, tuple(steps), segment)
    return carry, ys


def choose_linear_segment(length: int, numbers: int) -> int:
    """Steps a segment for a carry of so many numbers; the whole length where everything is to be kept.

    A recurrence computes next to nothing for each number that it reads. On CPU it pays, beyond 1 MiB of states, to
    recompute what fits into the cache rather than to keep it (scripts/bench --only=linear). On accelerators, not
    measured, long segments are what the associative form is fast by: all that memory allows.
    """
    if jax.default_backend() != "cpu":
        return even_segment(length, max(64, STORED // (8 * 4 * numbers)))  # about: x w_x, a, b, s and adjoints
    return length if length * numbers <= 2**18 else even_segment(length, max(8, min(32, 2**15 // numbers)))


def _at_once(method, cell, start, carry, xs, taps, keep, resets):
    if keep is not None:  # here, and not only in what follows: a gradient of 0 times a NaN is a NaN
        xs = jnp.where(keep[..., None], xs, 0)
    w_x, _, bias = cell.projection()
    z = jnp.matmul(xs.astype(w_x.dtype), w_x, preferred_element_type=sum_dtype(w_x)) + bias.astype(sum_dtype(bias))
    a, b = cell.coefficients(z)
    joined = _as_complex if jnp.iscomplexobj(b) else jnp.asarray
    if taps is not None:  # what b_t adds to s_t has the adjoint of s_t itself
        b = b + joined(tap(taps, _as_real(b)))
    if resets is not None:
        resets = resets[..., None] if keep is None else (resets & keep)[..., None]
        begun = b if start is None else a * joined(start) + b
        a, b = jnp.where(resets, 0, a), jnp.where(resets, begun, b)
    if keep is not None:
        a, b = jnp.where(keep[..., None], a, 1), jnp.where(keep[..., None], b, 0)
    carries = _as_real(linear_scan(a, b, joined(carry), method=method)).astype(carry.dtype)
    ys = cell.output(carries, z)
    if keep is not None:
        ys = jnp.where(keep[..., None], ys, 0)
    return carries[-1] if len(xs) else carry, ys


def _as_complex(carry: Array) -> Array:
    return jax.lax.complex(*jnp.split(carry, 2, axis=-1))


def _as_real(states: Array) -> Array:
    return jnp.concatenate([states.real, states.imag], axis=-1) if jnp.iscomplexobj(states) else states
