"""sLSTM: a long short-term memory with exponential gates, from xLSTM."""

from __future__ import annotations

from typing import ClassVar, Literal

import chz
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rnnlab.cells.base import Cell, CellSpec
from rnnlab.cells.weights import Recurrent, input_weights, recurrent_weights
from rnnlab.specs.fields import field

NOTHING_STORED = -1e30  # m at first: log 0, but finite, so that no difference of two is NaN


@chz.chz
class SLSTM(CellSpec):
    """A long short-term memory whose input gate is exponential and whose cell state is divided by the gates' sum.

    i = exp(z_i);  f = sigmoid(z_f);  g = tanh(z_g);  o = sigmoid(z_o)
    c_t = f c_{t-1} + i g;  n_t = f n_{t-1} + i;  h_t = o c_t / n_t

    c / n is a mean of all g so far, so that a large i revises what is stored. To keep exp within range c and n are
    held as c e^-m and n e^-m with m_t = max(log f + m_{t-1}, log i), which changes neither h nor the gradient by any
    parameter. With several heads w_h is block diagonal: memory cells are mixed within a head, not across heads.
    Beck et al. 2024, xLSTM, section 2.2, equations 8 to 17 (g is z there). The cell alone, without the normalisation,
    convolution and projections that an xLSTM block has around it.
    """

    source: ClassVar[str] = "Beck et al. 2024, section 2.2"

    forget_gate: Literal["sigmoid", "exp"] = chz.field(default="sigmoid", doc="of z_f; the paper has both")
    forget_bias: float = chz.field(default=1.0, doc="initial forget-gate bias")
    heads: int = field(1, "blocks of w_h; features is a multiple of it", low=1)
    recurrent: Recurrent = chz.field(default="orthogonal", doc="draw of the recurrent matrices, one a gate and head")

    @chz.validate
    def _heads_fit(self):
        if self.heads >= 1 and self.features % self.heads:
            fits = max(1, round(self.features / self.heads)) * self.heads
            raise ValueError(f"features={self.features}: must be a multiple of heads = {self.heads}; nearest is {fits}")

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> SLSTMCell:
        w_x = input_weights(rngs.params(), in_features, self.features, 4)
        keys = jax.random.split(rngs.params(), self.heads)
        width = self.features // self.heads
        w_h = jnp.stack([recurrent_weights(key, self.recurrent, width, 4) for key in keys])
        b = jnp.zeros(4 * self.features).at[self.features : 2 * self.features].set(self.forget_bias)
        return SLSTMCell(self, in_features, w_x, w_h, b)


class SLSTMCell(Cell):
    """Carry (c, n, m, h), c and n times e^-m. At fixed z, dc_t/dc_{t-1} is diag(f) in units of their own m.

    Parameters: w_x [D, 4H] and b [4H] by i, f, g, o; w_h [heads, H/heads, 4H/heads], each head's by i, f, g, o.
    h is a function of c e^m and n e^m alone, whatever m is. So m is a constant to the gradient (the paper's appendix
    A.2): its adjoint is exactly 0, and that of c is by a c that is scaled by e^-m.
    """

    carry_names = ("c", "n", "m", "h")
    carry_may_mix = False  # c and n are in units of their own step's e^m

    def __init__(self, spec: SLSTM, in_features: int, w_x: Array, w_h: Array, b: Array):
        super().__init__(spec, in_features, w_x, w_h, b)
        self.forget_gate, self.heads = spec.forget_gate, spec.heads

    def projection(self) -> tuple[Float[Array, "D Z"], Float[Array, "H Z"], Float[Array, " Z"]]:
        heads, width = self.heads, self.features // self.heads
        blocks = self.w_h[...].astype(self.dtype).reshape(heads, width, 4, width)
        w_h = jnp.einsum("apgq,ab->apgbq", blocks, jnp.eye(heads, dtype=self.dtype))
        w_h = w_h.reshape(self.features, 4 * self.features)
        return self.w_x[...].astype(self.dtype), w_h, self.b[...].astype(self.dtype)

    def gates(self, z: Float[Array, "*B Z"]) -> dict[str, Float[Array, "*B H"]]:
        """i and f unscaled, and so infinite where exp is."""
        i, f, g, o = jnp.split(z, 4, axis=-1)
        f = jax.nn.sigmoid(f) if self.forget_gate == "sigmoid" else jnp.exp(f)
        return {"i": jnp.exp(i), "f": f, "g": jnp.tanh(g), "o": jax.nn.sigmoid(o)}

    def update(self, carry: tuple[Array, Array, Array, Array], z: Float[Array, "*B Z"]):
        c, n, m, h = carry
        log_i, z_f, z_g, z_o = jnp.split(z.astype(c.dtype), 4, axis=-1)
        log_f = jax.nn.log_sigmoid(z_f) if self.forget_gate == "sigmoid" else z_f
        new_m = jnp.maximum(log_f + m, log_i)
        before, now = jax.lax.stop_gradient((m, new_m))
        f, i = jnp.exp(log_f + before - now), jnp.exp(log_i - now)
        c = f * c + i * jnp.tanh(z_g)
        n = f * n + i
        h = (jax.nn.sigmoid(z_o) * c / n).astype(h.dtype)
        return (c, n, new_m, h), h

    def initialize_carry(self, input_shape: tuple[int, ...], rngs=None, carry_init=None):
        """Zeros, with m where nothing is stored: the first step's h is o g, however small its i is."""
        c, n, m, h = super().initialize_carry(input_shape, rngs, carry_init)
        return c, n, jnp.full_like(m, NOTHING_STORED), h
