"""Noise that regularises a recurrent network in training."""

from __future__ import annotations

from typing import Any

import chz
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PyTree

from rnnlab.scan.projected import hidden
from rnnlab.scan.unroll import unroll
from rnnlab.specs.errors import UserError
from rnnlab.specs.fields import field

MOST = 0.99


@chz.chz
class Dropout:
    """Rates of what is dropped in training; all 0: no noise. Without a key a model is deterministic."""

    between: float = field(
        0.0, "of what a layer or the readout reads from the layer below, anew each step", low=0, high=MOST
    )
    variational: float = field(0.0, "of what each layer reads, the same units at all steps", low=0, high=MOST)
    recurrent: float = field(0.0, "of h where it enters z, the same units at all steps", low=0, high=MOST)
    zoneout_c: float = field(0.0, "units of c, and of all else but h, that keep their value", low=0, high=MOST)
    zoneout_h: float = field(0.0, "units of h that keep their value at a step", low=0, high=MOST)

    def any(self) -> bool:
        """Whether there is any noise."""
        return self != Dropout()


# between: Zaremba, Sutskever & Vinyals 2014, section 3. variational and recurrent: Gal & Ghahramani 2016, section 4.
# zoneout: Krueger et al. 2017, section 3.


def drop(x: Float[Array, "..."], rate: float, key: Array, steps: int | None = None) -> Float[Array, "..."]:
    """x with this part of its entries zero and the others scaled up, so that the mean stays.

    `steps`: 1 draws the same entries for all steps of x [T, ...]; left out, each step's own.
    """
    if not rate:
        return x
    kept = jax.random.bernoulli(key, 1 - rate, (steps or len(x), *x.shape[1:]))
    return jnp.where(kept, x / (1 - rate), 0)


def check_noise(dropout: Dropout, cell: Any, name: str) -> None:
    """Raises UserError where noise of some kind does nothing to a cell of this name, or cannot be."""
    for rate in ("recurrent", "zoneout_c", "zoneout_h"):
        if (given := getattr(dropout, rate)) and (why := _unfit(cell, rate)):
            raise UserError(f"dropout.{rate}={given}: {name} {why}")


def _unfit(cell: Any, rate: str) -> str | None:
    if not (hasattr(cell, "project") and getattr(cell, "h_carries_gradient", False)):
        return "is not a projection and an update whose y is h"
    if rate == "recurrent":
        return None if getattr(cell, "w_h", cell) is not None else "has no w_h: its z does not read h"
    if not cell.carry_may_mix:
        return "has a carry of which no mean of two is one"
    return None if rate == "zoneout_h" or len(cell.carry_names) > 1 else "has h alone: write dropout.zoneout_h"


class ZoneoutCell(nnx.Module):
    """A cell of whose carry some units keep their value at each step; in evaluation all keep a part of it.

    carry_t = zoneout carry_{t-1} + (1 - zoneout) cell's carry_t: Krueger et al. 2017, section 3.2. What keeps a value
    is a part of the direct path, at fixed z.
    """

    def __init__(self, cell: Any, dropout: Dropout):
        self.cell = cell
        self.features, self.in_features = cell.features, cell.in_features
        self.carry_names, self.blocks, self.h_carries_gradient = cell.carry_names, cell.blocks, True
        self.rates = (*[dropout.zoneout_c] * (len(cell.carry_names) - 1), dropout.zoneout_h)

    @property
    def projection(self):
        """The cell's own; absent where it has none."""
        return self.cell.projection

    def project(self, h, x):
        return self.cell.project(h, x)

    def gates(self, z):
        return self.cell.gates(z)

    def internals(self, carry, z):
        return self.cell.internals(carry, z)

    def initialize_carry(self, input_shape, rngs=None, carry_init=None):
        return self.cell.initialize_carry(input_shape, rngs, carry_init)

    def update(self, carry: PyTree, z: Float[Array, "*B Z"], kept: PyTree | None = None):
        """`kept`: in training, booleans like the leaves of carry, true for units that keep their value."""
        new, treedef = jax.tree.flatten(self.cell.update(carry, z)[0])
        old = jax.tree.leaves(carry)
        if kept is None:
            new = [rate * before + (1 - rate) * after for rate, before, after in zip(self.rates, old, new, strict=True)]
        else:
            new = [jnp.where(keep, before, after) for keep, before, after in zip(kept, old, new, strict=True)]
        return treedef.unflatten(new), new[-1]

    def __call__(self, carry: PyTree, inputs: Float[Array, "*B D"]):
        return self.update(carry, self.project(hidden(carry), inputs))


def unroll_with_noise(cell: Any, carry: PyTree, xs: Float[Array, "T B D"], dropout: Dropout, key: Array, **options):
    """`unroll` of one layer in training, its input and recurrence dropped as `dropout` says."""
    of_x, of_h, of_carry = jax.random.split(key, 3)
    xs = drop(xs, dropout.variational, of_x, steps=1)
    zoned = isinstance(cell, ZoneoutCell)
    if not (dropout.recurrent or zoned):
        return unroll(cell, carry, xs, **options)
    h, leaves = hidden(carry), jax.tree.leaves(carry)
    mask = drop(jnp.ones_like(h)[None], dropout.recurrent, of_h)[0]
    keys = jax.random.split(of_carry, len(leaves))
    rates = cell.rates if zoned else [0.0] * len(leaves)
    kept = [
        jax.random.bernoulli(key, rate, (len(xs), *leaf.shape))
        for key, rate, leaf in zip(keys, rates, leaves, strict=True)
    ]

    def step(carry, inputs):
        x, kept = inputs
        z = cell.project(hidden(carry) * mask, x)
        return cell.update(carry, z, kept) if zoned else cell.update(carry, z)

    step.initialize_carry = cell.initialize_carry  # where a carry begins anew at a reset
    return unroll(step, carry, (xs, kept), **options)
