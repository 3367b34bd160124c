"""Run a recurrent cell over time, forwards and backwards.

A recurrent step is a linear projection followed by a small update,

    z_t = x_t w_x + h_{t-1} w_h + b,        carry_t, y_t = update(carry_{t-1}, z_t),

and that is all this engine knows of a cell: `cell.projection()` returns (w_x, w_h, b), `cell.update` is
any differentiable function, and h is the last component of the carry. From the split follow one matmul
for the weight gradients of a whole segment of time (not an addition at every step), recomputation by
segments, and the norm of every adjoint dL/dh_t from the backward pass that training does anyway.

Any other callable (carry, x) -> (carry, y) runs through the same call on the plain road, `jax.lax.scan`
with rematerialised segments. Forward-mode differentiation and reading want `jax.lax.scan(cell, carry, xs)`,
which `unroll(cell, carry, xs)` equals.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, PyTree

from rnnlab.perturb import perturbed

Step = Callable[[Any, Any], tuple[Any, Any]]


def hidden(carry: PyTree) -> Array:
    """h of a carry: its last component, as in Flax ((c, h) for an LSTM)."""
    return jax.tree.leaves(carry)[-1]


def unroll(
    cell: Step,
    carry: PyTree,
    xs: PyTree,
    *,
    taps: PyTree | None = None,
    segment: int | None = None,
) -> tuple[PyTree, PyTree]:
    """Equal to `jax.lax.scan(cell, carry, xs)`, with a faster and leaner reverse-mode gradient.

    Args:
      cell: `(carry, x) -> (carry, y)`. One with `projection()` and `update(carry, z)` takes the fast road.
      carry: the initial carry, arrays [*B, H].
      xs: inputs [T, *B, D].
      taps: a tree like `carry` of zeros [T, *B]. The "gradient" with respect to a tap is ||dL/dh_t||
        (||dL/dc_t||): the norm over H of the adjoint of that carry component as it leaves step t, every
        use of it counted: by later steps, by y_t, and by the rest of the same step.
      segment: keep the carry every `segment` steps and recompute in between; T or more stores everything.
        T need not divide by it. Left out, it is chosen by shape.

    Returns:
      The final carry, and ys stacked over time [T, *B, H].

    Raises:
      ValueError: `segment` below 1, or taps of another shape than [T, *B].
    """
    length = jax.tree.leaves(xs)[0].shape[0]
    if segment is not None and segment < 1:
        raise ValueError(f"segment={segment}: a segment is at least 1 step")
    if taps is not None:
        _check_taps(taps, carry, length)
    if length == 0:
        return jax.lax.scan(cell, carry, xs)
    if not hasattr(cell, "projection"):
        return _unroll_plain(cell, carry, xs, taps, min(segment or length, length))
    segment = min(segment or choose_segment(length, hidden(carry).shape), length)
    return _unroll_projected(cell, carry, xs, taps, segment)


def choose_segment(length: int, shape: tuple[int, ...]) -> int:
    """Steps a segment for h of `shape` [*B, H]: store everything where matmuls dominate, else recompute.

    Recomputing costs the forward matmuls once more and saves the traffic of the stored carries and z.
    Measured by scripts/bench on CPU: it pays below H = 256 once these outgrow the cache.
    """
    numbers = math.prod(shape)
    if shape[-1] >= 256 or length * numbers * 8 * 4 <= 2**23:
        return length
    return max(8, min(length, 2**16 // numbers))


# From this input width on, x_t w_x of a whole segment as one matmul beats its re-reading w_x at every step;
# below it, writing and reading z costs more than it saves (measured on CPU: scripts/bench).
WIDE_INPUT = 512


def _unroll_plain(cell, carry, xs, taps, segment):
    """`jax.lax.scan`, rematerialised by segments."""

    def body(carry, inputs):
        x, tap = inputs
        if tap is None:
            return cell(carry, x)
        return perturbed(cell)(carry, x, jax.tree.map(_tap, tap, carry))

    @jax.checkpoint
    def run(carry, inputs):
        return jax.lax.scan(body, carry, inputs)

    if segment == jax.tree.leaves(xs)[0].shape[0]:
        return jax.lax.scan(body, carry, (xs, taps))
    head, rest = _split((xs, taps), segment)
    carry, ys_head = run(carry, head)
    carry, ys = jax.lax.scan(run, carry, rest)
    return carry, _join(ys_head, ys)


def _unroll_projected(cell, carry, xs, taps, segment):
    """A custom VJP that walks back over segments of time."""
    own, update = _own_parameters(cell, carry, xs)
    whole = segment == xs.shape[0]

    def forward(projection, own, carry, xs):
        """A segment forwards: (carry, ys), and each step's (carry_{t-1}, z_t) for whoever walks back."""
        w_x, w_h, b = projection
        wide = xs.shape[-1] >= WIDE_INPUT

        def body(before, x):
            z = (x if wide else _dot(x, w_x) + b) + _dot(hidden(before).astype(w_h.dtype), w_h)
            carry, y = update(own, before, z)
            return carry, (y, (before, z))

        xs = xs.astype(w_x.dtype)
        carry, (ys, kept) = jax.lax.scan(body, carry, _dot(xs, w_x) + b if wide else xs)
        return (carry, ys), kept

    def walk_back(projection, own, xs, kept, d_carry, d_ys):
        """A segment backwards: adjoints step by step, then each weight gradient as one matmul."""
        w_x, w_h, b = projection
        w_h_transposed = w_h.T

        def body(state, inputs):
            d_carry, d_own = state
            before, z, d_y = inputs
            if taps is None:
                (_, y), pull = jax.vjp(update, own, before, z)
            else:
                (_, y), pull = jax.vjp(perturbed(update), own, before, z, jax.tree.map(jnp.zeros_like, before))
            step_own, d_before, dz, *additions = pull((d_carry, jnp.zeros_like(y) if d_y is None else d_y))
            leaves, treedef = jax.tree.flatten(d_before)
            leaves[-1] = leaves[-1] + _dot(dz, w_h_transposed).astype(leaves[-1].dtype)
            d_own = jax.tree.map(jnp.add, d_own, step_own)
            norms = jax.tree.map(_norm, additions[0]) if additions else None
            return (jax.tree.unflatten(treedef, leaves), d_own), (dz, norms)

        before, z = kept
        start = d_carry, jax.tree.map(jnp.zeros_like, own)
        (d_carry, d_own), (dz, norms) = jax.lax.scan(body, start, (before, z, d_ys), reverse=True)
        d_projection = (_outer(xs, dz), _outer(hidden(before), dz), _outer(None, dz))
        return d_carry, (d_projection, d_own), (_dot(dz, w_x.T).astype(xs.dtype), norms)

    @jax.custom_vjp
    def run(projection, own, carry, xs, taps):
        del taps
        return forward(projection, own, carry, xs)[0]

    def run_forward(*primals):
        projection, own, carry, xs, _ = jax.tree.map(
            lambda primal: primal.value, primals, is_leaf=lambda leaf: hasattr(leaf, "perturbed")
        )
        if whole:
            out, kept = forward(projection, own, carry, xs)
            return out, (projection, own, xs, kept)

        def body(carry, xs):
            (last, ys), _ = forward(projection, own, carry, xs)
            return last, (ys, carry)

        head, rest = _split(xs, segment)
        start, (ys_head, _) = body(carry, head)
        last, (ys, starts) = jax.lax.scan(body, start, rest)
        return (last, _join(ys_head, ys)), (projection, own, xs, (carry, starts))

    def run_backward(residuals, cotangents):
        projection, own, xs, kept = residuals
        d_carry, d_ys = cotangents
        if isinstance(d_ys, SymbolicZero):
            d_ys = None  # the loss reads the last carry alone: no [T, B, H] of zeros is made
        d_carry = jax.tree.map(
            lambda d: jnp.zeros(d.shape, d.dtype) if isinstance(d, SymbolicZero) else d,
            d_carry,
            is_leaf=lambda leaf: isinstance(leaf, SymbolicZero),
        )
        if whole:
            d_carry, totals, per_step = walk_back(projection, own, xs, kept, d_carry, d_ys)
        else:
            carry, starts = kept

            def body(state, inputs):
                d_carry, totals = state
                start, xs, d_ys = inputs
                _, kept = forward(projection, own, start, xs)
                d_carry, more, per_step = walk_back(projection, own, xs, kept, d_carry, d_ys)
                return (d_carry, jax.tree.map(jnp.add, totals, more)), per_step

            (xs_head, d_head), (xs_rest, d_rest) = _split((xs, d_ys), segment)
            zeros = jax.tree.map(lambda w: jnp.zeros(w.shape, _wide(w)), projection)
            state = d_carry, (zeros, jax.tree.map(jnp.zeros_like, own))
            state, per_rest = jax.lax.scan(body, state, (starts, xs_rest, d_rest), reverse=True)
            (d_carry, totals), per_head = body(state, (carry, xs_head, d_head))
            per_step = _join(per_head, per_rest)
        d_projection, d_own = totals
        d_projection = jax.tree.map(lambda d, w: d.astype(w.dtype), d_projection, projection)
        d_xs, norms = per_step
        norms = jax.tree.map(lambda norm, tap: norm.astype(tap.dtype), norms, taps)
        return d_projection, d_own, d_carry, d_xs, norms

    run.defvjp(run_forward, run_backward, symbolic_zeros=True)
    return run(cell.projection(), own, carry, xs, taps)


def _own_parameters(cell, carry, xs):
    """What the update reads of its cell besides z: ({leaf number: array}, update(own, carry, z)).

    Only these are differentiated at every step; a [H, 4H] of zeros for each weight would be added up too.
    """
    leaves, treedef = jax.tree.flatten(cell)

    def apply(leaves, carry, z):
        return jax.tree.unflatten(treedef, leaves).update(carry, z)

    w_x, w_h, _ = cell.projection()
    z = jax.ShapeDtypeStruct((*xs.shape[1:-1], w_h.shape[1]), jnp.result_type(w_x, w_h))
    jaxpr = jax.make_jaxpr(apply)(leaves, carry, z).jaxpr
    read = {id(var) for eqn in jaxpr.eqns for var in eqn.invars} | {id(var) for var in jaxpr.outvars}
    own = {i: leaf for i, leaf in enumerate(leaves) if id(jaxpr.invars[i]) in read}

    def update(own, carry, z):
        return apply([own.get(i) for i in range(len(leaves))], carry, z)

    return own, update


def _dot(x: Array, w: Array) -> Array:
    """x [*B, M] times w [M, N]."""
    return jax.lax.dot_general(x, w, (((x.ndim - 1,), (0,)), ((), ())))


def _outer(x: Array | None, dz: Array) -> Array:
    """The sum over time and batch of x_t^T dz_t [M, N], as one matmul; of dz_t alone for x None."""
    axes = tuple(range(dz.ndim - 1))
    if x is None:
        return jnp.sum(dz, axes, dtype=_wide(dz))
    return jax.lax.dot_general(x.astype(dz.dtype), dz, ((axes, axes), ((), ())), preferred_element_type=_wide(dz))


def _wide(x: Array):
    """The type that sums over time are kept in: at least float32."""
    return jnp.promote_types(x.dtype, jnp.float32)


def _norm(d: Array) -> Array:
    return jnp.sqrt(jnp.sum(jnp.square(d.astype(_wide(d))), axis=-1))


@jax.custom_vjp
def _tap(tap: Array, like: Array) -> Array:
    """Zeros like `like`, through which the norm of an adjoint reaches `tap` as its gradient."""
    del tap
    return jnp.zeros_like(like)


def _tap_forward(tap, like):
    return _tap(tap, like), (tap, like)


def _tap_backward(kept, d):
    tap, like = kept
    return _norm(d).astype(tap.dtype), jnp.zeros_like(like)


_tap.defvjp(_tap_forward, _tap_backward)


def _check_taps(taps, carry, length):
    for tap, part in zip(jax.tree.leaves(taps), jax.tree.leaves(carry), strict=True):
        if tap.shape != (length, *part.shape[:-1]):
            raise ValueError(f"taps: shape {tap.shape}, must be [T, *B] = {(length, *part.shape[:-1])}")


def _split(xs, segment):
    """Time as a head of at most `segment` steps and whole segments [n, segment, ...]."""
    head = (jax.tree.leaves(xs)[0].shape[0] - 1) % segment + 1
    rest = jax.tree.map(lambda x: x[head:].reshape(-1, segment, *x.shape[1:]), xs)
    return jax.tree.map(lambda x: x[:head], xs), rest


def _join(head, rest):
    return jax.tree.map(lambda h, r: jnp.concatenate([h, r.reshape(-1, *r.shape[2:])]), head, rest)
