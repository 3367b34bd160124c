"""Gated recurrent unit, reset after the recurrent product."""

from __future__ import annotations

from typing import ClassVar

import chz
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rnnlab.cells.base import Cell, CellSpec
from rnnlab.cells.weights import Recurrent, input_weights, recurrent_weights


@chz.chz
class GRU(CellSpec):
    """Gated recurrent unit: one state, which the update gate u keeps or replaces.

    r, u = sigmoid(z_r), sigmoid(z_u);  n = tanh(z_x + r z_h);  h_t = u h_{t-1} + (1 - u) n

    Cho et al. 2014, section 2.3, in the form of cuDNN, PyTorch and Flax: r acts on the product z_h = h w_h + b_h and
    not on h before it (Cho's own order), so that a step is a projection and an update.
    """

    source: ClassVar[str] = "Cho et al. 2014, section 2.3"
    update_bias: float = chz.field(default=0.0, doc="initial update-gate bias: large keeps h, as a forget bias does")
    recurrent: Recurrent = chz.field(default="orthogonal", doc="draw of the recurrent matrices, one a gate")

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> GRUCell:
        w_x = input_weights(rngs.params(), in_features, self.features, 3)
        w_h = recurrent_weights(rngs.params(), self.recurrent, self.features, 3)
        b = jnp.zeros(4 * self.features).at[self.features : 2 * self.features].set(self.update_bias)
        return GRUCell(self, in_features, w_x, w_h, b)


class GRUCell(Cell):
    """h_t = u h_{t-1} + (1 - u) n. At fixed z, dh_t/dh_{t-1} is diag(u).

    Parameters: w_x [D, 3H] and w_h [H, 3H] by r, u, n; b [4H] by r, u, and n's input and hidden part.
    """

    blocks = ("r", "u", "n", "n")

    def projection(self) -> tuple[Float[Array, "D Z"], Float[Array, "H Z"], Float[Array, " Z"]]:
        """z = [z_r | z_u | z_x | z_h]: zeros keep h out of z_x and x out of z_h."""
        w_x, w_h, b = (w[...].astype(self.dtype) for w in (self.w_x, self.w_h, self.b))
        gates, n = jnp.split(w_h, [2 * self.features], axis=1)
        no_x = jnp.zeros((self.in_features, self.features), self.dtype)
        return jnp.concatenate([w_x, no_x], axis=1), jnp.concatenate([gates, jnp.zeros_like(n), n], axis=1), b

    def gates(self, z: Float[Array, "*B Z"]) -> dict[str, Float[Array, "*B H"]]:
        z_r, z_u, z_x, z_h = jnp.split(z, 4, axis=-1)
        r = jax.nn.sigmoid(z_r)
        return {"r": r, "u": jax.nn.sigmoid(z_u), "n": jnp.tanh(z_x + r * z_h)}

    def update(self, carry: Float[Array, "*B H"], z: Float[Array, "*B Z"]):
        _, u, n = self.gates(z).values()
        h = (u * carry + (1 - u) * n).astype(carry.dtype)
        return h, h
