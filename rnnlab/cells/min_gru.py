"""Minimal gated recurrent unit: a GRU whose gate does not read the state."""

from __future__ import annotations

from typing import ClassVar, Literal

import chz
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rnnlab.cells.base import CellSpec
from rnnlab.cells.linear_recurrence import LinearRecurrenceCell
from rnnlab.cells.weights import input_weights

Candidate = Literal["positive", "linear"]


def candidate(kind: Candidate, z: Float[Array, "*B H"]) -> Float[Array, "*B H"]:
    """z itself, or z + 1/2 where z >= 0 and sigmoid(z) elsewhere: above 0, and continuous."""
    return jnp.where(z >= 0, z + 0.5, jax.nn.sigmoid(z)) if kind == "positive" else z


@chz.chz
class MinGRU(CellSpec):
    """Minimal gated recurrent unit: gate and candidate read the input alone, so that the recurrence is linear.

    f = sigmoid(z_f);  h_t = f h_{t-1} + (1 - f) g,  g = z_g (candidate=linear, section 3.1)
    or g = z_g + 1/2 where z_g >= 0, sigmoid(z_g) elsewhere (candidate=positive, appendix B; its authors
    compute it in logs, which is not needed here: products of gates in (0, 1) do not overflow)

    Feng et al. 2024, whose update gate is 1 - f: the gate is named here for what it keeps, as an LSTM's.
    """

    source: ClassVar[str] = "Feng et al. 2024, section 3.1 and appendix B"
    forget_bias: float = chz.field(default=0.0, doc="initial bias of the gate that keeps h: large is a long time scale")
    candidate: Candidate = chz.field(default="positive", doc="g: above 0, or linear in the input")

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> MinGRUCell:
        w_x = input_weights(rngs.params(), in_features, self.features, 2)
        return MinGRUCell(
            self, in_features, w_x, jnp.zeros(2 * self.features).at[: self.features].set(self.forget_bias)
        )


class MinGRUCell(LinearRecurrenceCell):
    """h_t = f h_{t-1} + (1 - f) g; carry h. dh_t/dh_{t-1} is diag(f)."""

    def __init__(self, spec: MinGRU, in_features: int, w_x: Array, b: Array):
        super().__init__(spec, in_features, w_x, b)
        self.candidate = spec.candidate

    def gates(self, z: Float[Array, "*B Z"]) -> dict[str, Float[Array, "*B H"]]:
        f, g = jnp.split(z, 2, axis=-1)
        return {"f": jax.nn.sigmoid(f), "g": candidate(self.candidate, g)}

    def coefficients(self, z: Float[Array, "*B Z"]):
        f, g = self.gates(z).values()
        return f, jax.nn.sigmoid(-z[..., : self.features]) * g  # 1 - f would lose its digits near f = 1
