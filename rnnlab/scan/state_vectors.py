"""A cell's state as one vector an example."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

VectorStep = Callable[[Array, PyTree], Array]


def flatten(state: PyTree) -> tuple[Float[Array, "B N"], Callable[[Array], PyTree]]:
    """Leaves [B, ...] as one vector an example, in at least float32, and the inverse function."""
    leaves, treedef = jax.tree.flatten(state)
    dtype = jnp.result_type(jnp.float32, *(leaf.dtype for leaf in leaves))  # a weak type would lose to float32
    sizes = [math.prod(leaf.shape[1:]) for leaf in leaves]
    shapes = [(leaf.shape[1:], leaf.dtype) for leaf in leaves]

    def restore(vector):
        parts, start = [], 0
        for (shape, leaf_dtype), size in zip(shapes, sizes, strict=True):
            part = vector[..., start : start + size]
            parts.append(part.reshape(*vector.shape[:-1], *shape).astype(leaf_dtype))
            start += size
        return jax.tree.unflatten(treedef, parts)

    return join(state, dtype), restore


def join(state: PyTree, dtype) -> Float[Array, "B N"]:
    """The leaves [B, ...] of a state side by side."""
    return jnp.concatenate([leaf.reshape(leaf.shape[0], -1).astype(dtype) for leaf in jax.tree.leaves(state)], axis=-1)


def vector_step(step: Callable[[PyTree, PyTree], PyTree], state: PyTree) -> tuple[Float[Array, "B N"], VectorStep]:
    """A step of batched states as a step of vectors [B, N]; states of different examples must not mix."""
    vector, restore = flatten(state)
    return vector, lambda v, x: join(step(restore(v), x), v.dtype)
