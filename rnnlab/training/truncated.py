"""Truncated back-propagation through time: an update for each window of a sequence, the carry handed on.

Williams & Peng 1990, An efficient gradient-based algorithm for on-line training of recurrent network trajectories,
section 3: no adjoint crosses from a window to the one before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rnnlab.tasks.base import Batch, Task


def check_truncation(task: Task, truncation: int | None, others: Mapping[str, Any]) -> None:
    """Raises ValueError where a sequence of this task cannot be trained in windows of so many steps."""
    if truncation is None:
        return
    path, name, length = f"train.truncation={truncation}", type(task).__name__, task.length
    if task.answers != length:
        raise ValueError(f"{path}: {name} answers at {task.answers} of its {length} steps; windows need one at each")
    if length % truncation:
        nearest = min((k for k in range(1, length + 1) if length % k == 0), key=lambda k: abs(k - truncation))
        raise ValueError(f"{path}: windows divide the length T = {length}; the nearest that does is {nearest}")
    if wrong := [other for other, given in others.items() if given]:
        raise ValueError(f"{path}: not with {wrong[0]}={others[wrong[0]]}")


def window_of(task: Task, batch: Batch, truncation: int, number: Array) -> Batch:
    """The steps of one window of a batch, its lengths counted from the window's first step."""
    first = number * truncation

    def cut(part: Array) -> Array:
        if part.ndim < 2 or len(part) != task.length:
            return part
        return jax.lax.dynamic_slice_in_dim(part, first, truncation)

    found = jax.tree.map(cut, batch)
    lengths = getattr(batch, "lengths", None)
    return found if lengths is None else found._replace(lengths=jnp.clip(lengths - first, 0, truncation))


def begin(carry: PyTree, fresh: PyTree, number: Array) -> PyTree:
    """The carry that comes into a window: that of the window before it, or a fresh one into the first."""
    return jax.tree.map(lambda old, new: jnp.where(number == 0, new, old), carry, fresh)


def window_loss(
    losses: Float[Array, " B"], batch: Batch, over_devices: Callable[[Array], Array]
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """The mean over the sequences that have an answer in this window, and which part of the batch they are, `there`.

    `over_devices` gives the mean over the parts of a batch that is spread over devices.
    """
    lengths, mask = (getattr(batch, name, None) for name in ("lengths", "mask"))
    if lengths is None and mask is None:
        return jnp.mean(losses), {}
    there = jnp.ones(losses.shape, bool) if lengths is None else lengths > 0
    there = there if mask is None else there & mask.any(axis=0)
    part = over_devices(jnp.mean(there.astype(losses.dtype)))
    return jnp.mean(jnp.where(there, losses, 0)) / jnp.where(part > 0, part, 1), {"there": part}
