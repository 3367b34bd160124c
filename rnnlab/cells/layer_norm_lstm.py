"""Long short-term memory with layer normalisation."""

from __future__ import annotations

from typing import ClassVar

import chz
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rnnlab.cells.lstm import LSTM, LSTMCell

EPSILON = 1e-5  # added to the variance, as by the authors' program; the paper's equations have none


@chz.chz
class LayerNormLSTM(LSTM):
    """An LSTM whose summed inputs, from x, from h and to the output, are each brought to mean 0 and variance 1.

    (z_i, z_f, z_g, z_o) = LN(x_t w_x; a_x) + LN(h_{t-1} w_h; a_h) + b
    c_t = f c_{t-1} + i g;  h_t = o tanh(LN(c_t; a_c) + b_c)
    LN(v; a) = a (v - mean v) / sqrt(var v + 1e-5)

    i, f, o are logistic and g is tanh, as in an LSTM. Mean and variance are over all 4H sums of one step of one example
    (over H for c). Ba, Kiros & Hinton 2016, supplementary material, equations 20 to 22, whose biases beta_1, beta_2
    and b are one here: only their sum matters. Gains start at 1, b_c at 0, and b and the weights as an LSTM's of the
    same seed. The cell state is normalised where it is read, not where it is kept, so the carousel stays what it is.
    """

    source: ClassVar[str] = "Ba, Kiros & Hinton 2016, supplementary material, equations 20 to 22"

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> LayerNormLSTMCell:
        whole = super().build(in_features, rngs=rngs)
        return LayerNormLSTMCell(self, in_features, whole.w_x[...], whole.w_h[...], whole.b[...])


class LayerNormLSTMCell(LSTMCell):
    """Carry (c, h). At fixed z, dc_t/dc_{t-1} is diag(f).

    z = [x w_x | h w_h] [8H]: the two sums are normalised apart. A path through the columns of a gate, of either half,
    acts on the other gates as well, by way of the mean and the variance.

    Parameters: w_x [D, 4H], w_h [H, 4H], b, gain_x and gain_h [4H] by i, f, g, o; gain_c and b_c [H].
    """

    blocks = ("i", "f", "g", "o") * 2

    def __init__(self, spec: LayerNormLSTM, in_features: int, w_x: Array, w_h: Array, b: Array):
        super().__init__(spec, in_features, w_x, w_h, b)
        ones, dtype = jnp.ones(4 * spec.features), jnp.dtype(spec.param_dtype)
        self.gain_x, self.gain_h = (nnx.Param(ones.astype(dtype)) for _ in "xh")
        self.gain_c = nnx.Param(ones[: spec.features].astype(dtype))
        self.b_c = nnx.Param(jnp.zeros(spec.features, dtype))

    def projection(self) -> tuple[Float[Array, "D Z"], Float[Array, "H Z"], Float[Array, " Z"]]:
        """Zeros keep h out of z's first half and x out of its second; b is added behind the normalisation."""
        w_x, w_h, b = super().projection()
        pad = w_h.shape[1]
        return jnp.pad(w_x, ((0, 0), (0, pad))), jnp.pad(w_h, ((0, 0), (pad, 0))), jnp.zeros(2 * pad, b.dtype)

    def gates(self, z: Float[Array, "*B Z"]) -> dict[str, Float[Array, "*B H"]]:
        of_x, of_h = jnp.split(z, 2, axis=-1)
        normalised = _normalised(of_x, self.gain_x) + _normalised(of_h, self.gain_h)
        return super().gates(normalised + self.b[...].astype(z.dtype))

    def update(self, carry: tuple[Array, Array], z: Float[Array, "*B Z"]):
        c, h = carry
        i, f, g, o = self.gates(z).values()
        c = f * c + i * g
        h = (o * jnp.tanh(_normalised(c, self.gain_c) + self.b_c[...].astype(c.dtype))).astype(h.dtype)
        return (c, h), h


def _normalised(v: Float[Array, "*B N"], gain: nnx.Param) -> Float[Array, "*B N"]:
    """To mean 0 and variance 1, computed in at least float32, times the gain."""
    wide = v.astype(jnp.promote_types(v.dtype, jnp.float32))
    deviation = wide - jnp.mean(wide, axis=-1, keepdims=True)
    scale = jax.lax.rsqrt(jnp.mean(jnp.square(deviation), axis=-1, keepdims=True) + EPSILON)
    return (gain[...].astype(wide.dtype) * deviation * scale).astype(v.dtype)
