"""The matrix product of a step, with the weights as its right factor, x w, or as its left one, (w^T x^T)^T.

The results are the same. XLA packs both factors of a product anew at every step on a CPU, and packs weights that fill
a core's cache beside a small batch faster as the left factor. Measured by scripts/bench, tabled in docs/measured.md.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
from jaxtyping import Array

from rnnlab.scan.processor import core_cache

LARGE = core_cache()  # bytes of a layer's weights from which they are the left factor
FEW = 4  # sequences below which they are not
# Bytes of a layer's weights of which no core is to read all at every step for few sequences: threads that share a
# product read a part each.
WIDE = 4 * 2**20


def weights_left(h: Array, w_x: Array, w_h: Array) -> bool:
    """Whether the weights are the faster left factor, of a batch of h [*B, H]."""
    large = (w_x.size + w_h.size) * w_h.dtype.itemsize >= LARGE
    return jax.default_backend() == "cpu" and large and h.ndim == 2 and len(h) >= FEW


def times(w: Array, left: bool) -> Callable[[Array], Array]:
    """A function of x [*B, M] that gives x w [*B, N]; made outside a scan, so that w is transposed once."""
    if not left:
        return lambda x: jax.lax.dot_general(x, w, (((x.ndim - 1,), (0,)), ((), ())))
    w = w.T
    # XLA would make x w of the transpose of a product.
    return lambda x: jax.lax.optimization_barrier(jax.lax.dot_general(w, x, (((1,), (1,)), ((), ())))).T
