"""Newton's iteration on a whole trajectory: the loop of `rnnlab.scan.parallel`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rnnlab.scan.affine import Diagonal, Full, Matrices, affine_recurrence
from rnnlab.scan.kalman import damped_step
from rnnlab.scan.segments import varying_alike

Method = Literal["deer", "quasi-deer", "elk", "quasi-elk"]
EASIER, HARDER = 0.1, 10.0  # the damping's factor after a step that lowers sum r^2, and after one that does not

Map = Callable[[Float[Array, "T B N"]], Float[Array, "T B N"]]


class Settings(NamedTuple):
    """How a trajectory is iterated; see `rnnlab.scan.parallel.solve_in_parallel`."""

    method: Method
    tolerance: float
    most: int
    damping: float
    rounding: float  # unit of rounding of the coarsest part of the state


class Trajectory(NamedTuple):
    """What an iteration ends with."""

    states: Float[Array, "T B N"]
    iterations: Int[Array, " B"]
    converged: Bool[Array, " B"]
    residuals: Float[Array, "n B"]


class _Iterate(NamedTuple):
    """A guess of the trajectory, and what is known of each sequence."""

    count: Int[Array, ""]
    states: Float[Array, "T B N"]
    noise: Float[Array, "T B N"]  # what the rounding of every step adds up to, to first order
    last: Float[Array, " B"]  # Newton's step before this, its largest entry
    damping: Float[Array, " B"]
    iterations: Int[Array, " B"]
    converged: Bool[Array, " B"]
    ended: Bool[Array, " B"]
    residuals: Float[Array, "n B"]


def shifted(start: Float[Array, "B N"], states: Float[Array, "T B N"]) -> Float[Array, "T B N"]:
    """s_{t-1} at every t."""
    return jnp.concatenate([start[None], states[:-1]])


def iterate(
    steps: Map,
    sizes: Map,
    start: Float[Array, "B N"],
    states: Float[Array, "T B N"],
    settings: Settings,
) -> Trajectory:
    """The root of s_t - f(s_{t-1}, x_t) that is found from a first guess.

    Args:
      steps: f at every t at once, from the states before: s_{t-1} at t.
      sizes: of each entry of states, the size by which its error is judged and in whose units it is rounded.
      start: s_0.
      states: the guess.
    """
    kind: Matrices = Diagonal() if settings.method.startswith("quasi") else Full()
    signs = jax.random.rademacher(jax.random.key(0), (len(states), 1, states.shape[-1]), states.dtype)

    def newton(jacobians, residuals):
        return affine_recurrence(kind, jacobians, -residuals)

    def damped(jacobians, states, residuals, damping):
        """The states after a damped step, if it lowers sum r^2; and the damping of the next."""
        there = states + damped_step(kind, jacobians, residuals, damping)
        lower = _sum_of_squares(there - steps(shifted(start, there))) < _sum_of_squares(residuals)
        tiny = jnp.finfo(damping.dtype).eps
        damping = jnp.clip(damping * jnp.where(lower, EASIER, HARDER), tiny, 1 / tiny)
        return jnp.where(lower[:, None], there, states), damping

    def body(now: _Iterate) -> _Iterate:
        states = now.states
        values, tangent = jax.linearize(steps, shifted(start, states))
        jacobians = kind.jacobian(tangent, states).at[0].set(0)  # s_0 is given
        residuals = states - values
        size = sizes(values)
        rounded = settings.rounding * signs * size
        missing = now.noise - tangent(shifted(jnp.zeros_like(start), now.noise)) - rounded
        move, change = jax.vmap(newton, in_axes=(None, 0))(jacobians, jnp.stack([residuals, missing]))
        noise = now.noise + change

        unit = jnp.maximum(1, size)
        error, amplified = _largest(move / unit), _largest(noise / unit)
        # error / (1 - error / last): all steps to come, at the rate of the last two. That of a diagonal is linear, and
        # that of a cell with stop_gradient, whose derivative is not its Jacobian.
        near = error * now.last <= settings.tolerance * (now.last - error)
        converged = near & (amplified <= settings.tolerance)
        ended = now.ended | converged | jnp.all(residuals == 0, axis=(0, 2))  # an exact trajectory moves no more
        going_on = ~ended & (now.count < settings.most)
        if settings.method.endswith("elk"):
            moved, damping = damped(jacobians, states, residuals, now.damping)
        else:  # states + move, but exactly f where what comes before is right already
            moved, damping = values + kind.apply(jacobians, shifted(jnp.zeros_like(start), move)), now.damping
        given = shifted(jnp.ones_like(start), jnp.cumprod(residuals == 0, axis=0, dtype=states.dtype))
        exact = jnp.all(given == 1, axis=-1, keepdims=True)  # all states before: f makes one more, whatever overflows
        moved = jnp.where(jnp.isfinite(moved), moved, jnp.where(exact & jnp.isfinite(values), values, states))
        return _Iterate(
            now.count + 1,
            jnp.where(going_on[:, None], moved, states),
            _finite(noise),
            _finite(error),
            damping,
            now.iterations + going_on,
            now.converged | (converged & ~now.ended),
            ended,
            now.residuals.at[now.count].set(jnp.where(now.ended, jnp.nan, _largest(residuals))),
        )

    batch, dtype = start.shape[0], states.dtype
    begin = _Iterate(
        jnp.int32(0),
        states,
        jnp.zeros_like(states),
        jnp.zeros(batch, dtype),
        jnp.full(batch, settings.damping, dtype),
        jnp.zeros(batch, jnp.int32),
        jnp.zeros(batch, bool),
        jnp.zeros(batch, bool),
        jnp.full((settings.most + 1, batch), jnp.nan, dtype),
    )
    begin = varying_alike((begin, start))[0]
    end = jax.lax.while_loop(lambda now: (now.count <= settings.most) & ~jnp.all(now.ended), body, begin)
    return Trajectory(end.states, end.iterations, end.converged, end.residuals)


def _largest(vectors: Float[Array, "T B N"]) -> Float[Array, " B"]:
    """The largest entry by sequence; inf where one is NaN."""
    largest = jnp.max(jnp.abs(vectors), axis=(0, 2))
    return jnp.where(jnp.isnan(largest), jnp.inf, largest)


def _sum_of_squares(residuals: Float[Array, "T B N"]) -> Float[Array, " B"]:
    return jnp.sum(jnp.square(residuals), axis=(0, 2))


def _finite(values: Array) -> Array:
    return jnp.where(jnp.isfinite(values), values, 0)
