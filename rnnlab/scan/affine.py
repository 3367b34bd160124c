"""Affine recurrences v_t = A_t v_{t-1} + b_t in parallel over time, with full or diagonal matrices.

The composition of two affine maps is one, and is associative, so that all v_t are a prefix sum of depth log T
(Blelloch 1990, Prefix sums and their applications, section 1.4.1; `jax.lax.associative_scan`).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rnnlab.scan.segments import zeros_like

Tangent = Callable[[Array], Array]  # of vectors [T, B, N]


class Full:
    """How matrices [T, B, N, N] act on vectors [T, B, N]."""

    def jacobian(self, tangent: Tangent, like: Array) -> Array:
        """Of a map of vectors of the shape of `like` that mixes neither steps nor examples."""
        basis = jnp.eye(like.shape[-1], dtype=like.dtype)
        columns = jax.vmap(lambda direction: tangent(zeros_like(like) + direction))(basis)
        return jnp.moveaxis(columns, 0, -1)

    def identity(self, like: Array) -> Array:
        return jnp.broadcast_to(jnp.eye(like.shape[-1], dtype=like.dtype), like.shape)

    def scaled(self, factor: Float[Array, " B"], matrices: Array) -> Array:
        return factor[:, None, None] * matrices

    def transpose(self, matrices: Array) -> Array:
        return jnp.swapaxes(matrices, -1, -2)

    def apply(self, matrices: Array, vectors: Array) -> Array:
        return jnp.einsum("...ij,...j->...i", matrices, vectors)

    def compose(self, late: Array, early: Array) -> Array:
        return late @ early

    def inverse(self, matrices: Array) -> Array:
        """Of symmetric positive definite ones, by Gauss & Jordan's elimination, which needs no pivots for them.

        Not by LAPACK: on CPU its batched LU waits for threads of the pool that it holds, and where two devices are in
        one at the same time neither ends (jaxlib 0.10.1).
        """

        def eliminate(k, a):
            row, column = (jax.lax.dynamic_index_in_dim(a, k, axis, keepdims=False) for axis in (-2, -1))
            pivot = jax.lax.dynamic_index_in_dim(row, k, -1)
            at = jnp.arange(a.shape[-1]) == k
            row = jnp.where(at, 1, row) / pivot  # of the inverse, up to the sign of other rows
            a = jnp.where(at, 0, a) - jnp.where(at, 0, column)[..., None] * row[..., None, :]
            return jnp.where(at[:, None], row[..., None, :], a)

        return jax.lax.fori_loop(0, matrices.shape[-1], eliminate, matrices)


class Diagonal:
    """The same of diagonal ones, [T, B, N]."""

    def jacobian(self, tangent: Tangent, like: Array) -> Array:
        """Column by column, so that no [T, B, N, N] is kept; the work is that of the full Jacobian."""

        def entry(direction):
            return tangent(zeros_like(like) + direction) @ direction

        return jnp.moveaxis(jax.lax.map(entry, jnp.eye(like.shape[-1], dtype=like.dtype)), 0, -1)

    def identity(self, like: Array) -> Array:
        return jnp.ones_like(like)

    def scaled(self, factor: Float[Array, " B"], matrices: Array) -> Array:
        return factor[:, None] * matrices

    def transpose(self, matrices: Array) -> Array:
        return matrices

    def apply(self, matrices: Array, vectors: Array) -> Array:
        return matrices * vectors

    def compose(self, late: Array, early: Array) -> Array:
        return late * early

    def inverse(self, matrices: Array) -> Array:
        return 1 / matrices


Matrices = Full | Diagonal


def affine_recurrence(
    kind: Matrices, matrices: Array, additions: Float[Array, "T B N"], *, reverse: bool = False
) -> Float[Array, "T B N"]:
    """v_t = A_t v_{t-1} + b_t from v_0 = 0; in reverse v_t = A_t v_{t+1} + b_t from v_{T+1} = 0."""

    def then(early, late):
        return kind.compose(late[0], early[0]), kind.apply(late[0], early[1]) + late[1]

    return jax.lax.associative_scan(then, (matrices, additions), reverse=reverse)[1]
