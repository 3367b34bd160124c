"""Frames of tangent vectors that are carried along with a cell's state."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PyTree

from rnnlab.model import carry_names
from rnnlab.probes.dynamics.householder import qr
from rnnlab.scan.state_vectors import VectorStep

NOISE = 16  # units of rounding below which an entry of R cannot be told from zero (measured, N = 4 to 128)


def initial_carry(cell, xs: Float[Array, "T B D"]) -> PyTree:
    """The carry a cell starts from, as its author set it.

    Raises:
      ValueError: `cell` is a bare function, which has none.
    """
    if not hasattr(cell, "initialize_carry"):
        raise ValueError("a function that is no cell has no initial carry: pass carry=...")
    return cell.initialize_carry(xs.shape[1:], nnx.Rngs(0))  # Flax's own cells ask for rngs to make zeros


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
