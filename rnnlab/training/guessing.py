"""Random weight guessing: whether a task needs learning at all (Schmidhuber & Hochreiter 1996)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rnnlab.model import SequenceModel
from rnnlab.tasks.base import Batch, Task, steps_of

RANGE = 100.0  # all weights are drawn from U[-RANGE, RANGE], as there


class Guesses(NamedTuple):
    """The result of each network with guessed weights."""

    solved: Bool[Array, " N"]  # by the task's own rule, on these sequences
    accuracy: Float[Array, " N"]


def guess(model: SequenceModel, task: Task, batch: Batch, key: Array, guesses: int) -> Guesses:
    """Networks like this one with all their weights drawn anew, on one batch.

    Args:
      model: only its shapes count.
      task: its stop rule decides what is solved.
      batch: inputs [T, B, D], targets, and what else belongs to it.
      key: of the guesses.
      guesses: N.
    """
    leaves, treedef = jax.tree.flatten(model)

    def one(key: Array) -> Guesses:
        keys = jax.random.split(key, len(leaves))
        drawn = [
            jax.random.uniform(k, leaf.shape, leaf.dtype, -RANGE, RANGE) for k, leaf in zip(keys, leaves, strict=True)
        ]
        found = task.metrics(treedef.unflatten(drawn)(batch.inputs, answers=task.answers, **steps_of(batch)), batch)
        return Guesses(jnp.asarray(task.solved(found)), jnp.asarray(found["accuracy"]))

    return jax.lax.map(one, jax.random.split(key, guesses))
