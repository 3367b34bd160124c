"""Time cut into segments, and the norms that are taken along it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree


def split(xs: PyTree, segment: int) -> tuple[PyTree, PyTree]:
    """Time as a head of at most `segment` steps and whole segments [n, segment, ...]."""
    head = (jax.tree.leaves(xs)[0].shape[0] - 1) % segment + 1
    rest = jax.tree.map(lambda x: x[head:].reshape(-1, segment, *x.shape[1:]), xs)
    return jax.tree.map(lambda x: x[:head], xs), rest


def join(head: PyTree, rest: PyTree) -> PyTree:
    """What `split` took apart: [T, ...]."""
    return jax.tree.map(lambda h, r: jnp.concatenate([h, r.reshape(-1, *r.shape[2:])]), head, rest)


def wide(x: Array):
    """The type that sums over time are kept in: at least float32."""
    return jnp.promote_types(x.dtype, jnp.float32)


def norm(d: Array) -> Array:
    """Over the last axis, in at least float32."""
    return jnp.sqrt(jnp.sum(jnp.square(d.astype(wide(d))), axis=-1))
