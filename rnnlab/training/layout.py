"""Independent trials in one compiled program, laid out as the devices like it. The only file that knows how.

On CPU every core is a host device: trials are spread over them and run one after another on each
(`vmap` over trials is 1.5 to 2 times slower than that on CPU); where there are fewer trials than cores, a
trial's batch is spread too, unless it is too small for its weights: then XLA's threads share each product instead.
On one accelerator trials are batched; over several, spread and batched.
A program runs a fixed number of trials at a time; its caller replaces each that has ended by the next one.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from rnnlab.scan.processor import compiler_options, cores
from rnnlab.scan.product import WIDE

BATCH = "batch"  # the name of the mesh axis over which a trial's batch is spread
BATCHED = 64  # trials at a time on an accelerator
FEWEST = 8  # sequences of a batch that a core gets at least, where a layer's weights have WIDE bytes: docs/measured.md
DEVICES_FLAG = "xla_force_host_platform_device_count"
KINDS = ("auto", "mapped", "batched", "sequential")


def use_every_core() -> str | None:
    """Gives every core a host device on CPU, before JAX starts its backend; returns a warning where it is too late.

    A number that the user has set stays: JAX_NUM_CPU_DEVICES, or XLA's flag for it.
    """
    if jax.config.jax_num_cpu_devices >= 0 or DEVICES_FLAG in os.environ.get("XLA_FLAGS", ""):
        return None
    wanted = cores()
    try:
        jax.config.update("jax_num_cpu_devices", wanted)
    except RuntimeError:
        if jax.default_backend() != "cpu" or jax.device_count() >= wanted:
            return None
        return (
            f"JAX had started before rnnlab could give each core a device: {jax.device_count()} of {wanted} cores "
            "will work; import rnnlab before the first JAX computation"
        )
    return None


def describe_devices() -> str:
    """The devices in one line, as in `2 x cpu`."""
    device = jax.devices()[0]
    kind = device.platform if device.platform == "cpu" else f"{device.platform} ({device.device_kind})"
    hosts = f" on {jax.process_count()} hosts" if jax.process_count() > 1 else ""
    return f"{jax.device_count()} x {kind}{hosts}"


class Layout(NamedTuple):
    """How trials that share a program lie on the devices."""

    over_trials: int  # devices over which trials are spread
    each: int  # trials that one device holds
    inner: str  # how it runs those: "mapped" (one after another) or "batched"
    over_batch: int  # devices over which each trial's batch is spread

    @property
    def trials_at_once(self) -> int:
        """S, the leading axis of what the program takes and returns."""
        return self.over_trials * self.each

    def whole_batches(self) -> Layout:
        """The same trials with no batch spread: for a function with a batch of its own, such as a probe."""
        return self._replace(over_batch=1)


def layout(trials: int, batch_size: int, kind: str = "auto", weights: int = 0) -> Layout:
    """How this many trials of one program lie on the devices; `weights` are the bytes of its largest layer's.

    auto: mapped on CPU, batched on accelerators. mapped: one trial a device, and the next one when it has ended; where
    there are fewer trials than devices, the others share the batch, if it divides and each gets FEWEST sequences where
    weights are WIDE. batched: up to BATCHED trials at once on each device. sequential: one trial at a time, its batch
    over all devices.
    A trial's results may depend on its layout in the last bits, so the layout depends on all trials of a program, not
    on those that are still to be run or that one of several machines runs.
    """
    devices = jax.device_count()
    if kind == "auto":
        kind = "mapped" if jax.default_backend() == "cpu" else "batched"
    fill = max(n for n in range(1, devices + 1) if devices % n == 0 and n <= max(trials, 1))
    over_trials = 1 if kind == "sequential" else fill
    over_batch = math.gcd(devices // over_trials, batch_size)
    if weights >= WIDE and jax.default_backend() == "cpu" and jax.process_count() == 1:
        over_batch = max(
            n for n in range(1, over_batch + 1) if over_batch % n == 0 and n <= max(1, batch_size // FEWEST)
        )
    if kind == "batched":
        return Layout(over_trials, min(math.ceil(trials / over_trials), BATCHED), "batched", over_batch)
    return Layout(over_trials, 1, "mapped", over_batch)


def map_trials(function: Callable[[Any], Any], where: Layout) -> Callable[[PyTree], PyTree]:
    """`function` over the leading axis of a tree [S, ...], compiled as one program; not to be called in another one.

    Within `function` the batch may be spread over devices: see `local_batch` and `mean_over_devices`.
    """
    inner = jax.vmap(function) if where.inner == "batched" else functools.partial(jax.lax.map, function)
    return _compiled(inner, where, PartitionSpec("trial"))


def map_trials_on(function: Callable[[Any, Any], Any], where: Layout) -> Callable[[PyTree, PyTree], PyTree]:
    """`map_trials` of a function(data, trial) of which `data` is the same for all trials: see `on_every_device`."""

    def inner(data, trials):
        if where.inner == "batched":
            return jax.vmap(function, in_axes=(None, 0))(data, trials)
        return jax.lax.map(functools.partial(function, data), trials)

    return _compiled(inner, where, (PartitionSpec(), PartitionSpec("trial")))


def on_every_device(tree: PyTree, where: Layout) -> PyTree:
    """A tree as the first argument of what `map_trials_on` gives, so that no call moves it again."""
    return jax.device_put(tree, NamedSharding(_mesh(where), PartitionSpec()))


def _mesh(where: Layout) -> Mesh:
    wanted = where.over_trials * where.over_batch
    every = jax.devices()
    devices = every if wanted == len(every) else jax.local_devices()[:wanted]  # each host by itself, all the same
    auto = (AxisType.Auto, AxisType.Auto)
    return jax.make_mesh((where.over_trials, where.over_batch), ("trial", BATCH), axis_types=auto, devices=devices)


def _compiled(inner, where, inputs):
    mesh, spec = _mesh(where), PartitionSpec("trial")

    # Outputs are the same on all devices of the batch axis, which functions ensure by pmean; JAX's own
    # check of that (check_vma) does not know custom VJPs.
    spread = jax.shard_map(inner, mesh=mesh, in_specs=inputs, out_specs=spec, check_vma=False)

    # Set beforehand, so that the first call, with arrays fresh from the host, compiles what all others use.
    placed = jax.tree.map(
        functools.partial(NamedSharding, mesh), inputs, is_leaf=lambda x: isinstance(x, PartitionSpec)
    )
    return jax.jit(
        spread, in_shardings=placed, out_shardings=NamedSharding(mesh, spec), compiler_options=compiler_options()
    )


def batch_parts() -> int:
    """Over how many devices the batch is spread where this is traced: 1 outside `map_trials`."""
    try:
        return jax.lax.axis_size(BATCH)
    except NameError:  # JAX's, of an axis that is not bound
        return 1


def batch_part() -> Array | int:
    """Which of those parts this is."""
    try:
        return jax.lax.axis_index(BATCH)
    except NameError:
        return 0


def mean_over_devices(tree: PyTree) -> PyTree:
    """The mean over the parts of a batch that is spread over devices; the tree itself outside `map_trials`."""
    try:
        return jax.lax.pmean(tree, BATCH)
    except NameError:
        return tree


def local_batch(tree: PyTree, axis: int) -> PyTree:
    """This device's part of a batch, along `axis` (of a vector its one); all of it outside `map_trials`."""
    parts, wanted = batch_parts(), axis
    if parts == 1:
        return tree

    def part(x: Array) -> Array:
        axis = min(wanted, x.ndim - 1)
        size = x.shape[axis] // parts
        return jax.lax.dynamic_slice_in_dim(x, batch_part() * size, size, axis)

    return jax.tree.map(part, tree)


def whole_batch(tree: PyTree) -> PyTree:
    """The whole batch, along the first axis, of which `local_batch` gives a part."""
    return tree if batch_parts() == 1 else jax.lax.all_gather(tree, BATCH, axis=0, tiled=True)


def stack(trees: list[PyTree]) -> PyTree:
    """Trees of one structure as one tree with a leading axis [S, ...]."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def unstack(tree: PyTree, index: int) -> PyTree:
    """The tree of one trial."""
    return jax.tree.map(lambda x: x[index], tree)


def replace(tree: PyTree, parts: Mapping[int, PyTree]) -> PyTree:
    """A stacked tree with the parts {index: tree} of some trials replaced; the same tree where there are none."""
    if not parts:
        return tree

    def put(whole, *leaves):
        whole = np.array(whole)
        for index, leaf in zip(parts, leaves, strict=True):
            whole[index] = leaf
        return whole

    return jax.tree.map(put, tree, *parts.values())
