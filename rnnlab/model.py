"""Cells stacked over one another, and a readout."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PyTree

from rnnlab.cells import CellSpec
from rnnlab.scan.projected import hidden
from rnnlab.scan.segments import sum_dtype
from rnnlab.scan.unroll import unroll


class SequenceModel(nnx.Module):
    """`layers` cells, each reading the one below, and a linear readout of the top one."""

    def __init__(self, spec: CellSpec, in_features: int, out_features: int, *, layers: int = 1, rngs: nnx.Rngs):
        widths = [in_features] + [spec.features] * (layers - 1)
        self.cells = nnx.List([spec.build(width, rngs=rngs) for width in widths])
        types = {"dtype": jnp.promote_types(spec.dtype, jnp.float32), "param_dtype": jnp.dtype(spec.param_dtype)}
        self.readout = nnx.Linear(spec.features, out_features, rngs=rngs, **types, **spec.readout_options())

    def initial_carry(self, batch_size: int) -> list[PyTree]:
        """One carry a layer, zeros."""
        widths = [getattr(cell, "in_features", 1) for cell in self.cells]
        rngs = nnx.Rngs(0)  # Flax's own cells ask for one to make zeros
        return [c.initialize_carry((batch_size, w), rngs) for c, w in zip(self.cells, widths, strict=True)]

    def __call__(
        self,
        inputs: Float[Array, "T B D"],
        *,
        answers: int | None = None,
        taps: list[PyTree] | None = None,
        segment: int | None = None,
    ) -> Float[Array, "N B K"]:
        """Outputs at the last `answers` steps (all, left out).

        Before them the top layer returns its carry alone, so a loss at the end stores no [T, B, H].
        `taps`: zeros whose gradients are the adjoint norms, as `tap_zeros` gives them; see `rnnlab.scan.unroll.unroll`.
        """
        length, batch_size = inputs.shape[:2]
        silent = length - (length if answers is None else answers)
        taps = [None] * len(self.cells) if taps is None else taps
        carries = self.initial_carry(batch_size)
        ys = inputs
        for cell, carry, tap in zip(self.cells[:-1], carries[:-1], taps[:-1], strict=True):
            _, ys = unroll(cell, carry, ys, taps=tap, segment=segment)
        top, carry, tap = self.cells[-1], carries[-1], taps[-1]
        if silent == length - 1 and getattr(top, "h_carries_gradient", False):  # the last carry holds the one answer
            carry, _ = unroll(top, carry, ys, taps=tap, segment=segment)
            return self.readout(hidden(carry)[None])
        if silent:
            early, tap = jax.tree.map(lambda t: t[:silent], tap), jax.tree.map(lambda t: t[silent:], tap)
            carry, _ = unroll(top, carry, ys[:silent], taps=early, segment=segment)
        _, ys = unroll(top, carry, ys[silent:], taps=tap, segment=segment)
        return self.readout(ys)

    def step(self, carries: list[PyTree], x: Float[Array, "B D"]) -> tuple[list[PyTree], Float[Array, "B H"]]:
        """One step of all layers: their carries, and the output y of the top one."""
        new = []
        for cell, carry in zip(self.cells, carries, strict=True):
            carry, x = cell(carry, x)
            new.append(carry)
        return new, x

    def tap_zeros(self, length: int, batch_size: int) -> list[PyTree]:
        """Zeros for every layer whose gradients are the adjoint norms [T, B] of each carry component."""
        carries = self.initial_carry(batch_size)
        return jax.tree.map(lambda c: jnp.zeros((length, batch_size), sum_dtype(c)), carries)

    def names(self) -> list[PyTree]:
        """The carry components' names by layer, as in `layer0/c`: a tree like `initial_carry`."""
        named = []
        for layer, (cell, carry) in enumerate(
            zip(self.cells, jax.eval_shape(lambda: self.initial_carry(1)), strict=True)
        ):
            leaves, treedef = jax.tree.flatten(carry)
            named.append(treedef.unflatten([f"layer{layer}/{part}" for part in carry_names(cell, leaves)]))
        return named

    def intermediates(self, inputs: Float[Array, "T B D"]) -> dict[str, Float[Array, "T B K"]]:
        """Outputs and every h_t, c_t and gate over time, by name; under jit, what is not read costs nothing."""
        found: dict[str, Array] = {}
        ys = inputs
        for layer, (cell, carry) in enumerate(zip(self.cells, self.initial_carry(inputs.shape[1]), strict=True)):

            def step(carry, x, cell=cell):
                gates = cell.gates(cell.project(hidden(carry), x)) if hasattr(cell, "gates") else {}
                carry, y = cell(carry, x)
                return carry, (y, carry, gates)

            _, (ys, carries, gates) = jax.lax.scan(step, carry, ys)
            found |= dict(zip(jax.tree.leaves(self.names()[layer]), jax.tree.leaves(carries), strict=True))
            found |= {f"layer{layer}/{name}": gate for name, gate in gates.items()}
        return found | {"outputs": self.readout(ys)}


def carry_names(cell, carry: PyTree) -> tuple[str, ...]:
    """Names of the components of a cell's carry; of a foreign cell the last is taken as h, and one before it as c."""
    return getattr(cell, "carry_names", ("c", "h")[-len(jax.tree.leaves(carry)) :])
