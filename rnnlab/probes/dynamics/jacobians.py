"""Singular values of d state_T / d state_{T-k}: what k steps do to every direction, at any lag, in logs.

The product of k Jacobians is never formed. Its transpose is kept as Q diag(2^e) V, with Q orthonormal, e
integers and the rows of V of norm 1/2 to 1, one QR a step; the singular values of diag(2^e) V are found by
one-sided Jacobi rotations whose angles are computed from the logs of ratios. Products of graded triangular
factors: Stewart 1997, A new algorithm for the SVD of a long product of matrices; why Jacobi keeps the small
singular values of a graded matrix: Demmel & Veselic 1992.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from rnnlab.probes.dynamics.tangent_frames import (
    NOISE,
    initial_carry,
    orthonormalise,
    part_of,
    pull,
    random_frame,
)
from rnnlab.probes.gradients.extended_range import ZERO_EXPONENT
from rnnlab.probes.precision import at_full_precision
from rnnlab.scan.state_vectors import vector_step

SWEEPS = 30  # Jacobi's sweeps converge quadratically; 5 to 10 are enough


class SingularValues(NamedTuple):
    """Natural logs of the singular values of d state_T / d state_{T-k}, largest first, by lag k."""

    lags: Int[Array, " L"]
    log: Float[Array, "L B N"]

    def log_condition(self) -> Float[Array, "L B"]:
        """log of the condition number, the largest over the smallest: inf for a singular one, NaN for zero."""
        return self.log[..., 0] - self.log[..., -1]


@at_full_precision
def singular_values(
    cell,
    xs: Float[Array, "T B D"],
    lags: Sequence[int],
    *,
    part: str | None = None,
    carry: PyTree | None = None,
) -> SingularValues:
    """Log singular values of the Jacobian of a cell's last carry with respect to an earlier one.

    Args:
      cell: rnnlab's, Flax's own, or any (carry, x) -> (carry, y) whose carry has leaves [B, ...].
      xs: [T, B, D]. carry_0 is the initial one, carry_T what T steps make of it.
      lags: each 0 to T, in any order; lag k compares carry_T with carry_{T-k}. Python numbers (static in jit).
      part: left out, the whole carry is the state: [N, N], for an LSTM d(c, h)_T / d(c, h)_{T-k}. 'h' or 'c':
        the block of that component alone, d h_T / d h_{T-k} with c_{T-k} held fixed. It is the block of the
        product, so paths that go through c in between count; it is not the product of the blocks.
      carry: carry_0; left out, the cell's own.

    Returns:
      [L, B, N] in nats (N is the part's width), in the order of `lags`. Neither overflows nor underflows at any
      lag. The error of a log is of the order of lag x rounding x the condition number of one step, for the
      small ones as for the large as long as the product keeps their directions apart, as generic ones do; it
      does not grow with the condition number of the product. -inf: a direction that some step took to within
      16 units of rounding of the others' span, as a singular w_h or a ReLU does. Weights that are NaN give NaN.

    Raises:
      ValueError: a lag is not in 0..T, T < 2, the carry has no such part, or there is no carry.
    """
    length = len(xs)
    if length < 2:
        raise ValueError(f"T={length}: at least two steps are needed")
    wrong = [lag for lag in lags if not 0 <= lag <= length]
    if wrong or not len(lags):
        raise ValueError(f"lags {wrong}: T={length} steps have lags 0 to {length}, and at least one is asked for")
    carry = initial_carry(cell, xs) if carry is None else carry
    vector, step = vector_step(lambda carry, x: cell(carry, x)[0], carry)
    batch, size = vector.shape
    where = slice(0, size) if part is None else part_of(cell, carry, part)

    unique = sorted({int(lag) for lag in lags})
    longest = unique[-1]
    vector, _ = jax.lax.scan(lambda v, x: (step(v, x), None), vector, xs[: length - longest])
    xs = xs[length - longest :]
    _, before = jax.lax.scan(lambda v, x: (step(v, x), v), vector, xs)

    first = random_frame(vector, size)

    def back(i, factors):
        frame, exponents, rows = factors
        frame, r, _ = orthonormalise(pull(step, before[longest - 1 - i], xs[longest - 1 - i], frame))
        return frame, *_times(r, exponents, rows)

    def to_next_lag(factors, lags):
        # (d state_T / d state_{T-k})^T first = frame diag(2^exponents) rows
        frame, exponents, rows = factors = jax.lax.fori_loop(*lags, back, factors)
        if part is None:
            return factors, _log_singular_values(exponents, rows)
        triangle = jnp.linalg.qr(frame[:, where], mode="r")
        columns = jnp.einsum("bij,bkj->bik", rows, first[:, where])
        return factors, _log_singular_values(*_times(triangle, exponents, columns))

    one = jnp.broadcast_to(jnp.eye(size, dtype=vector.dtype), (batch, size, size))
    start = (first, jnp.zeros((batch, size), jnp.int32), one)
    spans = jnp.array([[0, *unique[:-1]], unique], jnp.int32).T
    if longest == 0:
        log = jnp.zeros((1, batch, len(range(*where.indices(size)))), vector.dtype)
    else:
        _, log = jax.lax.scan(to_next_lag, start, spans)
    return SingularValues(jnp.array(lags), log[np.searchsorted(unique, lags)])


def _times(r: Float[Array, "B M N"], exponents: Int[Array, "B N"], rows: Float[Array, "B N K"]):
    """r diag(2^exponents) rows as (exponents [B, M], rows [B, M, K] of norm 1/2 to 1): the scaling adds no rounding."""
    r, own = jnp.frexp(r)
    sizes = jnp.maximum(jnp.where(r == 0, ZERO_EXPONENT, own.astype(jnp.int32) + exponents[:, None]), ZERO_EXPONENT)
    largest = jnp.max(sizes, axis=-1, keepdims=True)
    product = jnp.einsum("bij,bjk->bik", jnp.ldexp(r, jnp.maximum(sizes - largest, -(2**14))), rows)
    _, shift = jnp.frexp(jnp.sqrt(jnp.sum(jnp.square(product), axis=-1)))
    zero = jnp.all(product == 0, axis=-1)
    scaled = jnp.ldexp(product, -shift[..., None])
    return jnp.where(zero, ZERO_EXPONENT, largest[..., 0] + shift.astype(jnp.int32)), scaled


def _unit(rows: Float[Array, "*B N K"]):
    """(norms [*B, N], rows at unit norm); zeros stay zeros."""
    norm = jnp.sqrt(jnp.sum(jnp.square(rows), axis=-1))
    return norm, rows / jnp.where(norm == 0, 1, norm)[..., None]


def _log_singular_values(exponents: Int[Array, "B M"], rows: Float[Array, "B M K"]) -> Float[Array, "B M"]:
    """Those of diag(2^exponents) rows, largest first: rows are rotated in pairs until all are orthogonal.

    The pairs of a round are disjoint and rotated at once; row 0 stays and the others move on by one (the round-robin
    order), so that M - 1 rounds, a sweep, rotate every pair.
    """
    common = jnp.max(exponents, axis=-1, keepdims=True)  # so that logs are small where they are compared
    norm, rows = _unit(rows)
    logs = jnp.where(norm == 0, -jnp.inf, jnp.log(norm) + (exponents - common) * math.log(2))
    common = common * jnp.asarray(math.log(2), logs.dtype)
    count = logs.shape[-1]
    if count % 2:
        logs = jnp.pad(logs, ((0, 0), (0, 1)), constant_values=-jnp.inf)
        rows = jnp.pad(rows, ((0, 0), (0, 1), (0, 0)))
    even = logs.shape[-1]
    order = jnp.array([0, even - 1, *range(1, even - 1)])
    enough = jnp.finfo(logs.dtype).eps * max(8.0, even**0.5)

    def turn(_, table):
        logs, rows, worst = table
        half = even // 2
        upper, lower = (logs[:, :half], rows[:, :half]), (logs[:, half:][:, ::-1], rows[:, half:][:, ::-1])
        upper, lower, cosine = _rotate(upper, lower)
        logs, rows = (jnp.concatenate([u, v[:, ::-1]], axis=1)[:, order] for u, v in zip(upper, lower, strict=True))
        return logs, rows, jnp.maximum(worst, jnp.max(jnp.abs(cosine)))

    def sweep(state):
        number, logs, rows, _ = state
        return number + 1, *jax.lax.fori_loop(0, even - 1, turn, (logs, rows, jnp.zeros((), logs.dtype)))

    start = (0, logs, rows, jnp.full((), jnp.inf, logs.dtype))
    _, logs, _, _ = jax.lax.while_loop(lambda s: (s[0] < SWEEPS) & (s[3] > enough), sweep, start)
    return common - jnp.sort(-logs, axis=-1)[:, :count]


def _rotate(first, second):
    """Two graded rows e^l u made orthogonal by one plane rotation, all from the ratio of their norms.

    With rho = small / big <= 1 and c their cosine, tan(angle) = rho w: as rho goes to 0, w goes to c and the
    rotation to Gram-Schmidt, so no size is lost however far apart the two are.
    """
    swap = second[0] > first[0]
    (log_big, big), (log_small, small) = (
        tuple(jnp.where(s if a.ndim == 2 else s[..., None], b, a) for a, b in zip(first, second, strict=True))
        for s in (swap, ~swap)
    )
    gap = jnp.where(jnp.isneginf(log_small), -jnp.inf, log_small - log_big)
    cosine = jnp.sum(big * small, axis=-1)
    rho, apart = jnp.exp(gap), -jnp.expm1(2 * gap)
    w = 2 * cosine / jnp.where(cosine == 0, 1, apart + jnp.sqrt(apart**2 + 4 * (cosine * rho) ** 2))
    cos_angle = 1 / jnp.sqrt(1 + (rho * w) ** 2)
    turned = big + (rho**2 * w)[..., None] * small, small - w[..., None] * big
    (grown, big), (left, small) = (_unit(cos_angle[..., None] * rows) for rows in turned)
    lost = left <= NOISE * jnp.finfo(left.dtype).eps  # as in `orthonormalise`
    log_big = log_big + jnp.log(jnp.where(grown == 0, 1, grown))
    log_small = jnp.where(lost, -jnp.inf, log_small + jnp.log(jnp.where(lost, 1, left)))
    small = jnp.where(lost[..., None], 0, small)
    first = jnp.where(swap, log_small, log_big), jnp.where(swap[..., None], small, big)
    second = jnp.where(swap, log_big, log_small), jnp.where(swap[..., None], big, small)
    return first, second, cosine
