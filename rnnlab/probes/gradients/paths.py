"""Path decomposition: along which paths a gradient crosses time, for any cell that is a projection and an update.

A step takes an adjoint back either through the update at fixed z or through z and w_h, where z has a block of columns
for each gate. With A_t the Jacobian of the first and J_g that of the second through the block of gate g, the gradient
over k steps is the product of A_t + J_i + J_f + ..., which multiplied out is a sum of products, one factor a step:

    full = direct + sum over gates g of (via g - direct) + cross

direct: the product of A alone; via g: products of A and J_g; cross: products with two or more different gates.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.extended_range import LogNorm, normalise
from rnnlab.probes.gradients.reverse_scan import Losses, StepAdjoints, has_paths, reverse_scan
from rnnlab.probes.precision import at_full_precision
from rnnlab.scan.projected import hidden
from rnnlab.scan.segments import norm, sum_dtype
from rnnlab.specs.errors import Undefined

FULL = "full"
DIRECT = "direct"
TRUNCATED = DIRECT
"""The truncated gradient of Hochreiter & Schmidhuber 1997, appendix A.1, is the direct path: an error that leaves a
memory block through a gate or the cell input (any block of z) goes no further back in time; the cell state alone
carries it on, and within its own step it still passes from h_t through o and tanh to c_t."""


class Share(NamedTuple):
    """<path, full> / ||full||^2 as mantissa * 2^exponent, by lag and example: 1 for the full gradient itself."""

    mantissa: Float[Array, "T *B"]
    exponent: Int[Array, "T *B"]

    def value(self) -> Float[np.ndarray, "T *B"]:
        """In float64; infinite where beyond it, NaN where the full gradient is exactly zero."""
        with np.errstate(over="ignore", under="ignore"):
            return np.ldexp(np.asarray(self.mantissa, np.float64), np.asarray(self.exponent))


class Paths(NamedTuple):
    """The gradient of one carry component along each path: `direct`, `via i`, ..., `full`, with norms and shares."""

    norms: dict[str, LogNorm]
    along: dict[str, Share]

    def shares(self) -> dict[str, Float[np.ndarray, "T B"]]:
        """What each part contributes to the full gradient, by lag and example; at every lag the parts sum to 1.

        `direct`, `via g` (via g less direct, for paths through one gate) and `cross`, the rest. A share is the part's
        projection on the full gradient over the latter's norm. It is not a size: parts that work against each other
        have shares below 0 and above 1. NaN where the full gradient is exactly zero.
        """
        direct = self.along[DIRECT].value()
        single = [name for name in self.along if name.startswith("via ") and "+" not in name]
        with np.errstate(invalid="ignore"):
            parts = {DIRECT: direct} | {name: self.along[name].value() - direct for name in single}
            return parts | {"cross": 1 - sum(parts.values())}


@at_full_precision
def gradient_paths(
    model: SequenceModel,
    inputs: Float[Array, "T B D"],
    losses: Losses,
    answers: int = 1,
    via: Sequence[str | Collection[str]] | None = None,
    lengths: Int[Array, " B"] | None = None,
    resets: Bool[Array, "T B"] | None = None,
) -> dict[str, Paths]:
    """The gradient with respect to each component of the top layer's carry, decomposed by path.

    Args:
      model: its top cell has projection and update; layers below are held fixed (no path leads through them).
      inputs: [T, B, D].
      losses: the loss of each example [B] from the outputs at the last `answers` steps.
      answers: N.
      via: gates, or sets of gates, each a path: `("i", ("i", "f"))` gives `via i` and `via i+f`. Left out, every
        gate by itself. A cell without gates has one block, `z`.
      lengths, resets: see `rnnlab.probes.gradients.flow.gradient_flow`.

    Returns:
      By name, as in `layer0/c`, the paths `direct` (TRUNCATED is its other name), those of `via`, and `full`.
      Adjoints are total: at lag 0 all paths agree. Norms are -inf in log10 where no gradient flows; a NaN among
      weights or inputs makes the numbers it reaches NaN.

    Raises:
      Undefined, a TypeError: the top cell has no projection and update, so its direct path is not defined.
      TypeError: it does not state which blocks of z belong to which gate.
      ValueError: a gate that the cell does not have, or `answers` not within 1 to T.
    """
    cell = model.cells[-1]
    owners = block_owners(cell)
    wanted = owners if via is None else via
    sets = [(one,) if isinstance(one, str) else tuple(one) for one in wanted]
    for gate in [gate for gates in sets for gate in gates]:
        _check_gate(cell, gate, owners)
    named = {"via " + "+".join(gates): gates for gates in sets if gates}
    columns = np.repeat(np.array(owners), shape_of_z(cell).shape[1] // len(owners))
    masks = [np.ones(len(columns), bool), *(np.isin(columns, gates) for gates in named.values())]
    masks = np.stack([*masks, np.zeros(len(columns), bool)])
    (found,) = reverse_scan(
        model, inputs, losses, answers, masks, _measure, top_only=True, lengths=lengths, resets=resets
    )

    order = {DIRECT: len(masks) - 1} | {name: number for number, name in enumerate(named, 1)} | {FULL: 0}
    parts = jax.tree.leaves(found, is_leaf=lambda leaf: isinstance(leaf, Paths))
    return {
        name: Paths(*({path: _pick(numbers, at) for path, at in order.items()} for numbers in part))
        for name, part in zip(jax.tree.leaves(model.names()[-1]), parts, strict=True)
    }


def block_owners(cell) -> tuple[str, ...]:
    """The gate that each of z's equal blocks of columns belongs to.

    That is `cell.blocks`; where the cell states none, its gates in order or all `z`, H columns each.
    """
    kind = type(cell).__name__
    if not has_paths(cell):
        raise Undefined(
            f"{kind} has no projection and update to take apart: rnnlab.probes.gradients.flow has its full gradient"
        )
    z = shape_of_z(cell)
    width = z.shape[1]
    if stated := getattr(cell, "blocks", ()):
        if width % len(stated):
            raise TypeError(f"{kind}: z is {width} wide, which {len(stated)} equal `blocks` are not")
        return stated
    count, rest = divmod(width, cell.features)
    owners = (_names(cell.gates, z) if hasattr(cell, "gates") else ()) or ("z",) * count
    if rest or len(owners) != count:
        raise TypeError(f"{kind}: z is {width} wide for {len(owners)} blocks of H = {cell.features}: set `blocks`")
    return owners


def shape_of_z(cell) -> jax.ShapeDtypeStruct:
    """[1, Z], that of one sequence at one step."""
    if hasattr(cell, "projection"):
        b = jax.eval_shape(lambda: cell.projection()[2])
        return jax.ShapeDtypeStruct((1, *b.shape), b.dtype)
    h = jax.eval_shape(lambda: hidden(cell.initialize_carry((1, cell.in_features))))
    return jax.eval_shape(cell.project, h, jax.ShapeDtypeStruct((1, cell.in_features), h.dtype))


def _names(gates, z) -> tuple[str, ...]:
    """The keys of what `gates` returns, in its own order: a tree would return them sorted."""
    names: list[str] = []

    def keys(z):
        names.extend(gates(z))

    jax.eval_shape(keys, z)
    return tuple(names)


def _check_gate(cell, gate: str, owners: tuple[str, ...]) -> None:
    if gate in owners:
        return
    kind, has = type(cell).__name__, ", ".join(dict.fromkeys(owners))
    if set(owners) == {"z"}:
        raise ValueError(f"via {gate!r}: {kind} has no gates; its paths are direct, full and via z, which is full")
    near = difflib.get_close_matches(gate, owners, n=1, cutoff=0)
    raise ValueError(f"via {gate!r}: {kind} has {has}; nearest is {near[0]!r}")


def _pick(arrays, path: int):
    return jax.tree.map(lambda a: a[:, path], arrays)


def _measure(adjoints: StepAdjoints):
    return jax.tree.map(lambda d: _by_path(d, adjoints.exponent), adjoints.total)


def _by_path(d: Float[Array, "n P B H"], exponent: Int[Array, "n P B"]) -> Paths:
    """Each path's norm, and its projection on the first, which is the full gradient."""
    d, exponent = normalise(d.astype(sum_dtype(d)), exponent)
    full = d[:, :1]
    share = jnp.sum(d * full, axis=-1) / jnp.sum(full * full, axis=-1)
    return Paths(LogNorm(norm(d), exponent), Share(share, exponent - exponent[:, :1]))


def mean_shares(
    model: SequenceModel, inputs: Float[Array, "T B D"], losses: Losses, answers: int = 1, lags: int = 120
) -> dict[str, Array]:
    """What each path adds to dL/dc of the top layer, the mean over examples, at about so many lags spread by ratio.

    The parts of `Paths.shares` and "lag", in a form that runs under jit: direct, `via g` for each gate g, and cross.
    Raises Undefined for a cell without c, or without the split that paths are made of.
    """
    kept = np.unique(np.geomspace(1, len(inputs), lags).round().astype(int)) - 1
    c, names = f"layer{len(model.cells) - 1}/c", jax.tree.leaves(model.names()[-1])
    if c not in names:
        raise Undefined(f"{type(model.cells[-1]).__name__} has no c: its carry is {', '.join(names)}")
    found = gradient_paths(model, inputs, losses, answers)[c].along
    values = {name: jnp.ldexp(s.mantissa, s.exponent)[kept] for name, s in found.items()}
    parts = {DIRECT: values[DIRECT]} | {n: v - values[DIRECT] for n, v in values.items() if n.startswith("via ")}
    parts["cross"] = 1 - sum(parts.values())
    return {name: jnp.nanmean(part, axis=1) for name, part in parts.items()} | {"lag": jnp.asarray(kept)}
