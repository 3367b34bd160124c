"""Long short-term memory with one part removed."""

from __future__ import annotations

from typing import ClassVar, Literal

import chz
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from rnnlab.cells.base import Cell
from rnnlab.cells.lstm import LSTM

Without = Literal[
    "nothing",
    "forget gate",
    "input gate",
    "output gate",
    "independence",
    "linearity",
    "input squashing",
    "output squashing",
]
REMOVED_BLOCK = {"forget gate": "f", "input gate": "i", "output gate": "o", "independence": "i"}  # of z, by part


@chz.chz
class AblatedLSTM(LSTM):
    """An LSTM with one of its parts removed, which shows what the part contributes.

    i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o);  g = tanh(z_g)
    c_t = f c_{t-1} + i g;                               h_t = o tanh(c_t)

    nothing: the whole LSTM.
    forget gate: f = 1, the memory cell of Hochreiter & Schmidhuber 1997.
    input gate: i = 1.  output gate: o = 1.
    independence: i = 1 - f, coupled input and forget gate (CIFG).
    linearity: c_t = tanh(f c_{t-1} + i g), so that the cell state is no linear recurrence.
    input squashing: g = z_g.  output squashing: h_t = o c_t.

    Greff et al. 2017, section 3 (NFG, NIG, NOG, CIFG, NIAF, NOAF); removing linearity is an addition of this library.
    The remaining parts start with the weights and biases of an LSTM of the same seed: ablations are compared in pairs.
    """

    source: ClassVar[str] = "Greff et al. 2017, section 3"
    without: Without = chz.field(default="nothing", doc="the part that is removed")

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> AblatedLSTMCell:
        whole = super().build(in_features, rngs=rngs)
        kept = np.repeat([gate != REMOVED_BLOCK.get(self.without) for gate in "ifgo"], self.features)
        return AblatedLSTMCell(self, in_features, *(w[...][..., kept] for w in (whole.w_x, whole.w_h, whole.b)))


class AblatedLSTMCell(Cell):
    """Carry (c, h); w_x [D, Z], w_h [H, Z], b [Z] by i, f, g, o without the removed gate: Z = 4H or 3H.

    At fixed z, dc_t/dc_{t-1} is diag(f): 1 without a forget gate, and diag(f (1 - c_t^2)) without linearity.
    """

    carry_names = ("c", "h")

    def __init__(self, spec: AblatedLSTM, in_features: int, w_x: Array, w_h: Array, b: Array):
        super().__init__(spec, in_features, w_x, w_h, b)
        self.without = spec.without

    @property
    def blocks(self) -> tuple[str, ...]:
        return tuple(gate for gate in "ifgo" if gate != REMOVED_BLOCK.get(self.without))

    def gates(self, z: Float[Array, "*B Z"]) -> dict[str, Float[Array, "*B H"]]:
        """i, f, g and o; a gate that is held at 1 is left out."""
        z_of = dict(zip(self.blocks, jnp.split(z, len(self.blocks), axis=-1), strict=True))
        found = {gate: jnp.tanh(a) if gate == "g" else jax.nn.sigmoid(a) for gate, a in z_of.items()}
        if self.without == "independence":
            found = {"i": 1 - found["f"]} | found
        if self.without == "input squashing":
            found["g"] = z_of["g"]
        return found

    def update(self, carry: tuple[Array, Array], z: Float[Array, "*B Z"]):
        c, h = carry
        gates = {"i": 1.0, "f": 1.0, "o": 1.0} | self.gates(z)
        c = gates["f"] * c + gates["i"] * gates["g"]
        if self.without == "linearity":
            c = jnp.tanh(c)
        h = (gates["o"] * (c if self.without == "output squashing" else jnp.tanh(c))).astype(h.dtype)
        return (c, h), h
