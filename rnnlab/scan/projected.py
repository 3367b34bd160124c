"""The projected form of `rnnlab.scan.unroll`: a custom VJP for cells that are a projection and an update."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, PyTree

from rnnlab.scan.adjoints import with_carry_addition
from rnnlab.scan.lstm_kernel import runs_compiled, unroll_compiled
from rnnlab.scan.presence import Presence, select
from rnnlab.scan.product import times, weights_left
from rnnlab.scan.segments import even_segment, norm, scan_segments, sum_dtype, varying_alike, zeros_like

ROWS = 512  # steps times batch whose dz are made before their matmul: enough for its speed, and still in the cache


def hidden(carry: PyTree) -> Array:
    """h of a carry: its last component, as in Flax ((c, h) for an LSTM)."""
    return jax.tree.leaves(carry)[-1]


def hoists_input() -> bool:
    """Whether x_t w_x of a segment is one matmul before its steps, or part of each step's own.

    On CPU writing and reading z costs more than it saves, however wide x is (measured: scripts/bench).
    """
    return jax.default_backend() != "cpu"


def unroll_projected(
    cell, carry: PyTree, xs: Array, taps: PyTree | None, segment: int, when: Presence, start: PyTree
) -> tuple[PyTree, Array]:
    """See `rnnlab.scan.unroll.unroll`."""
    own, update = _own_parameters(cell, carry, xs)
    projection, _ = varying_alike((cell.projection(), xs))  # zeros of a cell without w_h vary over nothing
    if runs_compiled(cell, carry, xs, when):
        return unroll_compiled(functools.partial(update, own), projection, carry, xs, taps, segment, when.present)
    return _unroll(update, segment, projection, own, start, carry, xs, taps, when)


def _unroll(update, segment, projection, own, start, carry, xs, taps, when):
    """The backward pass is a reverse scan over segments of time, latest first."""
    length, *batch, _ = xs.shape
    tapped_update = with_carry_addition(update)
    left = weights_left(hidden(carry), *projection[:2])
    keep_all = segment == length
    if keep_all:  # the backward pass goes by segments all the same, so that their dz stay in the cache
        segment = even_segment(length, ROWS // max(1, math.prod(batch)))
    hoist = hoists_input()

    def forward(projection, own, start, carry, xs, when):
        """A segment forwards: (carry, ys), and each step's residuals (carry_{t-1}, z_t) for the backward pass."""
        w_x, w_h, b = projection
        by_h, by_both = times(w_h, left), times(jnp.concatenate([w_x, w_h]), left)

        def body(before, inputs):
            x, now = inputs
            before = now.begin(before, start)
            h = hidden(before).astype(w_h.dtype)
            z = x + by_h(h) if hoist else by_both(jnp.concatenate([x, h], axis=-1)) + b
            carry, y = update(own, before, z)
            return now.keep(carry, before), (now.only_present(y), (before, z))

        xs = xs.astype(w_x.dtype)
        carry, (ys, kept) = jax.lax.scan(body, carry, (xs @ w_x + b if hoist else xs, when))
        return (carry, ys), kept

    def backward(w_x, by_w_h, own, xs, when, kept, state, d_ys):
        """A segment backwards: adjoints step by step, then each weight gradient as one matmul."""

        def body(state, inputs):
            d_later, d_own, d_start = state
            before, z, d_y, now = inputs
            d_carry, d_y = now.only_present((d_later, d_y))
            if taps is None:
                (_, y), pull = jax.vjp(update, own, before, z)
            else:
                (_, y), pull = jax.vjp(tapped_update, own, before, z, zeros_like(before))
            step_own, d_before, dz, *additions = pull((d_carry, zeros_like(y) if d_y is None else d_y))
            leaves, treedef = jax.tree.flatten(d_before)
            leaves[-1] = leaves[-1] + by_w_h(dz).astype(leaves[-1].dtype)
            d_own = jax.tree.map(lambda total, d: total + d.astype(total.dtype), d_own, step_own)
            dz, additions = now.only_present((dz, additions))
            norms = jax.tree.map(norm, additions[0]) if additions else None
            d_before = now.keep(jax.tree.unflatten(treedef, leaves), d_later)
            if now.resets is not None:
                nothing = zeros_like(d_before)
                d_start = jax.tree.map(jnp.add, d_start, select(now.resets, d_before, nothing))
                d_before = select(now.resets, nothing, d_before)
            return (d_before, d_own, d_start), (dz, norms)

        d_carry, totals, d_own, d_start = state
        before, z = kept
        (d_carry, d_own, d_start), (dz, norms) = jax.lax.scan(
            body, (d_carry, d_own, d_start), (before, z, d_ys, when), reverse=True
        )
        d_w_x_b = _outer(jnp.concatenate([xs, jnp.ones_like(xs[..., :1])], axis=-1), dz)  # b is the weight of a 1
        totals = jax.tree.map(jnp.add, totals, (d_w_x_b[:-1], _outer(hidden(before), dz), d_w_x_b[-1]))
        return (d_carry, totals, d_own, d_start), ((dz @ w_x.T).astype(xs.dtype), norms)

    @jax.custom_vjp
    def run(projection, own, start, carry, xs, taps, when):
        del taps
        return forward(projection, own, start, carry, xs, when)[0]

    def run_forward(*primals):
        projection, own, start, carry, xs, _, when = jax.tree.map(
            lambda primal: primal.value, primals, is_leaf=lambda leaf: hasattr(leaf, "perturbed")
        )
        if keep_all:
            out, kept = forward(projection, own, start, carry, xs, when)
            return out, (projection, own, start, xs, when, kept, None)

        def body(before, inputs, _):
            (carry, ys), _ = forward(projection, own, start, before, *inputs)
            return carry, ys, before

        carry, ys, firsts = scan_segments(body, carry, (xs, when), segment)
        return (carry, ys), (projection, own, start, xs, when, None, firsts)

    def run_backward(residuals, cotangents):
        projection, own, start, xs, when, kept, firsts = residuals
        w_x, w_h, _ = projection
        by_w_h = times(w_h.T, left)  # once: XLA would transpose in each segment
        d_carry, d_ys = cotangents
        if isinstance(d_ys, SymbolicZero):
            d_ys = None  # the loss reads the last carry alone: no [T, B, H] of zeros is made
        d_carry = jax.tree.map(
            lambda d: jnp.zeros(d.shape, d.dtype) if isinstance(d, SymbolicZero) else d,
            d_carry,
            is_leaf=lambda leaf: isinstance(leaf, SymbolicZero),
        )

        def body(state, inputs, first):
            xs, when, kept, d_ys = inputs
            if not keep_all:
                _, kept = forward(projection, own, start, first, xs, when)
            return *backward(w_x, by_w_h, own, xs, when, kept, state, d_ys), None

        zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, sum_dtype(p)), (projection, own))
        (d_carry, zeros), _ = varying_alike(((d_carry, (*zeros, zeros_like(start))), xs))
        (d_carry, *totals, d_start), (d_xs, norms), _ = scan_segments(
            body, (d_carry, *zeros), (xs, when, kept, d_ys), segment, each=firsts, reverse=True
        )
        d_projection, d_own = jax.tree.map(lambda d, p: d.astype(p.dtype), tuple(totals), (projection, own))
        norms = jax.tree.map(lambda n, tap: n.astype(tap.dtype), norms, taps)
        return d_projection, d_own, d_start, d_carry, d_xs, norms, None

    run.defvjp(run_forward, run_backward, symbolic_zeros=True)
    return run(projection, own, start, carry, xs, taps, when)


def _own_parameters(cell, carry, xs):
    """What the update reads of its cell besides z: ({leaf number: array}, update(own, carry, z)).

    Only these are differentiated at every step; a [H, 4H] of zeros for each weight would be added up too.
    """
    leaves, treedef = jax.tree.flatten(cell)
    count = len(leaves)

    def apply(leaves, carry, z):
        return jax.tree.unflatten(treedef, leaves).update(carry, z)

    w_x, w_h, _ = cell.projection()
    z = jax.ShapeDtypeStruct((*xs.shape[1:-1], w_h.shape[1]), jnp.result_type(w_x, w_h))
    jaxpr = jax.make_jaxpr(apply)(leaves, carry, z).jaxpr
    read = {id(var) for eqn in jaxpr.eqns for var in eqn.invars} | {id(var) for var in jaxpr.outvars}
    own = {i: leaf for i, leaf in enumerate(leaves) if id(jaxpr.invars[i]) in read}

    def update(own, carry, z):
        return apply([own.get(i) for i in range(count)], carry, z)

    return own, update


def _outer(x: Array, dz: Array) -> Array:
    """The sum over time and batch of x_t^T dz_t [M, N], as one matmul."""
    axes = tuple(range(dz.ndim - 1))
    return jax.lax.dot_general(x.astype(dz.dtype), dz, ((axes, axes), ((), ())), preferred_element_type=sum_dtype(dz))
