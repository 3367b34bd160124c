"""A cell's state as one vector, and frames of tangent vectors carried along with it."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PyTree

from rnnlab.model import carry_names
from rnnlab.probes.dynamics.householder import qr

VectorStep = Callable[[Array, PyTree], Array]
NOISE = 16  # units of rounding below which an entry of R cannot be told from zero (measured, N = 4 to 128)


def initial_carry(cell, xs: Float[Array, "T B D"]) -> PyTree:
    """The carry a cell starts from, as its author set it.

    Raises:
      ValueError: `cell` is a bare function, which has none.
    """
    if not hasattr(cell, "initialize_carry"):
        raise ValueError("a function that is no cell has no initial carry: pass carry=...")
    return cell.initialize_carry(xs.shape[1:], nnx.Rngs(0))  # Flax's own cells ask for rngs to make zeros


def flatten(state: PyTree) -> tuple[Float[Array, "B N"], Callable[[Array], PyTree]]:
    """Leaves [B, ...] as one vector an example, in at least float32, and the inverse function."""
    leaves, treedef = jax.tree.flatten(state)
    dtype = jnp.result_type(jnp.float32, *leaves)
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


def random_frame(vector: Float[Array, "B N"], k: int) -> Float[Array, "B N k"]:
    """k orthonormal columns, the same for each example.

    Random, since the axes may be an invariant frame of the wrong order (a triangular map leaves them so).
    """
    batch, size = vector.shape
    frame, _ = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (size, k), vector.dtype))
    return jnp.broadcast_to(frame, (batch, size, k))


def push(step: VectorStep, v: Array, x: PyTree, frame: Float[Array, "B N k"]) -> tuple[Array, Float[Array, "B N k"]]:
    """The next state, and the step's Jacobian times each column: one matmul a step for a projected cell."""
    v, tangent = jax.linearize(lambda v: step(v, x), v)
    return v, jnp.moveaxis(jax.vmap(tangent)(jnp.moveaxis(frame, -1, 0)), 0, -1)


def pull(step: VectorStep, v: Array, x: PyTree, frame: Float[Array, "B N k"]) -> Float[Array, "B N k"]:
    """The transposed Jacobian of the step that leaves v, times each column."""
    _, transposed = jax.vjp(lambda v: step(v, x), v)
    return jnp.moveaxis(jax.vmap(lambda u: transposed(u)[0])(jnp.moveaxis(frame, -1, 0)), 0, -1)


def orthonormalise(frame: Float[Array, "B N k"]) -> tuple[Array, Array, Array]:
    """(Q [B, N, k], R [B, k, k], log column norms [B, k]) of a frame; an entry of R within rounding of 0 is 0.

    Householder's QR leaves an error of some units of rounding of a column's norm in each entry of that
    column of R. What is below 16 such units is no information: the column is taken to lie in the span.
    """
    q, r = qr(frame)
    largest = jnp.max(jnp.abs(frame), axis=-2)
    scaled = frame / jnp.where(largest > 0, largest, 1)[..., None, :]
    norm = largest * jnp.sqrt(jnp.sum(jnp.square(scaled), axis=-2))
    noise = NOISE * jnp.finfo(frame.dtype).eps * norm
    return q, jnp.where(jnp.abs(r) <= noise[..., None, :], 0, r), jnp.log(norm)


def part_of(cell, carry: PyTree, name: str) -> slice:
    """Where a component of the carry, by its name ('c', 'h'), lies in the vector."""
    names = carry_names(cell, carry)
    if name not in names:
        raise ValueError(f"part={name!r} is no component of this carry: it has {', '.join(names)}")
    sizes = [math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(carry)]
    number = names.index(name)
    return slice(sum(sizes[:number]), sum(sizes[: number + 1]))
