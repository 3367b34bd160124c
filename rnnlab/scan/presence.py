"""Which steps of which sequences there are: sequences of unequal length, and streams whose carry begins anew."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

from rnnlab.scan.segments import zeros_like


class Presence(NamedTuple):
    """Booleans by step and sequence, [T, *B], or [*B] of one step; None where all are as usual."""

    present: Bool[Array, "..."] | None = None  # False: there is no such step; the carry stays and y is 0
    resets: Bool[Array, "..."] | None = None  # True: the carry begins anew before this step

    def begin(self, before: PyTree, start: PyTree) -> PyTree:
        """The carry that comes into a step: the one before it, or `start` where it begins anew."""
        return before if self.resets is None else select(self.resets, start, before)

    def keep(self, new: PyTree, other: PyTree) -> PyTree:
        """`new` where the step is present, else `other`."""
        return new if self.present is None else select(self.present, new, other)

    def only_present(self, tree: PyTree) -> PyTree:
        """The tree, with zeros where the step is absent."""
        return tree if self.present is None else select(self.present, tree, zeros_like(tree))


def presence(lengths: Int[Array, "*B"] | None, resets: Bool[Array, "T *B"] | None, length: int) -> Presence:
    """Of sequences of which the first `lengths` steps of T = `length` are there."""
    if lengths is None:
        return Presence(None, resets)
    steps = jnp.arange(length).reshape(-1, *[1] * lengths.ndim)
    present = steps < lengths
    return Presence(present, None if resets is None else resets & present)  # before a step that is not there: nothing


def select(chosen: Bool[Array, "*B"], one: PyTree, other: PyTree) -> PyTree:
    """Of two trees of arrays [*B, ...] the first where chosen, else the second."""

    def pick(a, b):
        return jnp.where(chosen.reshape(*chosen.shape, *[1] * (a.ndim - chosen.ndim)), a, b)

    return jax.tree.map(pick, one, other)


def align_ends(xs: PyTree, lengths: Int[Array, " B"]) -> PyTree:
    """Sequences [T, B, ...] moved to the end of time: each one's last step becomes step T-1."""
    return _moved(xs, lambda length: length - lengths)


def align_starts(xs: PyTree, lengths: Int[Array, " B"]) -> PyTree:
    """The inverse of `align_ends`."""
    return _moved(xs, lambda length: lengths - length)


def reverse(xs: PyTree, lengths: Int[Array, " B"] | None) -> PyTree:
    """Each sequence [T, B, ...] backwards within its own length; what is behind its end stays there."""
    if lengths is None:
        return jax.tree.map(lambda x: x[::-1], xs)
    return _taken(xs, lambda steps: jnp.where(steps < lengths, lengths - 1 - steps, steps))


def _moved(xs, by):
    length = jax.tree.leaves(xs)[0].shape[0]
    return _taken(xs, lambda steps: (steps - by(length)) % length)


def _taken(xs, index):
    def take(x):
        steps = index(jnp.arange(len(x))[:, None])
        return jnp.take_along_axis(x, steps.reshape(*steps.shape, *[1] * (x.ndim - 2)), axis=0)

    return jax.tree.map(take, xs)
