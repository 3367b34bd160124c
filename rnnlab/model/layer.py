"""One layer over time: its outputs at the last steps, and everything within it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from rnnlab.scan.presence import Presence
from rnnlab.scan.projected import hidden
from rnnlab.scan.unroll import unroll


def at_the_end(
    cell: Any,
    carry: PyTree,
    xs: Float[Array, "T B D"],
    answers: int,
    *,
    taps: PyTree | None = None,
    lengths: Int[Array, " B"] | None = None,
    resets: Bool[Array, "T B"] | None = None,
    segment: int | None = None,
) -> tuple[PyTree, Float[Array, "N B H"]]:
    """`unroll`'s last carry, and its outputs at the last `answers` steps, of which no others are kept if possible."""
    silent = len(xs) - answers
    if silent == len(xs) - 1 and getattr(cell, "h_carries_gradient", False):  # the last carry holds the one answer
        carry, _ = unroll(cell, carry, xs, taps=taps, segment=segment, lengths=lengths, resets=resets)
        return carry, hidden(carry)[None]
    if silent and lengths is None and resets is None:
        early, taps = jax.tree.map(lambda t: t[:silent], taps), jax.tree.map(lambda t: t[silent:], taps)
        carry, _ = unroll(cell, carry, xs[:silent], taps=early, segment=segment)
        return unroll(cell, carry, xs[silent:], taps=taps, segment=segment)
    carry, ys = unroll(cell, carry, xs, taps=taps, segment=segment, lengths=lengths, resets=resets)
    return carry, last_steps(ys, lengths, answers)


def last_steps(ys: Float[Array, "T B H"], lengths: Int[Array, " B"] | None, answers: int) -> Float[Array, "N B H"]:
    """Of each sequence its own last `answers` steps; T of them are all, and stay where they are."""
    if lengths is None or answers == len(ys):
        return ys[-answers:]
    steps = jnp.maximum(lengths - answers + jnp.arange(answers)[:, None], 0)
    return jnp.take_along_axis(ys, steps[..., None], axis=0)


def both_ends(
    ys: Float[Array, "T B H"], lengths: Int[Array, " B"] | None, resets: Bool[Array, "T B"] | None, answers: int
) -> Float[Array, "N B H"]:
    """Of two directions side by side the last `answers` steps; of one answer what each direction has read last: the
    second at the first step of the row's last sequence.
    """
    if answers > 1:
        return last_steps(ys, lengths, answers)
    forward, backward = jnp.split(ys, 2, axis=-1)
    if resets is None:
        first = backward[:1]
    else:
        steps = jnp.arange(len(ys))[:, None]
        there = True if lengths is None else steps < lengths
        begins = jnp.max(jnp.where(resets & there, steps, 0), axis=0)
        first = jnp.take_along_axis(backward, begins[None, :, None], axis=0)
    return jnp.concatenate([last_steps(forward, lengths, 1), first], axis=-1)


def has_answers(lengths: Int[Array, " B"], answers: int, length: int) -> Bool[Array, "N B"]:
    """Whether a sequence has each of the steps that `last_steps` gives of T = `length`."""
    steps = jnp.arange(answers)[:, None]
    return steps < lengths if answers == length else lengths - answers + steps >= 0


def traced(
    cell: Any, carry: PyTree, xs: Float[Array, "T B D"], when: Presence, named: PyTree, prefix: str
) -> tuple[Float[Array, "T B H"], dict[str, Float[Array, "T B _"]]]:
    """A cell's outputs, and by name each component of its carry and each gate over time."""
    start = carry

    def step(carry, inputs):
        x, now = inputs
        carry = now.begin(carry, start)
        gates = internals(cell, carry, cell.project(hidden(carry), x)) if hasattr(cell, "gates") else {}
        new, y = cell(carry, x)
        new = now.keep(new, carry)
        return new, (now.only_present(y), new, now.only_present(gates))

    _, (ys, carries, gates) = jax.lax.scan(step, carry, (xs, when))
    found = dict(zip(jax.tree.leaves(named), jax.tree.leaves(carries), strict=True))
    return ys, found | {f"{prefix}/{name}": gate for name, gate in gates.items()}


def internals(cell: Any, carry: PyTree, z: Float[Array, "*B Z"]) -> dict[str, Float[Array, "*B _"]]:
    """Gates and other internals of a step, by name, of a cell that has `gates`: with those that read the carry too."""
    return cell.internals(carry, z) if hasattr(cell, "internals") else cell.gates(z)
