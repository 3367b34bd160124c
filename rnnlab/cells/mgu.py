"""Minimal gated unit: a gated recurrent unit with one gate."""

from __future__ import annotations

from typing import ClassVar

import chz
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rnnlab.cells.base import CellBase, CellSpec
from rnnlab.cells.weights import Recurrent, input_weights, recurrent_weights


@chz.chz
class MGU(CellSpec):
    """Minimal gated unit: one gate f is both the reset gate and the update gate of a GRU.

    f = sigmoid(z_f);  n = tanh(x_t w_xn + (f h_{t-1}) w_hn + b_n);  h_t = (1 - f) h_{t-1} + f n

    Zhou, Wu, Zhang & Zhou 2016, section 3, who call f the forget gate: where it is open h is replaced.
    """

    source: ClassVar[str] = "Zhou et al. 2016, section 3"

    forget_bias: float = chz.field(default=0.0, doc="initial forget-gate bias: far below 0 keeps h")
    recurrent: Recurrent = chz.field(default="orthogonal", doc="draw of the recurrent matrices, one a block")

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> MGUCell:
        w_x = input_weights(rngs.params(), in_features, self.features, 2)
        w_h = recurrent_weights(rngs.params(), self.recurrent, self.features, 2)
        b = jnp.zeros(2 * self.features).at[: self.features].set(self.forget_bias)
        return MGUCell(self, in_features, w_x, w_h, b)


class MGUCell(CellBase):
    """h_t = (1 - f) h_{t-1} + f n. Parameters w_x [D, 2H], w_h [H, 2H] and b [2H] by f, n.

    z_n needs f before its product with w_h, so z is no linear function of h; the path via n has what f lets through.
    The gate is named `forget`: an f is the part that a step keeps, of which `rnnlab.probes.dynamics.gates` makes time
    scales, and this one what it replaces.
    """

    def project(self, h: Float[Array, "*B H"], x: Float[Array, "*B D"]) -> Float[Array, "*B Z"]:
        w_x, w_h, b = (w[...].astype(self.dtype) for w in (self.w_x, self.w_h, self.b))
        h = h.astype(self.dtype)
        x_f, x_n = jnp.split(x.astype(self.dtype) @ w_x + b, 2, axis=-1)
        w_f, w_n = jnp.split(w_h, 2, axis=1)
        z_f = x_f + h @ w_f
        return jnp.concatenate([z_f, x_n + (jax.nn.sigmoid(z_f) * h) @ w_n], axis=-1)

    def gates(self, z: Float[Array, "*B Z"]) -> dict[str, Float[Array, "*B H"]]:
        f, n = jnp.split(z, 2, axis=-1)
        return {"forget": jax.nn.sigmoid(f), "n": jnp.tanh(n)}

    def update(self, carry: Float[Array, "*B H"], z: Float[Array, "*B Z"]):
        f, n = self.gates(z).values()
        h = ((1 - f) * carry + f * n).astype(carry.dtype)
        return h, h
