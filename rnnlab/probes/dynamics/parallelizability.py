"""How many Newton iterations a cell needs in parallel over time, told from its top Lyapunov exponent.

`rnnlab.scan.parallel` solves r_t = s_t - f(s_{t-1}) = 0 by Newton's method. The inverse of the Jacobian of r has the
products J_t ... J_{t-k+1} as its blocks; where these are at most e^(lambda k), its norm is at most

    G = sum_{k<T} e^(lambda k) = (e^(lambda T) - 1) / (e^lambda - 1)

(Gonzalez, Kozachkov, Zoltowski, Clarkson & Linderman 2025, theorem 2 with a = 1: 1 / G^2 bounds the Polyak-Lojasiewicz
constant of sum r^2 / 2 from below). With lambda < 0 it is below 1 / (1 - e^lambda) at any length; with lambda > 0 it
grows exponentially. An iteration takes an error e to at most G L e^2 / 2, L being the Lipschitz constant of J, so it
converges quadratically once that is less than e (theorem 5); if the first iteration leaves a part q < 1 of the guess's
error, i of them leave q^(2^i - 1), and log2(1 + log tolerance / log q) are enough.

Outside that basin theorem 4 has a linear rate, with a factor that may be exponential in T; their appendix K.1 takes the
number of iterations to be proportional to log G. Here it is G itself, with growth left out, and no constant to fit:

    memory_t = 1 + e^min(lambda, 0) memory_{t-1},     iterations = 1 + max_t memory_t,     at most T.

This is a scaling argument, not a theorem: given what comes before, an iteration makes right one more of the stretches
over which errors do not yet grow out of the basin; so there are as many of them as earlier steps that still count,
about 1 / |lambda| where the past is forgotten, all of them where it is not. `experiments/parallel_in_time.py` holds it
and c log G against what is needed: it is right to about a factor of 2, near lambda = 0 rather too many. What it cannot
see: iterates pass through states that the trajectory does not visit, and where these are chaotic (beside several
attractors, say) more iterations are needed than predicted. No more than T are ever needed (Gonzalez, Warrington, Smith
& Linderman 2024, proposition 1).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from rnnlab.probes.dynamics.lyapunov import lyapunov_spectrum
from rnnlab.probes.dynamics.tangent_frames import initial_carry
from rnnlab.probes.precision import at_full_precision
from rnnlab.scan.state_vectors import vector_step

Number = float | Float[Array, "*B"]


class Parallelizability(NamedTuple):
    """What `parallelizability` measures and predicts of each sequence."""

    exponent: Float[Array, " B"]  # the top one, nats a step
    first_error: Float[Array, " B"]
    iterations: Float[Array, " B"]  # predicted


@at_full_precision
def parallelizability(
    cell, xs: Float[Array, "T B D"], *, carry: PyTree | None = None, tolerance: float = 1e-5, blocks: int = 20
) -> Parallelizability:
    """How many iterations `solve_in_parallel(cell, carry, xs, method="deer")` should need.

    By the exponents of `blocks` of time, since a chaotic stretch takes as long as it lasts, however fast the rest
    forgets. The cell is run step by step: a few of its sequences tell of the others.

    Raises:
      ValueError: T < 2, or there is no carry.
    """
    carry = initial_carry(cell, xs) if carry is None else carry
    found = lyapunov_spectrum(cell, xs, k=1, carry=carry, warmup=0, blocks=blocks)
    left = first_error(cell, xs, carry=carry)
    predicted = predicted_iterations(_by_block(found.running[..., 0]), len(xs), first_error=left, tolerance=tolerance)
    return Parallelizability(found.exponents[:, 0], left, predicted)


def predicted_iterations(
    exponents: Float[Array | np.ndarray, "n *B"] | float,
    length: int,
    *,
    first_error: Number = 1.0,
    tolerance: float = 1e-5,
) -> Float[Array, "*B"]:
    """Iterations of undamped Newton with full Jacobians over `length` steps: whole numbers from 1 to T.

    Args:
      exponents: the top Lyapunov exponent, nats a step, or those of n equal blocks of time.
      length: T.
      first_error: q, see `first_error`. 0 for a linear map, which needs 1 iteration; left out, that nothing is known.
      tolerance: as for `solve_in_parallel`.
    """
    exponents = jnp.atleast_1d(jnp.asarray(exponents, jnp.result_type(float)))
    steps, rates = length / len(exponents), jnp.minimum(exponents, 0)

    def after_block(memory, rate):
        new = jnp.where(rate == 0, steps, jnp.expm1(steps * rate) / jnp.where(rate == 0, 1, jnp.expm1(rate)))
        memory = jnp.exp(steps * rate) * memory + new
        return memory, memory

    _, memory = jax.lax.scan(after_block, jnp.zeros(exponents.shape[1:], exponents.dtype), rates)
    inside = jnp.clip(first_error, jnp.finfo(exponents.dtype).tiny, 1 - 1e-6)
    quadratic = jnp.log2(1 + jnp.log(tolerance) / jnp.log(inside))
    needed = jnp.minimum(jnp.where(first_error < 1, quadratic, jnp.inf), 1 + jnp.max(memory, axis=0))
    return jnp.where(jnp.isnan(first_error), jnp.nan, jnp.clip(jnp.ceil(needed), 1, length))


@at_full_precision
def first_error(cell, xs: Float[Array, "T B D"], *, carry: PyTree | None = None) -> Float[Array, " B"]:
    """q: what Newton's first iteration leaves of the error of a guess of zeros, the largest over the largest.

    It is 0 for a linear map, and 1 or more outside the basin of quadratic convergence; inf on overflow.
    """
    start, step = vector_step(lambda carry, x: cell(carry, x)[0], initial_carry(cell, xs) if carry is None else carry)

    def body(states, x):
        state, iterate = states
        at_guess, move = jax.jvp(lambda v: step(v, x), (jnp.zeros_like(state),), (iterate,))
        state, iterate = step(state, x), at_guess + move
        return (state, iterate), (jnp.max(jnp.abs(iterate - state), axis=-1), jnp.max(jnp.abs(state), axis=-1))

    at_start = step(start, xs[0])
    first = (at_start, at_start)
    _, (errors, sizes) = jax.lax.scan(body, first, xs[1:])
    whole = jnp.maximum(jnp.max(sizes, axis=0), jnp.max(jnp.abs(at_start), axis=-1))
    left = jnp.max(errors, axis=0) / jnp.where(whole == 0, 1, whole)
    return jnp.where(jnp.isnan(left) & jnp.isfinite(whole), jnp.inf, left)


def log_conditioning(exponent: Number, length: int) -> Float[Array, "*B"]:
    """log G: what Gonzalez et al. 2025, appendix K.1, take the number of iterations to be proportional to."""
    rate = jnp.asarray(exponent, jnp.result_type(float))
    size = jnp.where(rate == 0, 1, jnp.abs(rate))
    bounded = jnp.log(-jnp.expm1(-length * size)) - jnp.log(-jnp.expm1(-size))  # that of -|lambda|
    return jnp.where(rate == 0, jnp.log(length), bounded + jnp.maximum(rate, 0) * (length - 1))


def _by_block(running: Float[Array, "n B"]) -> Float[Array, "n B"]:
    """The exponents of each block, from their running means; -inf stays."""
    sums = running * jnp.arange(1, len(running) + 1)[:, None]
    return jnp.where(running == -jnp.inf, -jnp.inf, jnp.diff(sums, axis=0, prepend=0))
