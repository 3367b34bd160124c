"""Minimal long short-term memory: gates that do not read the state, and no cell state beside it."""

from __future__ import annotations

from typing import ClassVar

import chz
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rnnlab.cells.base import CellSpec
from rnnlab.cells.linear_recurrence import LinearRecurrenceCell
from rnnlab.cells.min_gru import Candidate, candidate
from rnnlab.cells.weights import input_weights


@chz.chz
class MinLSTM(CellSpec):
    """Minimal LSTM: input and forget gate read the input alone and sum to one, so that the recurrence is linear.

    f = sigmoid(z_f) / (sigmoid(z_f) + sigmoid(z_i)),  i = 1 - f;  h_t = f h_{t-1} + i g,  g as in MinGRU

    Feng et al. 2024, section 3.2. Initial biases b_f = forget_bias and b_i = -forget_bias: sigmoid(b) + sigmoid(-b) is
    1, so f = sigmoid(forget_bias) where x is 0; with b_i = 0 no b_f would bring it above 2/3.
    """

    source: ClassVar[str] = "Feng et al. 2024, section 3.2 and appendix B"
    forget_bias: float = chz.field(default=0.0, doc="initial bias of the forget gate, and less that of the input gate")
    candidate: Candidate = chz.field(default="positive", doc="g: above 0, or linear in the input")

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> MinLSTMCell:
        w_x = input_weights(rngs.params(), in_features, self.features, 3)
        b = jnp.repeat(jnp.array([-self.forget_bias, self.forget_bias, 0.0]), self.features)
        return MinLSTMCell(self, in_features, w_x, b)


class MinLSTMCell(LinearRecurrenceCell):
    """h_t = f h_{t-1} + i g; carry h, columns of z by i, f, g. dh_t/dh_{t-1} is diag(f)."""

    def __init__(self, spec: MinLSTM, in_features: int, w_x: Array, b: Array):
        super().__init__(spec, in_features, w_x, b)
        self.candidate = spec.candidate

    def gates(self, z: Float[Array, "*B Z"]) -> dict[str, Float[Array, "*B H"]]:
        """i and f as they stand in h_t: normalised."""
        i, f, g = jnp.split(z, 3, axis=-1)
        odds = jax.nn.log_sigmoid(f) - jax.nn.log_sigmoid(i)  # log of f / i: no 0 / 0 where both are closed
        return {"i": jax.nn.sigmoid(-odds), "f": jax.nn.sigmoid(odds), "g": candidate(self.candidate, g)}

    def coefficients(self, z: Float[Array, "*B Z"]):
        i, f, g = self.gates(z).values()
        return f, i * g
