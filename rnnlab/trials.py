"""Independent trials in one compiled program, laid out as the devices like it. The only file that knows how.

On CPU every core is a host device: trials are spread over them and run one after another within each
(`vmap` over trials is 1.5 to 2 times slower than that on CPU); where there are fewer trials than cores, a
trial's batch is spread too. On one accelerator trials are batched; over several, spread and batched.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

BATCH = "batch"  # the name of the mesh axis over which a trial's batch is spread


def use_every_core() -> str | None:
    """One host device a core on CPU. Before JAX starts its backend; else a word on why it is too late."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        jax.config.update("jax_num_cpu_devices", cores)
    except RuntimeError:
        if jax.default_backend() != "cpu" or jax.device_count() >= cores:
            return None
        return (
            f"JAX had started before rnnlab could give each core a device: {jax.device_count()} of {cores} cores "
            "will work; import rnnlab before the first JAX computation"
        )
    return None


def describe_devices() -> str:
    """The devices in one line, as in `2 x cpu`."""
    device = jax.devices()[0]
    kind = device.platform if device.platform == "cpu" else f"{device.platform} ({device.device_kind})"
    return f"{jax.device_count()} x {kind}"


def layout(trials: int, batch_size: int) -> tuple[int, int]:
    """(devices over trials, devices over each trial's batch) for this many trials.

    As many devices as trials can fill go to trials; what is left splits the batch, where it divides.
    """
    devices = jax.device_count()
    over_trials = max(n for n in range(1, devices + 1) if devices % n == 0 and n <= max(trials, 1))
    over_batch = math.gcd(devices // over_trials, batch_size)
    return over_trials, over_batch


def map_trials(function: Callable[[Any], Any], trials: int, batch_size: int) -> Callable[[PyTree], PyTree]:
    """`function` over the leading axis of a tree [S, ...], compiled as one program.

    Within `function` the batch may be spread over the mesh axis `BATCH`: see `local_batch` and
    `jax.lax.pmean(..., BATCH)`.
    """
    over_trials, over_batch = layout(trials, batch_size)
    devices = jax.devices()[: over_trials * over_batch]
    auto = (AxisType.Auto, AxisType.Auto)
    mesh = jax.make_mesh((over_trials, over_batch), ("trial", BATCH), axis_types=auto, devices=devices)
    spec = PartitionSpec("trial")
    padding = -trials % over_trials

    def local(tree):
        if jax.default_backend() == "cpu":
            return jax.lax.map(function, tree)
        return jax.vmap(function)(tree)

    # What leaves is the same on all devices of the batch axis, which functions see to by pmean; JAX's own
    # check of that (check_vma) does not know custom VJPs.
    spread = jax.shard_map(local, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)

    # Said beforehand, so that the first call, with arrays fresh from the host, compiles what all others use.
    placed = NamedSharding(mesh, spec if not padding else PartitionSpec())

    @functools.partial(jax.jit, in_shardings=placed, out_shardings=placed)
    def run(tree):
        padded = jax.tree.map(lambda x: jnp.concatenate([x, x[-1:].repeat(padding, 0)]) if padding else x, tree)
        return jax.tree.map(lambda x: x[:trials], spread(padded))

    return run


def local_batch(tree: PyTree, axis: int) -> PyTree:
    """This device's part of a batch, along `axis`, within a function that `map_trials` runs."""
    parts = jax.lax.axis_size(BATCH)

    def part(x: Array) -> Array:
        size = x.shape[axis] // parts
        return jax.lax.dynamic_slice_in_dim(x, jax.lax.axis_index(BATCH) * size, size, axis)

    return jax.tree.map(part, tree)


def stack(trees: list[PyTree]) -> PyTree:
    """Trees of one structure as one tree with a leading axis [S, ...]."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def unstack(tree: PyTree, index: int) -> PyTree:
    """The tree of one trial."""
    return jax.tree.map(lambda x: x[index], tree)
