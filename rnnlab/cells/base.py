"""The base of every rnnlab cell: a spec that builds a Flax NNX module whose step is a projection and an update."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import chz
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PyTree

from rnnlab.specs.fields import field

DType = Literal["float32", "bfloat16", "float64"]


@chz.chz
class CellSpec:
    """The specification of a cell, from which `build` makes the module."""

    source: ClassVar[str] = ""  # of its equation: author, year, section

    features: int = field(64, "hidden width H", low=1)
    dtype: DType = chz.field(default="float32", doc="computation dtype; sums over time stay at least float32")
    param_dtype: DType = chz.field(default="float32", doc="dtype in which parameters are kept and updated")

    def readout_options(self) -> dict[str, Any]:
        """Options of `nnx.Linear` for the readout of a model with this cell; those left out have Flax's defaults."""
        return {}

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> nnx.RNNCellBase:
        """The module for inputs of width D = `in_features`, its weights drawn from `rngs.params()`."""
        raise TypeError(f"{type(self).__name__} builds no cell: choose one of its subclasses")


class CellBase(nnx.RNNCellBase):
    """A step (carry, x) -> (carry, y): z = project(h, x), then `update(carry, z)`.

    For a cell whose z is not linear in h, such as a GRU that resets h before its product: a subclass writes `project`,
    `update` and, where it has them, `gates`. It has no `projection`, so `unroll` runs it in the general form. A path
    via a gate is all that goes through its block of z, what acts within it included. All other cells are a `Cell`.
    """

    carry_names: ClassVar[tuple[str, ...]] = ("h",)
    blocks: ClassVar[tuple[str, ...]] = ()  # the gate of each of z's equal blocks; left out, `gates`, H columns each
    carry_may_mix: ClassVar[bool] = True  # whether a mean of two carries is a carry, as zoneout makes
    kernel: ClassVar[str] = ""  # the compiled layer in rnnlab/scan that equals this class, though no subclass of it
    h_carries_gradient: bool = True  # whether the gradient of y reaches back through the carry's h, which equals it

    def __init__(self, spec: CellSpec, in_features: int, w_x: Array, w_h: Array | None, b: Array | None):
        """Without a w_h the cell has no recurrent matrix: h comes back through `update` alone. b may be left out."""
        dtype = jnp.dtype(spec.param_dtype)
        self.features = spec.features
        self.in_features = in_features
        self.dtype = jnp.dtype(spec.dtype)
        self.w_x = nnx.Param(w_x.astype(dtype))
        self.w_h = None if w_h is None else nnx.Param(w_h.astype(dtype))
        self.b = None if b is None else nnx.Param(b.astype(dtype))

    def project(self, h: Float[Array, "*B H"], x: Float[Array, "*B D"]) -> Float[Array, "*B Z"]:
        """z_t from h_{t-1} and x_t."""
        raise TypeError(f"{type(self).__name__} has no project")

    def update(self, carry: PyTree, z: Float[Array, "*B Z"]) -> tuple[PyTree, Float[Array, "*B H"]]:
        """carry_t and y_t from carry_{t-1} and z_t. What a subclass writes."""
        raise TypeError(f"{type(self).__name__} has no update")

    def gates(self, z: Float[Array, "*B Z"]) -> dict[str, Float[Array, "*B H"]]:
        """Gates and other internals that z_t determines, by name; none for a cell without gates.

        Each is as wide as a component of the carry, which is H but in a cell that projects its output.
        """
        del z
        return {}

    def internals(self, carry: PyTree, z: Float[Array, "*B Z"]) -> dict[str, Float[Array, "*B H"]]:
        """`gates(z_t)`, and of a cell whose gates read carry_{t-1} besides z_t (through peepholes) these as well."""
        del carry
        return self.gates(z)

    def __call__(self, carry: PyTree, inputs: Float[Array, "*B D"]) -> tuple[PyTree, Float[Array, "*B H"]]:
        return self.update(carry, self.project(jax.tree.leaves(carry)[-1], inputs))

    def initialize_carry(self, input_shape: tuple[int, ...], rngs=None, carry_init=None) -> PyTree:
        """Zeros for inputs of `input_shape` [*B, D]; needs no rngs. A cell state is kept in at least float32."""
        del rngs, carry_init
        shape = (*input_shape[:-1], self.features)
        h = jnp.zeros(shape, self.dtype)
        if len(self.carry_names) == 1:
            return h
        state = jnp.zeros(shape, jnp.promote_types(self.dtype, jnp.float32))
        return (*[state] * (len(self.carry_names) - 1), h)

    @property
    def num_feature_axes(self) -> int:
        return 1


class Cell(CellBase):
    """A step (carry, x) -> (carry, y): z = x w_x + h w_h + b, then `update(carry, z)`.

    A subclass writes `update` and, where it has them, `gates`; it states the names of its carry's
    components (h last, y is h). The fast `unroll`, adjoint norms, segments and path decomposition follow from that.
    """

    def projection(self) -> tuple[Float[Array, "D Z"], Float[Array, "H Z"], Float[Array, " Z"]]:
        """(w_x, w_h, b) in the computation dtype. w_h or b is zeros in a cell without one."""
        w_x = self.w_x[...].astype(self.dtype)
        b = jnp.zeros(w_x.shape[1], self.dtype) if self.b is None else self.b[...].astype(self.dtype)
        if self.w_h is None:
            return w_x, jnp.zeros((self.features, w_x.shape[1]), self.dtype), b
        return w_x, self.w_h[...].astype(self.dtype), b

    def project(self, h: Float[Array, "*B H"], x: Float[Array, "*B D"]) -> Float[Array, "*B Z"]:
        """z_t = x_t w_x + h_{t-1} w_h + b."""
        w_x, w_h, b = self.projection()
        return x.astype(w_x.dtype) @ w_x + h.astype(w_h.dtype) @ w_h + b
