"""Long short-term memory with forget gates as they were published: memory blocks that learn to forget."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import chz
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rnnlab.cells.lstm1997 import LSTM1997, MemoryBlockCell


@chz.chz
class LSTM2000(LSTM1997):
    """Memory blocks with a forget gate f, so that a block can reset its cells: `LSTM1997` for streams without an end.

    i_t, f_t, o_t = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o), one of each a block
    c_t = f_t c_{t-1} + i_t g(z_c);  h_t = o_t r(c_t);  z_t = x_t w_x + h_{t-1} w_h + b

    g and r are logistic in [-g_range, g_range] and [-h_range, h_range]; the paper calls the cell state s. Gers,
    Schmidhuber & Cummins 2000, section 3 (equations) and section 4 (connections and biases of its networks): gates and
    cell inputs read the cell outputs of the step before, not the gates; gates are biased, cell inputs are not.

    N blocks with H cells in all make Z = 3N + H units, with (D + H) Z + 3N weights. The network for the continual
    embedded Reber grammar has D = 7, N = 4, H = 8: 312, and (D + H + 1) K = 112 of K = 7 outputs that read inputs and
    cells, 424 in all. Its biases are -.5, -1, -1.5, -2 for input and output gates and .5, 1, 1.5, 2 for forget gates,
    all else is drawn from U[-.2, .2], and its gradient is truncated.
    """

    source: ClassVar[str] = "Gers, Schmidhuber & Cummins 2000, sections 3 and 4"

    forget_biases: tuple[float, ...] = chz.field(default=(), doc="the same for its forget gate")
    biased: Literal["all units", "gates"] = chz.field(default="gates", doc="units that have a bias")

    @property
    def gate_biases(self) -> dict[str, tuple[float, ...]]:
        first, last = super().gate_biases.items()
        return dict([first, ("forget_biases", self.forget_biases), last])

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> LSTM2000Cell:
        gates = 3 * self.num_blocks
        units = gates + self.features
        w_x, w_h = (self._draw(rngs, (width, units)) for width in (in_features, self.features))
        b = self._draw_biases(rngs, gates if self.biased == "gates" else units)
        return LSTM2000Cell(self, in_features, w_x, w_h, b)

    def readout_options(self) -> dict[str, Any]:
        return super().readout_options() | {"use_bias": True}


class LSTM2000Cell(MemoryBlockCell):
    """c_t = f c_{t-1} + i g and h_t = o r(c_t); carry (c, h). At fixed z, dc_t/dc_{t-1} is diag(f).

    Parameters: w_x [D, Z] and w_h [H, Z], the columns by input, forget and output gates and cells; b [3N], or [Z].
    With the truncated gradient the outgoing h is a constant to the next step; y_t is not.
    """

    carry_names = ("c", "h")
    gate_names = "ifo"

    def projection(self):
        w_x, w_h, b = (w[...].astype(self.dtype) for w in (self.w_x, self.w_h, self.b))
        return w_x, w_h, jnp.pad(b, (0, w_h.shape[1] - len(b)))

    def gates(self, z: Float[Array, "*B Z"]) -> dict[str, Float[Array, "*B H"]]:
        """i, f and o of every cell's block, and its own g."""
        return self.named(jax.nn.sigmoid(z))

    def update(self, carry: tuple[Array, Array], z: Float[Array, "*B Z"]):
        c, h = carry
        units = jax.nn.sigmoid(z)
        c, y = self.step(self.spread(units)["f"] * c, units, h.dtype)
        return (c, *self.back(y)), y
