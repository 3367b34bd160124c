"""Linear recurrences as jobs: step by step or parallel in time, alone and within a cell."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from worker import Job

from rnnlab.cells import LRU, MinGRU
from rnnlab.scan.linear import linear_scan
from rnnlab.scan.presence import Presence
from rnnlab.scan.projected import unroll_projected
from rnnlab.scan.unroll import choose_segment
from rnnlab.scan.unroll_linear import unroll_linear

CELLS = {"MinGRU": MinGRU, "LRU": LRU}


def recurrence(length: int, width: int, numbers: str, method: str, gradient: bool) -> Job:
    """One `linear_scan` of `width` states on one device, or the gradient of their sum of squares by all it reads."""
    dtype = {"real": jnp.float32, "complex": jnp.complex64}[numbers]
    keys = jax.random.split(jax.random.key(0), 3)
    a = jax.random.uniform(keys[0], (length, width), minval=0.9, maxval=1.0).astype(dtype)
    b = jax.random.normal(keys[1], (length, width), dtype)
    start = jax.random.normal(keys[2], (width,), dtype)
    states = functools.partial(linear_scan, method=method)
    if gradient:
        run = jax.jit(jax.grad(lambda *arrays: jnp.sum(jnp.abs(states(*arrays)) ** 2), argnums=(0, 1, 2)))
    else:
        run = jax.jit(states)
    return Job(lambda: jax.block_until_ready(run(a, b, start)))


def cell(shape: list[int], cell: str, how: str) -> Job:
    """The gradient of a cell's weights, on one device: by `jax.lax.scan`, step by step in the engine, or at once."""
    batch, length, inputs, features = shape
    module = CELLS[cell](features=features).build(inputs, rngs=nnx.Rngs(0))
    xs = jax.random.normal(jax.random.key(1), (length, batch, inputs))
    at_once = {name: functools.partial(unroll_linear, method=name) for name in ("sequential", "associative")}
    run = ({"lax.scan": jax.lax.scan, "by step": _by_step} | at_once)[how]
    gradient = jax.jit(jax.grad(lambda cell: jnp.mean(run(cell, cell.initialize_carry(xs.shape[1:]), xs)[1] ** 2)))
    return Job(lambda: jax.block_until_ready(gradient(module)))


def _by_step(cell, carry, xs):
    """As a cell of which no linear recurrence is known."""
    return unroll_projected(cell, carry, xs, None, choose_segment(len(xs), carry.shape), Presence(), None)


JOBS = {"recurrence": recurrence, "linear cell": cell}
