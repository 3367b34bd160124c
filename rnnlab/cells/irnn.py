"""The recurrent network of rectified linear units that starts from the identity."""

from __future__ import annotations

from typing import ClassVar

import chz
import jax
import jax.numpy as jnp
from flax import nnx

from rnnlab.cells.vanilla_rnn import Activation, VanillaRNN, VanillaRNNCell
from rnnlab.cells.weights import Recurrent

INPUT_DEVIATION = 1e-3  # Le, Jaitly & Hinton 2015


@chz.chz
class IRNN(VanillaRNN):
    """A vanilla RNN of rectified linear units whose recurrent matrix is the identity at first.

    h_t = relu(x_t w_x + h_{t-1} w_h + b);  at first w_h = s I, b = 0, entries of w_x from N(0, 0.001^2)

    So a state stays as it is until an input changes it, and a gradient crosses a step that leaves its units on with
    its norm unchanged, which for other s falls by s a step. s is `spectral_radius`, left out 1; for tasks of short
    lags the paper takes 0.01. Le, Jaitly & Hinton 2015, A simple way to initialize recurrent networks of rectified
    linear units.
    """

    source: ClassVar[str] = "Le, Jaitly & Hinton 2015, section 2"

    activation: Activation = chz.field(default="relu", doc="nonlinearity")
    recurrent: Recurrent = chz.field(default="identity", doc="draw of the recurrent matrix w_h")

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> VanillaRNNCell:
        vanilla = super().build(in_features, rngs=rngs)
        w_x = INPUT_DEVIATION * jax.random.normal(rngs.params(), vanilla.w_x.shape, jnp.float32)
        return VanillaRNNCell(self, in_features, w_x, vanilla.w_h[...], vanilla.b[...])
