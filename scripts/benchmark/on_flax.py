"""flax.nnx.RNN over Flax's cells as a worker: under jax.jit, XLA's own threads on one device."""

from __future__ import annotations

import importlib.metadata

import jax
import jax.numpy as jnp
from flax import nnx
from worker import Job, serve

CELLS = {"LSTM": nnx.OptimizedLSTMCell, "GRU": nnx.GRUCell, "VanillaRNN": nnx.SimpleCell}


def _loss(shape: list[int], cell: str, layers: int, lengths: list[int] | None):
    batch, length, inputs, features = shape
    rngs = nnx.Rngs(0)
    cells = [CELLS[cell](features if layer else inputs, features, rngs=rngs) for layer in range(layers)]
    rnns = nnx.List([nnx.RNN(each, time_major=True, rngs=False) for each in cells])
    graph, weights, rest = nnx.split(rnns, nnx.Param, ...)
    xs = jax.random.normal(jax.random.key(1), (length, batch, inputs))
    there = None if lengths is None else (jnp.arange(length)[:, None] < jnp.array(lengths))[..., None]

    def loss(weights, xs):
        zeros = jnp.zeros((batch, features))
        for rnn in nnx.merge(graph, weights, rest):
            carry = (zeros, zeros) if cell == "LSTM" else zeros
            xs = rnn(xs, initial_carry=carry, seq_lengths=None if lengths is None else jnp.array(lengths))
        return jnp.mean((xs if there is None else jnp.where(there, xs, 0)) ** 2)

    return loss, weights, xs


def forward(shape: list[int], cell: str = "LSTM", layers: int = 1, lengths: list[int] | None = None) -> Job:
    loss, weights, xs = _loss(shape, cell, layers, lengths)
    run = jax.jit(loss)
    return Job(lambda: jax.block_until_ready(run(weights, xs)))


def gradient(shape: list[int], cell: str = "LSTM", layers: int = 1, lengths: list[int] | None = None) -> Job:
    loss, weights, xs = _loss(shape, cell, layers, lengths)
    run = jax.jit(jax.grad(loss))
    return Job(lambda: jax.block_until_ready(run(weights, xs)))


def about() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("flax", "jax", "jaxlib")}


if __name__ == "__main__":
    serve({"forward": forward, "gradient": gradient}, {"about": about})
