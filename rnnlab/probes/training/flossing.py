"""Gradient flossing: push the leading Lyapunov exponents of a network towards 0 before it is trained.

Engelken 2023, Gradient flossing, section 3: where k exponents are 0, k directions of the gradient neither vanish nor
explode. The exponents come from a QR at every step, which reverse-mode differentiation passes through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from rnnlab.probes.dynamics.tangent_frames import initial_carry, push, random_frame
from rnnlab.scan.state_vectors import vector_step


def leading_exponents(cell, xs: Float[Array, "T B D"], k: int) -> Float[Array, "B k"]:
    """The k leading Lyapunov exponents along each sequence, in nats a step, in the order of the frame.

    `rnnlab.probes.dynamics.lyapunov` measures them faster and further; this one has a reverse-mode gradient.
    """
    vector, step = vector_step(lambda carry, x: cell(carry, x)[0], initial_carry(cell, xs))

    def body(state, x):
        vector, frame = state
        vector, frame = push(step, vector, x, frame)
        frame, r = jnp.linalg.qr(frame)
        return (vector, frame), jnp.log(jnp.abs(jnp.diagonal(r, axis1=-2, axis2=-1)))

    _, growth = jax.lax.scan(jax.checkpoint(body), (vector, random_frame(vector, k)), xs)
    return jnp.mean(growth, axis=0)


def flossing_loss(cell, xs: Float[Array, "T B D"], k: int) -> Float[Array, ""]:
    """The sum of the k leading exponents' squares, the mean over the batch (Engelken 2023, section 3)."""
    return jnp.mean(jnp.sum(jnp.square(leading_exponents(cell, xs, k)), axis=-1))


def flosser(
    sample: Callable[[Array], Float[Array, "T B D"]], *, steps: int, k: int, learning_rate: float = 1e-3
) -> Callable[[Any, Array], Any]:
    """(cell, key) -> the cell after `steps` updates of Adam on its flossing loss, each on inputs `sample(key)`."""
    rule = optax.adam(learning_rate)

    def body(state, key):
        cell, optimiser = state
        gradient = jax.grad(flossing_loss)(cell, sample(key), k)
        updates, optimiser = rule.update(gradient, optimiser, cell)
        return (optax.apply_updates(cell, updates), optimiser), None

    return jax.jit(lambda cell, key: jax.lax.scan(body, (cell, rule.init(cell)), jax.random.split(key, steps))[0][0])
