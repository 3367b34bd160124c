"""Long short-term memory as it was published: memory blocks, no forget gate, a truncated gradient."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import chz
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rnnlab.cells.base import Cell, CellSpec
from rnnlab.specs.fields import field


@chz.chz
class LSTM1997(CellSpec):
    """Memory blocks of several cells that share an input gate i and an output gate o, one of each a block.

    i_t, o_t = sigmoid(z_i), sigmoid(z_o);  s_t = s_{t-1} + i_t g(z_c);  h_t = o_t r(s_t)
    z_t = x_t w_x + a_{t-1} w_g + h_{t-1} w_h + b,  a_t = (i_t, o_t)

    g and r are logistic in [-g_range, g_range] and [-h_range, h_range]. The hidden layer is fully connected: gates
    and cell inputs read every gate and every cell output of the step before. Hochreiter & Schmidhuber 1997,
    sections 4 and 5 and appendix A.1; their table 10 gives the ranges of g and h the other way round, the text as here.

    N blocks with H cells in all make Z = 2N + H units (`features` is H). A unit has D + Z weights and a bias, each of
    K outputs H weights and a bias: (D + Z + 1) Z + (H + 1) K, which is 93 for D = 2, N = 2, H = 4, K = 1 (experiments
    4 and 5), 156 (6a) and 308 (6b). Experiment 3 leaves out the outputs' biases (102), experiment 1 these and the
    cell inputs' (264, 276), experiment 2c all of them (364 and on). With biased="input gates" the other biases are no
    weights: they are 0 and stay so, N + (D + Z) Z + H K are left (86).
    """

    source: ClassVar[str] = "Hochreiter & Schmidhuber 1997, sections 4 and 5, appendix A.1"

    cells_per_block: int = field(2, "memory cells that share their gates; features is a multiple of it", low=1)
    input_biases: tuple[float, ...] = chz.field(default=(), doc="initial bias of each block's input gate; none: drawn")
    output_biases: tuple[float, ...] = chz.field(default=(), doc="the same for its output gate")
    init_range: float = field(0.1, "weights and biases are drawn from U[-init_range, init_range]", low=0)
    biased: Literal["all units", "input gates"] = chz.field(default="all units", doc="units that have a bias")
    g_range: float = field(2.0, "largest input that a cell takes at one step", above=0)
    h_range: float = field(1.0, "largest output of a cell", above=0)
    gradient: Literal["full", "truncated"] = chz.field(
        default="full", doc="truncated: no error goes back in time but along the cell states"
    )

    @chz.validate
    def _blocks_fit(self):
        size = self.cells_per_block
        if size >= 1 and self.features % size:
            fits = max(1, round(self.features / size)) * size
            raise ValueError(f"features={self.features}: cells come in blocks of {size}; the nearest is {fits}")
        for name, biases in self.gate_biases.items():
            if biases and len(biases) != self.num_blocks:
                raise ValueError(f"{name}={biases}: one a block, so {self.num_blocks}, or none")

    @property
    def num_blocks(self) -> int:
        """N."""
        return self.features // self.cells_per_block

    @property
    def gate_biases(self) -> dict[str, tuple[float, ...]]:
        """The initial biases of each gate by their field, in the order of z."""
        return {"input_biases": self.input_biases, "output_biases": self.output_biases}

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> LSTM1997Cell:
        units = 2 * self.num_blocks + self.features
        sources = (in_features, self.features, 2 * self.num_blocks)
        w_x, w_h, w_g = (self._draw(rngs, (width, units)) for width in sources)
        return LSTM1997Cell(self, in_features, w_x, w_h, self._draw_biases(rngs, units), w_g)

    def readout_options(self) -> dict[str, Any]:
        drawn = {"kernel_init": self._uniform, "bias_init": self._uniform}
        return drawn | {"use_bias": self.biased == "all units"}

    def _draw(self, rngs, shape):
        return self._uniform(rngs.params(), shape, jnp.float32)

    def _draw_biases(self, rngs, units):
        b = self._draw(rngs, (units,))
        for number, biases in enumerate(self.gate_biases.values()):
            at = number * self.num_blocks
            b = b.at[at : at + len(biases)].set(jnp.asarray(biases, b.dtype))
        return b

    def _uniform(self, key, shape, dtype, out_sharding=None):
        del out_sharding  # Flax may name one
        return jax.random.uniform(key, shape, dtype, -self.init_range, self.init_range)


class MemoryBlockCell(Cell):
    """A cell of memory blocks: the gates of a block are shared by its cells, and h_t = o_t r(s_t).

    With the truncated gradient what goes back to the next step's units is a constant to it; y_t is not.
    """

    gate_names: ClassVar[str] = ""  # in the order of z, N columns each, before the cells' inputs

    def __init__(self, spec: LSTM1997, in_features: int, w_x: Array, w_h: Array, b: Array):
        super().__init__(spec, in_features, w_x, w_h, b)
        no_biases = dict.fromkeys(spec.gate_biases, ())
        self.spec = chz.replace(spec, init_range=0.0, **no_biases)  # only the draw of the weights reads these
        self.h_carries_gradient = spec.gradient == "full"

    @property
    def blocks(self) -> tuple[str, ...]:
        gates = [gate for gate in self.gate_names for _ in range(self.spec.num_blocks)]
        return (*gates, *("g" * self.features))

    def spread(self, units: Float[Array, "*B Z"]) -> dict[str, Float[Array, "*B H"]]:
        """Each gate by name, for every cell of its block, from the activations of all units."""
        split = jnp.split(units[..., : -self.features], len(self.gate_names), axis=-1)
        size = self.spec.cells_per_block
        return {name: jnp.repeat(part, size, axis=-1) for name, part in zip(self.gate_names, split, strict=True)}

    def named(self, units: Float[Array, "*B Z"]) -> dict[str, Float[Array, "*B H"]]:
        """Gates and g of every cell, in the order i, f, g, o."""
        found = self.spread(units) | {"g": self.spec.g_range * (2 * units[..., -self.features :] - 1)}
        return {name: found[name] for name in "ifgo" if name in found}

    def step(self, kept: Array, units: Float[Array, "*B Z"], dtype) -> tuple[Array, Array]:
        """(s_t, y_t) from what is kept of s_{t-1} and the activations of all units; y_t in `dtype`."""
        gates, spec = self.spread(units), self.spec
        s = kept + gates["i"] * spec.g_range * (2 * units[..., -self.features :] - 1)
        return s, (gates["o"] * spec.h_range * (2 * jax.nn.sigmoid(s) - 1)).astype(dtype)

    def back(self, *values: Array) -> tuple[Array, ...]:
        """What the next step's units read."""
        return values if self.h_carries_gradient else jax.lax.stop_gradient(values)


class LSTM1997Cell(MemoryBlockCell):
    """s_t = s_{t-1} + i g and h_t = o r(s_t); carry (s, a, h), a the gates. At fixed z and a, ds_t/ds_{t-1} is 1.

    Parameters: w_x [D, Z], w_h [H, Z], w_g [2N, Z] and b [Z], the columns by input gates, output gates and cells.
    With the truncated gradient the outgoing a and h are constants to the next step; y_t is not.
    """

    carry_names = ("s", "gates", "h")
    gate_names = "io"

    def __init__(self, spec: LSTM1997, in_features: int, w_x: Array, w_h: Array, b: Array, w_g: Array):
        super().__init__(spec, in_features, w_x, w_h, b)
        self.w_g = nnx.Param(w_g.astype(jnp.dtype(spec.param_dtype)))

    def projection(self):
        w_x, w_h, b = super().projection()
        if self.spec.biased == "input gates":
            b = jnp.where(jnp.arange(len(b)) < self.spec.num_blocks, b, 0)
        return w_x, w_h, b

    def internals(self, carry: tuple[Array, Array, Array], z: Float[Array, "*B Z"]) -> dict[str, Float[Array, "*B H"]]:
        """i and o of every cell's block, and its own g."""
        return self.named(self._units(carry, z))

    def update(self, carry: tuple[Array, Array, Array], z: Float[Array, "*B Z"]):
        s, gates, h = carry
        units = self._units(carry, z)
        s, y = self.step(s, units, h.dtype)
        return (s, *self.back(units[..., : -self.features].astype(gates.dtype), y)), y

    def _units(self, carry: tuple[Array, Array, Array], z: Float[Array, "*B Z"]) -> Float[Array, "*B Z"]:
        return jax.nn.sigmoid(z + carry[1].astype(z.dtype) @ self.w_g[...].astype(z.dtype))

    def initialize_carry(self, input_shape: tuple[int, ...], rngs=None, carry_init=None):
        s, _, h = super().initialize_carry(input_shape, rngs, carry_init)
        return s, jnp.zeros((*h.shape[:-1], 2 * self.spec.num_blocks), h.dtype), h
