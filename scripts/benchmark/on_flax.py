"""flax.nnx.RNN over Flax's OptimizedLSTMCell as a worker: under jax.jit, XLA's own threads on one device."""

from __future__ import annotations

import importlib.metadata

import jax
import jax.numpy as jnp
from flax import nnx
from worker import Job, serve


def _loss(shape: list[int]):
    batch, length, inputs, features = shape
    cell = nnx.OptimizedLSTMCell(inputs, features, rngs=nnx.Rngs(0))
    graph, weights, rest = nnx.split(nnx.RNN(cell, time_major=True, rngs=False), nnx.Param, ...)
    xs = jax.random.normal(jax.random.key(1), (length, batch, inputs))

    def loss(weights, xs):
        carry = (jnp.zeros((batch, features)), jnp.zeros((batch, features)))
        return jnp.mean(nnx.merge(graph, weights, rest)(xs, initial_carry=carry) ** 2)

    return loss, weights, xs


def forward(shape: list[int]) -> Job:
    loss, weights, xs = _loss(shape)
    run = jax.jit(loss)
    return Job(lambda: jax.block_until_ready(run(weights, xs)))


def gradient(shape: list[int]) -> Job:
    loss, weights, xs = _loss(shape)
    run = jax.jit(jax.grad(loss))
    return Job(lambda: jax.block_until_ready(run(weights, xs)))


def about() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("flax", "jax", "jaxlib")}


if __name__ == "__main__":
    serve({"forward": forward, "gradient": gradient}, {"about": about})
