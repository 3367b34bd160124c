"""Gated recurrent unit, reset before the recurrent product."""

from __future__ import annotations

from typing import ClassVar

import chz
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rnnlab.cells.base import CellBase
from rnnlab.cells.gru import GRU


@chz.chz
class GRUResetBefore(GRU):
    """The gated recurrent unit as Cho et al. published it: r acts on h before the candidate's recurrent product.

    r, u = sigmoid(z_r), sigmoid(z_u);  n = tanh(x_t w_xn + (r h_{t-1}) w_hn + b_n);  h_t = u h_{t-1} + (1 - u) n

    Cho et al. 2014, section 2.3; `reset_after=False` of Keras. `GRU` resets after the product, as cuDNN and PyTorch do.
    Of the same seed it has the weights and biases of `GRU`, less that one's second candidate bias.
    """

    source: ClassVar[str] = "Cho et al. 2014, section 2.3"

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> GRUResetBeforeCell:
        after = super().build(in_features, rngs=rngs)
        return GRUResetBeforeCell(self, in_features, after.w_x[...], after.w_h[...], after.b[: 3 * self.features])


class GRUResetBeforeCell(CellBase):
    """h_t = u h_{t-1} + (1 - u) n. Parameters w_x [D, 3H], w_h [H, 3H] and b [3H] by r, u, n.

    z_n needs r before its product with w_h, so z is no linear function of h; the path via n has what r lets through,
    and that via r is the direct path alone.
    """

    def project(self, h: Float[Array, "*B H"], x: Float[Array, "*B D"]) -> Float[Array, "*B Z"]:
        w_x, w_h, b = (w[...].astype(self.dtype) for w in (self.w_x, self.w_h, self.b))
        h, gates = h.astype(self.dtype), 2 * self.features
        of_x = x.astype(self.dtype) @ w_x + b
        z = of_x[..., :gates] + h @ w_h[:, :gates]
        r = jax.nn.sigmoid(z[..., : self.features])
        return jnp.concatenate([z, of_x[..., gates:] + (r * h) @ w_h[:, gates:]], axis=-1)

    def gates(self, z: Float[Array, "*B Z"]) -> dict[str, Float[Array, "*B H"]]:
        r, u, n = jnp.split(z, 3, axis=-1)
        return {"r": jax.nn.sigmoid(r), "u": jax.nn.sigmoid(u), "n": jnp.tanh(n)}

    def update(self, carry: Float[Array, "*B H"], z: Float[Array, "*B Z"]):
        _, u, n = self.gates(z).values()
        h = (u * carry + (1 - u) * n).astype(carry.dtype)
        return h, h
