"""Where the batch axis of a step's arrays lies: h as [B, H] and products h w, or h as [H, B] and products w^T h.

The results are the same. XLA's matmul on a CPU packs its factors anew at every step, and packs a large w beside a small
batch much faster as the left factor than as the right one. Measured by scripts/bench, tabled in docs/measured.md.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

LARGE = 2**19  # bytes of a layer's weights from which the batch is last: where they fill a core's cache
FEW = 4  # sequences below which it is not


class BatchFirst:
    """h as [*B, H]."""

    features = -1  # the axis of H

    @staticmethod
    def enter(tree: PyTree) -> PyTree:
        """Arrays [*B, N] in this form."""
        return tree

    @staticmethod
    def leave(tree: PyTree) -> PyTree:
        """Arrays in this form as [*B, N]."""
        return tree

    @staticmethod
    def steps(tree: PyTree) -> PyTree:
        """Arrays [T, *B], one entry a step, that meet arrays in this form."""
        return tree

    @staticmethod
    def update(update: Callable) -> Callable:
        """A function of (own, arrays [*B, N], ...) for arrays in this form; `own` has no batch."""
        return update

    @staticmethod
    def weights(w: Array) -> Array:
        """w [M, N] as `product` takes it."""
        return w

    @staticmethod
    def bias(b: Array) -> Array:
        return b

    @staticmethod
    def product(x: Array, w: Array) -> Array:
        """x, [*B, M] in this form, times w: [*B, N] in this form."""
        return jax.lax.dot_general(x, w, (((x.ndim - 1,), (0,)), ((), ())))

    @staticmethod
    def blocks(z: int, width: int) -> int:
        """In how many blocks dz, of Z columns, goes into its product."""
        del z, width
        return 1


class BatchLast:
    """h as [H, B]."""

    features = 0

    @staticmethod
    def enter(tree: PyTree) -> PyTree:
        return jax.tree.map(jnp.transpose, tree)

    leave = enter

    @staticmethod
    def steps(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda each: each[:, None], tree)

    @staticmethod
    def update(update: Callable) -> Callable:
        return lambda own, *args: jax.vmap(functools.partial(update, own), in_axes=-1, out_axes=-1)(*args)

    @staticmethod
    def weights(w: Array) -> Array:
        return w.T

    @staticmethod
    def bias(b: Array) -> Array:
        return b[:, None]

    @staticmethod
    def product(x: Array, w: Array) -> Array:
        return w @ x

    @staticmethod
    def blocks(z: int, width: int) -> int:
        """One a gate: XLA would make dz within its concatenation over gates, each gate's derivatives once for all."""
        return z // width if z % width == 0 else 1


def batch_axis(batch: list[int], w_x: Array, w_h: Array) -> type[BatchFirst] | type[BatchLast]:
    """The faster form for a batch of this shape and such weights."""
    large = (w_x.size + w_h.size) * w_h.dtype.itemsize >= LARGE
    last = jax.default_backend() == "cpu" and len(batch) == 1 and batch[0] >= FEW and large
    return BatchLast if last else BatchFirst
