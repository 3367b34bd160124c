"""QR of tall matrices, by panels."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Columns LAPACK gets at once. Wider, its BLAS starts threads of its own beside XLA's, and where cores are shared
# they wait for each other: a spectrum with 1000 QRs of 128 x 128 took 50 s on two busy cores, and takes 0.6 s so.
PANEL = 32


def qr(matrix: Float[Array, "*B N k"]) -> tuple[Float[Array, "*B N k"], Float[Array, "*B k k"]]:
    """Q with orthonormal columns, whatever the rank, and upper triangular R; N at least k.

    Each panel's reflectors are I - V T V^T, so that all else is matmuls: Schreiber & Van Loan 1989.
    """
    size, k = matrix.shape[-2:]
    if k <= PANEL:
        q, r = jnp.linalg.qr(matrix)
        return q, r
    reflectors, rows = [], []
    rest = matrix  # rows and columns from `start`
    for start in range(0, k, PANEL):
        width = min(PANEL, k - start)
        packed, tau = jnp.linalg.qr(rest[..., :width], mode="raw")
        packed = jnp.swapaxes(packed, -1, -2)
        v = jnp.tril(packed, -1) + jnp.eye(size - start, width, dtype=matrix.dtype)
        reflectors.append((v, _t(v, tau)))
        right = _reflect(v, jnp.swapaxes(reflectors[-1][1], -1, -2), rest[..., width:])
        done = jnp.zeros((*matrix.shape[:-2], width, start), matrix.dtype)
        rows.append(jnp.concatenate([done, jnp.triu(packed[..., :width, :]), right[..., :width, :]], axis=-1))
        rest = right[..., width:, :]
    q = jnp.broadcast_to(jnp.eye(size, k, dtype=matrix.dtype), matrix.shape)
    for number, (v, t) in reversed(list(enumerate(reflectors))):
        start = number * PANEL
        q = q.at[..., start:, start:].set(_reflect(v, t, q[..., start:, start:]))
    return q, jnp.concatenate(rows, axis=-2)


def _t(v: Array, tau: Array) -> Array:
    """T of H_1 H_2 ... = I - V T V^T, upper triangular: its inverse is 1 / tau on and V^T V above the diagonal.

    (I + U)^-1 diag(tau), as tau may be 0, with U strictly upper triangular; diagonal blocks of 1, 2, 4, ...
    are inverted in turn, by matmuls, as BLAS's triangular solve starts threads too.
    """
    u = jnp.triu(jnp.swapaxes(v, -1, -2) @ v, 1) * tau[..., None]
    width = tau.shape[-1]
    i = np.arange(width)
    inverse, block = jnp.eye(width, dtype=v.dtype), 1
    while block < width:
        pairs = (i[:, None] // (2 * block) == i // (2 * block)) & (i[:, None] // block != i // block)
        inverse = inverse - inverse @ jnp.where(pairs, u, 0) @ inverse
        block *= 2
    return inverse * tau[..., None, :]


def _reflect(v: Array, t: Array, matrix: Array) -> Array:
    return matrix - v @ (t @ (jnp.swapaxes(v, -1, -2) @ matrix))
