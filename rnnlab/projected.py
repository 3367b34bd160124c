"""The fast road of `rnnlab.scan`: a custom VJP for cells that are a projection and an update."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, PyTree

from rnnlab.perturb import perturbed
from rnnlab.segments import join, norm, split, wide

# From this input width on, x_t w_x of a whole segment as one matmul beats its re-reading w_x at every step;
# below it, writing and reading z costs more than it saves (measured on CPU: scripts/bench).
WIDE_INPUT = 512


def hidden(carry: PyTree) -> Array:
    """h of a carry: its last component, as in Flax ((c, h) for an LSTM)."""
    return jax.tree.leaves(carry)[-1]


def unroll_projected(cell, carry: PyTree, xs: Array, taps: PyTree | None, segment: int) -> tuple[PyTree, Array]:
    """See `rnnlab.scan.unroll`. The walk back goes over segments of time, latest first."""
    own, update = _own_parameters(cell, carry, xs)
    whole = segment == xs.shape[0]

    def forward(projection, own, carry, xs):
        """A segment forwards: (carry, ys), and each step's (carry_{t-1}, z_t) for whoever walks back."""
        w_x, w_h, b = projection
        at_once = xs.shape[-1] >= WIDE_INPUT

        def body(before, x):
            z = (x if at_once else _dot(x, w_x) + b) + _dot(hidden(before).astype(w_h.dtype), w_h)
            carry, y = update(own, before, z)
            return carry, (y, (before, z))

        xs = xs.astype(w_x.dtype)
        carry, (ys, kept) = jax.lax.scan(body, carry, _dot(xs, w_x) + b if at_once else xs)
        return (carry, ys), kept

    def walk_back(projection, own, xs, kept, d_carry, d_ys):
        """A segment backwards: adjoints step by step, then each weight gradient as one matmul."""
        w_x, w_h, _ = projection
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
            d_own = jax.tree.map(lambda total, d: total + d.astype(total.dtype), d_own, step_own)
            norms = jax.tree.map(norm, additions[0]) if additions else None
            return (jax.tree.unflatten(treedef, leaves), d_own), (dz, norms)

        before, z = kept
        start = d_carry, jax.tree.map(lambda p: jnp.zeros(p.shape, wide(p)), own)
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

        head, rest = split(xs, segment)
        start, (ys_head, _) = body(carry, head)
        last, (ys, starts) = jax.lax.scan(body, start, rest)
        return (last, join(ys_head, ys)), (projection, own, xs, (carry, starts))

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

            (xs_head, d_head), (xs_rest, d_rest) = split((xs, d_ys), segment)
            zeros = jax.tree.map(lambda w: jnp.zeros(w.shape, wide(w)), projection)
            state = d_carry, (zeros, jax.tree.map(lambda p: jnp.zeros(p.shape, wide(p)), own))
            state, per_rest = jax.lax.scan(body, state, (starts, xs_rest, d_rest), reverse=True)
            (d_carry, totals), per_head = body(state, (carry, xs_head, d_head))
            per_step = join(per_head, per_rest)
        d_projection, d_own = totals
        d_projection = jax.tree.map(lambda d, w: d.astype(w.dtype), d_projection, projection)
        d_own = jax.tree.map(lambda d, p: d.astype(p.dtype), d_own, own)
        d_xs, norms = per_step
        norms = jax.tree.map(lambda n, tap: n.astype(tap.dtype), norms, taps)
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
        return jnp.sum(dz, axes, dtype=wide(dz))
    return jax.lax.dot_general(x.astype(dz.dtype), dz, ((axes, axes), ((), ())), preferred_element_type=wide(dz))
