"""The norm of a gradient whose squares a float32 does not hold."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree


def global_norm(tree: PyTree) -> Array:
    """The Euclidean norm of all leaves together; nan or infinite where a leaf is.

    The leaves are scaled by the power of two that is next to the largest of them, which rounds nothing: their squares
    alone overflow above 1e19 in float32, and vanish below 1e-23.
    """
    leaves = [leaf for leaf in jax.tree.leaves(tree) if leaf.size]
    largest = jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in leaves]).max()
    _, exponent = jnp.frexp(jnp.where(jnp.isfinite(largest), largest, 1))
    return jnp.ldexp(optax.tree.norm([jnp.ldexp(leaf, -exponent) for leaf in leaves]), exponent)
