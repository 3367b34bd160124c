"""Linear recurrences s_t = a_t s_{t-1} + b_t over all of time: one step after another, or parallel in time.

Parallel in time: the composition of two such steps is another, (a', b') after (a, b) = (a' a, a' b + b'), and
associative, so all T prefixes take about 2 log2 T rounds instead of T steps (Blelloch 1990, Prefix sums and their
applications, section 1.4; for recurrent networks Martin & Cundy 2018, section 2). The gradient needs no more: the
adjoint ds_t = d_t + a_{t+1} ds_{t+1} is the same recurrence, backwards in time.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from rnnlab.scan.segments import varying_alike, zeros_like

METHODS = ("sequential", "associative")
FEW = 8  # steps


def choose_method(length: int) -> str:
    """How `linear_scan` goes over T = `length` steps, on JAX's default backend.

    A rule and not a timing at first use: the methods add up in different orders, so their last bits differ, and a run
    must give the same bits each time. On CPU it is measured (scripts/bench --only=linear; docs/measured.md): sequential
    is the faster one at every shape, forwards and with its gradient, since a step is a few vector instructions within
    one compiled loop and the associative form goes through memory at each of its rounds. On accelerators it is not
    measured: a step there costs a launch, whatever its width, so the associative form is taken from T = 9 on.
    """
    return "sequential" if jax.default_backend() == "cpu" or length <= FEW else "associative"


def linear_scan(
    a: Inexact[Array, "..."],
    b: Inexact[Array, "T *B N"],
    start: Inexact[Array, "*B N"],
    *,
    method: str | None = None,
) -> Inexact[Array, "T *B N"]:
    """The states s_1 ... s_T of s_t = a_t s_{t-1} + b_t from s_0 = `start`, elementwise; real or complex.

    Differentiable in reverse mode, to any order. Where a_t is exactly 0 nothing is left of s_{t-1}, not even a NaN or
    an infinity, and likewise of the adjoint that comes back: sequences laid end to end keep apart.

    Args:
      a: [T, *B, N], or what broadcasts to it. Above 1 in size, its products over time may overflow where the
        associative form makes them and the states themselves would not.
      b: [T, *B, N].
      start: [*B, N].
      method: "sequential" (`jax.lax.scan`) or "associative" (`jax.lax.associative_scan`), equal but for rounding. Left
        out, it follows from backend and length: see `choose_method`.

    Raises:
      ValueError: a method of another name.
    """
    if method is None:
        method = choose_method(len(b))
    elif method not in METHODS:
        raise ValueError(f"method={method!r}: must be {' or '.join(map(repr, METHODS))}")
    dtype = jnp.result_type(a, b, start)
    a, b, start = varying_alike((jnp.broadcast_to(a, b.shape).astype(dtype), b.astype(dtype), start.astype(dtype)))
    return _states(method, False, a, b, start) if len(b) else b


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _states(method: str, reverse: bool, a: Array, b: Array, start: Array) -> Array:
    """[T, *B, N]; with `reverse` from the last step to the first."""
    if method == "sequential":

        def step(state, inputs):
            state = _kept(inputs[0], state) + inputs[1]
            return state, state

        return jax.lax.scan(step, start, (a, b), reverse=reverse)[1]

    def compose(first, then):
        return _kept(then[0], first[0]), _kept(then[0], first[1]) + then[1]

    a, b = jax.lax.associative_scan(compose, (a, b), reverse=reverse)
    return _kept(a, start) + b


def _kept(a: Array, state: Array) -> Array:
    """a times a state; where a is 0 nothing of it, whatever it holds."""
    return jnp.where(a == 0, 0, a * state)


def _forward(method, reverse, a, b, start):
    states = _states(method, reverse, a, b, start)
    return states, (a, states, start)


def _backward(method, reverse, kept, d):
    """JAX's cotangents of complex numbers are such that no conjugate is taken: a product's is the other factor's."""
    a, states, start = kept
    zero = zeros_like(start)
    d_b = _states(method, not reverse, _moved(a, zero, not reverse), d, zero)
    first = -1 if reverse else 0
    return d_b * _moved(states, start, reverse), d_b, _kept(a[first], d_b[first])


_states.defvjp(_forward, _backward)


def _moved(x: Array, first: Array, reverse: bool) -> Array:
    """What stood one step before, in the direction of the recurrence; `first` at its first step."""
    return jnp.concatenate([x[1:], first[None]] if reverse else [first[None], x[:-1]])
