"""Time cut into segments, and the norms that are taken along it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

STORED = 2**30  # bytes of residuals above which recomputing is the better choice everywhere


def scan_segments(
    body: Callable[[PyTree, PyTree, Any], tuple[PyTree, PyTree, Any]],
    state: PyTree,
    xs: PyTree,
    segment: int,
    *,
    each: PyTree = None,
    reverse: bool = False,
) -> tuple[PyTree, PyTree, PyTree]:
    """`jax.lax.scan` over segments of time, the earliest one shorter where T does not divide.

    Args:
      body: `(state, xs of a segment, that segment's part of each) -> (state, ys of the segment, anything)`.
      state: the scan's carry, passed from segment to segment.
      xs: arrays [T, ...].
      segment: steps a segment, at least 1.
      each: arrays with one entry a segment, [ceil(T / segment), ...].
      reverse: begin with the last segment.

    Returns:
      The last state, ys as [T, ...], and the third outputs stacked, one entry a segment.
    """
    short = jax.tree.leaves(xs)[0].shape[0] % segment

    def run(state, inputs):
        state, ys, one = body(state, *inputs)
        return state, (ys, one)

    def whole(state):
        rest = jax.tree.map(lambda x: x[short:].reshape(-1, segment, *x.shape[1:]), xs)
        own = jax.tree.map(lambda e: e[bool(short) :], each)
        state, (ys, ones) = jax.lax.scan(run, state, (rest, own), reverse=reverse)
        return state, (jax.tree.map(lambda y: y.reshape(-1, *y.shape[2:]), ys), ones)

    def head(state):
        state, (ys, one) = run(state, (jax.tree.map(lambda x: x[:short], xs), jax.tree.map(lambda e: e[0], each)))
        return state, (ys, jax.tree.map(lambda o: o[None], one))

    parts = []
    for part in [whole] if not short else [whole, head] if reverse else [head, whole]:
        state, found = part(state)
        parts.append(found)
    ys, ones = parts[0] if not short else jax.tree.map(lambda *p: jnp.concatenate(p), *parts[:: -1 if reverse else 1])
    return state, ys, ones


def even_segment(length: int, most: int) -> int:
    """A segment of at most `most` steps: one that divides T, if one of more than half of that does.

    A shorter first segment would be compiled by itself.
    """
    most = max(1, min(length, most))
    return next((n for n in range(most, most // 2, -1) if length % n == 0), most)


def sum_dtype(x: Array):
    """The dtype in which sums over time are accumulated: at least float32."""
    return jnp.promote_types(x.dtype, jnp.float32)


def norm(d: Array) -> Array:
    """Over the last axis, in at least float32."""
    return jnp.sqrt(jnp.sum(jnp.square(d.astype(sum_dtype(d))), axis=-1))


def varying_alike(tree: PyTree) -> PyTree:
    """The tree with every array varying over all mesh axes that any of its arrays varies over.

    Within `jax.shard_map` a scan's carry must vary as what joins it does, and zeros made inside vary over nothing. The
    transpose sums over those axes, so gradients of what was replicated are complete. Elsewhere the tree itself.
    """
    axes = frozenset().union(*map(varying, jax.tree.leaves(tree)))

    def cast(x):
        missing = axes - varying(x)
        return jax.lax.pcast(x, tuple(missing), to="varying") if missing and hasattr(x, "dtype") else x

    return jax.tree.map(cast, tree) if axes else tree


def zeros_like(tree: PyTree) -> PyTree:
    """Zeros that vary over the mesh axes that the tree's leaves vary over."""
    return varying_alike((jax.tree.map(jnp.zeros_like, tree), tree))[0]


def varying(x: Any) -> frozenset[str]:
    """The mesh axes of a `jax.shard_map` over which an array differs; none of anything else."""
    if not hasattr(x, "dtype"):  # a cell may be a function
        return frozenset()
    kind = jax.typeof(x)
    axes = getattr(kind, "manual_axis_type", None)  # called vma in other versions of JAX
    return getattr(kind, "vma", frozenset()) if axes is None else axes.varying
