"""What bounds a recurrent step on this machine: jobs whose times give the rates in performance.md's limit.

Each is laid out over the devices as rnnlab's own run of that shape is (batch B a device).
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: a bandwidth is that of one core

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import AxisType, PartitionSpec
from worker import Job

from rnnlab.cells import LSTM
from rnnlab.training.layout import layout

STEPS, PRODUCTS, READS = 200, 8, 200  # how often a job repeats what it measures


def devices_of(shape: list[int]) -> int:
    """Over how many devices rnnlab spreads the batch of an LSTM of this shape."""
    batch, _, inputs, features = shape
    return layout(1, batch, weights=16 * features * (inputs + features + 1)).over_batch


def _on_devices(function, shape: list[int], *arrays) -> Job:
    """`function(w_h, *arrays)` on as many devices at once as rnnlab uses for this shape."""
    parts = devices_of(shape)
    mesh = jax.make_mesh((parts,), ("batch",), axis_types=(AxisType.Auto,), devices=jax.devices()[:parts])
    one, all_of_it = PartitionSpec("batch"), PartitionSpec()
    run = jax.jit(jax.shard_map(function, mesh=mesh, in_specs=all_of_it, out_specs=one, check_vma=False))
    arguments = jax.device_put((_cell(shape).w_h[...], *arrays), jax.NamedSharding(mesh, all_of_it))
    return Job(lambda: jax.block_until_ready(run(*arguments)))


def _cell(shape: list[int]):
    return LSTM(features=shape[3]).build(1, rngs=nnx.Rngs(0))


def _carry(shape: list[int]):
    return (jnp.full((shape[0] // devices_of(shape), shape[3]), 0.5),) * 2


def _fold(z):
    """[B, 4H] to [B, H]; nonlinear, so that XLA has to make all of z."""
    return jnp.clip(functools.reduce(jnp.maximum, jnp.split(z, 4, axis=-1)), -1, 1)


def empty(shape: list[int]) -> Job:
    """STEPS steps of a scan that hand on a carry of the cell's shape and touch every number of it once."""

    def run(w_h):
        return jax.lax.scan(
            lambda carry, _: (jax.tree.map(lambda c: c + w_h[0, 0], carry), None), _carry(shape), None, STEPS
        )[0]

    return _on_devices(run, shape)


def matmul(shape: list[int], blocks: int) -> Job:
    """STEPS steps of h w_h, each needing the one before, w_h in so many column blocks."""

    def run(w_h):
        parts = jnp.split(w_h, blocks, axis=1)
        return jax.lax.scan(
            lambda h, _: (_fold(jnp.concatenate([h @ part for part in parts], axis=-1)), None),
            _carry(shape)[1],
            None,
            STEPS,
        )[0]

    return _on_devices(run, shape)


def pointwise(shape: list[int], backward: bool) -> Job:
    """STEPS steps of the update with no matmul: z is h repeated; with `backward`, its VJP at every step too."""
    cell = _cell(shape)

    def run(w_h):
        def forward(carry, _):
            return cell.update(carry, jnp.tile(carry[1], (1, 4)) + w_h[0, 0])[0], None

        def both(state, _):
            carry, d_carry = state
            (carry, y), pull = jax.vjp(cell.update, carry, jnp.tile(carry[1], (1, 4)) + w_h[0, 0])
            (d_c, d_h), dz = pull((d_carry, y))
            return (carry, (d_c, d_h + _fold(dz))), None

        carry = _carry(shape)
        return jax.lax.scan(*((both, (carry, carry)) if backward else (forward, carry)), None, STEPS)[0]

    return _on_devices(run, shape)


def products(shape: list[int]) -> Job:
    """PRODUCTS matmuls h^T dz over many steps at once: the rate of all that is not sequential."""
    rows = product_rows(shape)
    hs, dzs = (jnp.ones((PRODUCTS, rows, width)) for width in (shape[3], 4 * shape[3]))

    def run(w_h, hs, dzs):
        def body(total, inputs):
            h, dz = inputs
            return total + h.T @ dz, None

        return jax.lax.scan(body, jnp.zeros_like(w_h), (hs, dzs))[0]

    return _on_devices(run, shape, hs, dzs)


def blas(shape: list[int], rows: int, times: int) -> Job:
    """So many products [rows, H] x [H, 4H] by NumPy's BLAS on one core: XLA's own rate is no limit of the machine."""
    width = shape[3]
    x, w = np.ones((rows, width), np.float32), np.ones((width, 4 * width), np.float32)
    out = np.empty((rows, 4 * width), np.float32)

    def run():
        for _ in range(times):
            np.matmul(x, w, out=out)

    return Job(run)


def product_rows(shape: list[int]) -> int:
    return min(1024, shape[1] * shape[0] // devices_of(shape))


def reads(numbers: int) -> Job:
    """READS dot products over an array of so many float32: one core reads it again and again."""
    half = np.ones(max(numbers // 2, 1), np.float32)
    other = np.ones_like(half)

    def run():
        for _ in range(READS):
            half.dot(other)

    return Job(run)


def constants(shape: list[int]) -> dict[str, int]:
    """Devices at work, how often each job repeats what it measures, and the rows of one of its large matmuls."""
    parts = devices_of(shape)
    return {"devices": parts, "steps": STEPS, "products": PRODUCTS, "reads": READS, "rows": product_rows(shape),
            "small rows": max(1, shape[0] // parts)}  # fmt: skip


JOBS = {"empty": empty, "matmul": matmul, "pointwise": pointwise, "products": products, "reads": reads, "blas": blas}
