"""Long short-term memory with forget gate."""

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


@chz.chz
class LSTM(CellSpec):
    """Long short-term memory: a cell state as a linear recurrence, and three gates.

    i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o);  g = tanh(z_g)
    c_t = f c_{t-1} + i g;                               h_t = o tanh(c_t)

    Hochreiter & Schmidhuber 1997; forget gate by Gers, Schmidhuber & Cummins 2000, section 3; gate order
    i, f, g, o as in cuDNN. Biases, for `bias`:
    constant: b_f = forget_bias (Jozefowicz et al. 2015: 1), the others 0.
    uniform: forget gates uniform in (0, 1), b_f = logit U[1/H, 1-1/H], b_i = -b_f (Gu et al. 2020, section 3.1).
    chrono: b_f = log U[1, max_lag - 1], b_i = -b_f (Tallec & Ollivier 2018, equation 16).
    """

    source: ClassVar[str] = "Hochreiter & Schmidhuber 1997; Gers et al. 2000, section 3"
    forget_bias: float = chz.field(default=1.0, doc="initial forget-gate bias, with bias=constant")
    bias: Literal["constant", "uniform", "chrono"] = chz.field(default="constant", doc="draw of the gate biases")
    max_lag: int = field(1000, "longest dependency expected, in steps, with bias=chrono", low=3)
    recurrent: Recurrent = chz.field(default="orthogonal", doc="draw of the recurrent matrices, one a gate")

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> LSTMCell:
        w_x = input_weights(rngs.params(), in_features, self.features, 4)
        w_h = recurrent_weights(rngs.params(), self.recurrent, self.features, 4)
        forget = self._forget_biases(rngs.params())
        zeros = jnp.zeros(self.features)
        b_i = zeros if self.bias == "constant" else -forget
        return LSTMCell(self, in_features, w_x, w_h, jnp.concatenate([b_i, forget, zeros, zeros]))

    def _forget_biases(self, key: Array) -> Float[Array, " H"]:
        shape = (self.features,)
        if self.bias == "chrono":
            return jnp.log(jax.random.uniform(key, shape, jnp.float32, minval=1.0, maxval=self.max_lag - 1.0))
        if self.bias == "uniform":
            edge = min(1 / self.features, 0.5)
            return jax.scipy.special.logit(jax.random.uniform(key, shape, jnp.float32, minval=edge, maxval=1 - edge))
        return jnp.full(shape, self.forget_bias)


class LSTMCell(Cell):
    """c_t = f c_{t-1} + i g and h_t = o tanh(c_t); carry (c, h). At fixed z, dc_t/dc_{t-1} is diag(f)."""

    carry_names = ("c", "h")
    kernel = "lstm.cc"

    def gates(self, z: Float[Array, "*B Z"]) -> dict[str, Float[Array, "*B H"]]:
        i, f, g, o = jnp.split(z, 4, axis=-1)
        return {"i": jax.nn.sigmoid(i), "f": jax.nn.sigmoid(f), "g": jnp.tanh(g), "o": jax.nn.sigmoid(o)}

    def update(self, carry: tuple[Array, Array], z: Float[Array, "*B Z"]):
        c, h = carry
        i, f, g, o = self.gates(z).values()
        c = f * c + i * g
        h = (o * jnp.tanh(c)).astype(h.dtype)
        return (c, h), h
