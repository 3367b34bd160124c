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
MOST = 8  # blocks of dz: so many gates has no cell


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
    def blocks(z: int, carry: PyTree) -> int:
        """In how many blocks dz, of Z columns, goes into its product."""
        del z, carry
        return 1


class BatchLast:
    """h as [H, B]. A step still sees a batch, of one sequence, so that it may be written for [B, H]."""

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
        def one(own, *args):
            return jax.tree.map(lambda out: out[0], update(own, *jax.tree.map(lambda arg: arg[None], args)))

        return lambda own, *args: jax.vmap(functools.partial(one, own), in_axes=-1, out_axes=-1)(*args)

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
    def blocks(z: int, carry: PyTree) -> int:
        """One a gate: XLA would make dz within its concatenation over gates, each gate's derivatives once for all."""
        width = max(part.shape[0] for part in jax.tree.leaves(carry))
        return z // width if z % width == 0 and z // width <= MOST else 1


def batch_axis(carry: PyTree, w_x: Array, w_h: Array) -> type[BatchFirst] | type[BatchLast]:
    """The faster form for such a carry and such weights; the batch is last only of a carry of arrays [B, N]."""
    parts = jax.tree.leaves(carry)
    large = (w_x.size + w_h.size) * w_h.dtype.itemsize >= LARGE
    flat = all(part.ndim == 2 and len(part) == len(parts[-1]) for part in parts)
    last = jax.default_backend() == "cpu" and large and flat and len(parts[-1]) >= FEW
    return BatchLast if last else BatchFirst
