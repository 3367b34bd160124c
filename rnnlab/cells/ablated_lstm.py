"""Long short-term memory with one part removed, and the nine variants of the search space odyssey."""

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
Variant = Literal["V", "NIG", "NFG", "NOG", "NIAF", "NOAF", "CIFG", "NP", "FGR"]
REMOVED_BY: dict[str, Without] = {  # the others remove nothing
    "NIG": "input gate",
    "NFG": "forget gate",
    "NOG": "output gate",
    "NIAF": "input squashing",
    "NOAF": "output squashing",
    "CIFG": "independence",
}
REMOVED_BLOCK = {"forget gate": "f", "input gate": "i", "output gate": "o", "independence": "i"}  # of z, by part


@chz.chz
class AblatedLSTM(LSTM):
    """An LSTM with one of its parts removed, which shows what the part contributes.

    i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o);  g = tanh(z_g)
    c_t = f c_{t-1} + i g;                               h_t = o tanh(c_t)

    nothing: the whole LSTM.
    forget gate: f = 1, the memory cell of Hochreiter & Schmidhuber 1997.
    input gate: i = 1.  output gate: o = 1.
    independence: i = 1 - f, coupled input and forget gate.
    linearity: c_t = tanh(f c_{t-1} + i g), so that the cell state is no linear recurrence.
    input squashing: g = z_g.  output squashing: h_t = o c_t.

    `variant` is one of the nine networks of Greff et al. 2017. NP, no peepholes, is the LSTM above, and the only one
    that takes `without`. V has peepholes p, one weight a cell and gate, through which the gates read the cell state:

    i, f = sigmoid(z_i + p_i c_{t-1}), sigmoid(z_f + p_f c_{t-1});  o = sigmoid(z_o + p_o c_t)

    NIG, NFG, NOG: V without input, forget or output gate.  NIAF, NOAF: without input or output squashing.
    CIFG: f = 1 - i, here as i = 1 - f, which is the same set of functions.
    FGR: full gate recurrence, z_i, z_f and z_o each get a_{t-1} w_gates more, with a = (i, f, o).

    Removing linearity is an addition of this library. The remaining parts start with the weights and biases of an LSTM
    of the same seed, so ablations are compared in pairs; what an LSTM has not, p and w_gates, is drawn from N(0, 0.01).
    """

    source: ClassVar[str] = "Greff et al. 2017, sections 2 and 4"

    without: Without = chz.field(default="nothing", doc="the part that is removed")
    variant: Variant = chz.field(default="NP", doc="network of Greff et al. 2017; all but NP have peepholes")

    @chz.validate
    def _one_says_it(self):
        if self.variant != "NP" and self.without != "nothing":
            raise ValueError(f"without={self.without!r}: variant={self.variant} says what is removed; leave one out")

    @property
    def removed(self) -> Without:
        """The part that `without` or `variant` removes."""
        return REMOVED_BY.get(self.variant, self.without)

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> AblatedLSTMCell:
        whole = super().build(in_features, rngs=rngs)
        kept = {gate: gate != REMOVED_BLOCK.get(self.removed) for gate in "ifgo"}
        columns = np.repeat(list(kept.values()), self.features)
        weights = [w[...][..., columns] for w in (whole.w_x, whole.w_h, whole.b)]
        if self.variant != "NP":
            peepholes = 0.1 * jax.random.normal(rngs.params(), (3, self.features), jnp.float32)
            weights.append(peepholes[np.array([kept[gate] for gate in "ifo"])])
        if self.variant == "FGR":
            weights.append(0.1 * jax.random.normal(rngs.params(), (3 * self.features, 3 * self.features), jnp.float32))
        return AblatedLSTMCell(self, in_features, *weights)


class AblatedLSTMCell(Cell):
    """Carry (c, h), with full gate recurrence (c, gates, h) where gates is a = (i, f, o) [B, 3H].

    Parameters: w_x [D, Z], w_h [H, Z], b [Z] by i, f, g, o without the removed gate, Z = 4H or 3H; peepholes
    [Z/H - 1, H] in the same order without g; w_gates [3H, 3H] from and to i, f, o.

    At fixed z, dc_t/dc_{t-1} is diag(f): 1 without a forget gate, and diag(f (1 - c_t^2)) without linearity. Peepholes
    belong to this path, and it is then diag(f + c_{t-1} f (1 - f) p_f + g i (1 - i) p_i); with full gate recurrence a
    leads from step to step at fixed z besides c.
    """

    def __init__(
        self,
        spec: AblatedLSTM,
        in_features: int,
        w_x: Array,
        w_h: Array,
        b: Array,
        peepholes: Array | None = None,
        w_gates: Array | None = None,
    ):
        super().__init__(spec, in_features, w_x, w_h, b)
        dtype = jnp.dtype(spec.param_dtype)
        self.without = spec.removed
        self.peepholes = None if peepholes is None else nnx.Param(peepholes.astype(dtype))
        self.w_gates = None if w_gates is None else nnx.Param(w_gates.astype(dtype))

    @property
    def carry_names(self) -> tuple[str, ...]:
        return ("c", "h") if self.w_gates is None else ("c", "gates", "h")

    @property
    def blocks(self) -> tuple[str, ...]:
        return tuple(gate for gate in "ifgo" if gate != REMOVED_BLOCK.get(self.without))

    def gates(self, z: Float[Array, "*B Z"]) -> dict[str, Float[Array, "*B H"]]:
        """i, f, g and o; a gate that is held at 1 is left out. With peepholes g alone, see `internals`."""
        found = self._activated(self._split(z))
        return found if self.peepholes is None else {"g": found["g"]}

    def internals(self, carry: tuple[Array, ...], z: Float[Array, "*B Z"]) -> dict[str, Float[Array, "*B H"]]:
        """i, f, g and o of a step."""
        return self._gates_and_state(carry, z)[0]

    def update(self, carry: tuple[Array, ...], z: Float[Array, "*B Z"]):
        gates, c = self._gates_and_state(carry, z)
        *_, h = carry
        h = (gates.get("o", 1.0) * (c if self.without == "output squashing" else jnp.tanh(c))).astype(h.dtype)
        if self.w_gates is None:
            return (c, h), h
        return (c, jnp.concatenate([gates[gate] for gate in "ifo"], axis=-1).astype(carry[1].dtype), h), h

    def _gates_and_state(self, carry: tuple[Array, ...], z: Float[Array, "*B Z"]) -> tuple[dict[str, Array], Array]:
        """The gates of a step, and c_t, which the output gate's peephole reads."""
        c, z_of, peepholes = carry[0], self._split(z), {}
        if self.w_gates is not None:
            back = carry[1].astype(z.dtype) @ self.w_gates[...].astype(z.dtype)
            z_of |= {gate: z_of[gate] + part for gate, part in zip("ifo", jnp.split(back, 3, axis=-1), strict=True)}
        if self.peepholes is not None:
            peepholes = dict(zip([gate for gate in self.blocks if gate != "g"], self.peepholes[...], strict=True))
        z_of |= {gate: z_of[gate] + p.astype(z.dtype) * c for gate, p in peepholes.items() if gate != "o"}
        gates = self._activated(z_of)
        c = gates.get("f", 1.0) * c + gates.get("i", 1.0) * gates["g"]
        if self.without == "linearity":
            c = jnp.tanh(c)
        if "o" in peepholes:
            gates["o"] = jax.nn.sigmoid(z_of["o"] + peepholes["o"].astype(z.dtype) * c)
        return gates, c

    def _split(self, z: Array) -> dict[str, Array]:
        return dict(zip(self.blocks, jnp.split(z, len(self.blocks), axis=-1), strict=True))

    def _activated(self, z_of: dict[str, Array]) -> dict[str, Array]:
        found = {gate: jnp.tanh(a) if gate == "g" else jax.nn.sigmoid(a) for gate, a in z_of.items()}
        if self.without == "independence":
            found = {"i": 1 - found["f"]} | found
        if self.without == "input squashing":
            found["g"] = z_of["g"]
        return found

    def initialize_carry(self, input_shape: tuple[int, ...], rngs=None, carry_init=None):
        c, *gates, h = super().initialize_carry(input_shape, rngs, carry_init)
        return (c, *(jnp.zeros((*h.shape[:-1], 3 * self.features), h.dtype) for _ in gates), h)
