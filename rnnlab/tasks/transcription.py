"""What tasks have in common whose answer is a transcript: connectionist temporal classification (CTC)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from rnnlab.tasks.base import Batch

BLANK = 0  # the class that says nothing


def present(batch: Batch) -> Bool[Array, "T B"]:
    """Which steps are there."""
    return jnp.arange(len(batch.inputs))[:, None] < batch.lengths


def ctc_losses(
    outputs: Float[Array, "T B K"], lengths: Int[Array, " B"], labels: Int[Array, "L B"]
) -> Float[Array, " B"]:
    """-log of the probability of each transcript, summed over all its alignments; Graves et al. 2006, section 4.1.

    Labels are from 1, 0 behind their end. A transcript that is longer than its recording allows (a step a label, and
    one between equal ones) has a finite loss of 1e5 and more.
    """
    outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
    absent = (jnp.arange(len(outputs))[:, None] >= lengths).astype(outputs.dtype)
    padding = (labels == BLANK).astype(outputs.dtype)
    return optax.ctc_loss(outputs.swapaxes(0, 1), absent.T, labels.T, padding.T, blank_id=BLANK)


def best_path(outputs: Float[Array, "T B K"], lengths: Int[Array, " B"]) -> Int[Array, "T B"]:
    """The transcript of the most likely path: its labels, then 0. Graves et al. 2006, section 3.2."""
    path, place = _said(outputs, lengths)
    return jnp.zeros_like(path).at[place, jnp.arange(path.shape[1])].set(path, mode="drop")


def begins(outputs: Float[Array, "T B K"], lengths: Int[Array, " B"]) -> Int[Array, "T B"]:
    """The step at which each token of the best path begins, from 0; 0 behind the last one."""
    path, place = _said(outputs, lengths)
    steps = jnp.broadcast_to(jnp.arange(len(path), dtype=jnp.int32)[:, None], path.shape)
    return jnp.zeros_like(steps).at[place, jnp.arange(path.shape[1])].set(steps, mode="drop")


def _said(outputs, lengths) -> tuple[Int[Array, "T B"], Int[Array, "T B"]]:
    """The most likely path, and the place in the transcript of the token that begins at each step."""
    steps = jnp.arange(len(outputs))[:, None]
    path = jnp.where(steps < lengths, jnp.argmax(outputs, axis=-1), BLANK).astype(jnp.int32)
    before = jnp.concatenate([jnp.zeros_like(path[:1]), path[:-1]])
    says = (path != BLANK) & (path != before)
    return path, jnp.where(says, jnp.cumsum(says, axis=0) - 1, len(outputs))  # what says nothing goes behind the end


def exactly_right(outputs: Float[Array, "T B K"], batch: Batch) -> Float[Array, " B"]:
    """1 where the transcript of the best path is that of the batch."""
    said = best_path(outputs, batch.lengths)
    return jnp.all(said == batch.targets, axis=0).astype(outputs.dtype)


def edit_distance(one: Int[Array, "L B"], two: Int[Array, "M B"]) -> Int[Array, " B"]:
    """Insertions, deletions and substitutions that make one of the other, at least; 0 behind the end of each."""
    length_one, length_two = jnp.sum(one != BLANK, axis=0), jnp.sum(two != BLANK, axis=0)
    places = jnp.arange(len(two) + 1)[:, None] + jnp.zeros_like(length_one)

    def row(above, of):
        label, number = of
        change = above[:-1] + (label != two)
        best = jnp.minimum(above[1:] + 1, change)

        def insert(left, at):
            here = jnp.minimum(at, left + 1)
            return here, here

        _, rest = jax.lax.scan(insert, jnp.full_like(length_one, number + 1), best)
        new = jnp.concatenate([jnp.full_like(above[:1], number + 1), rest])
        new = jnp.where(label != BLANK, new, above)
        return new, None

    table, _ = jax.lax.scan(row, places, (one, jnp.arange(len(one), dtype=places.dtype)))
    return jnp.where(length_one == 0, length_two, jnp.take_along_axis(table, length_two[None], axis=0)[0])
