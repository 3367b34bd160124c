"""The base of cells whose state is a linear recurrence, given the inputs: they may run parallel in time."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from rnnlab.cells.base import Cell, CellSpec


class LinearRecurrenceCell(Cell):
    """s_t = a(z_t) s_{t-1} + b(z_t), elementwise, where z_t = x_t w_x + b does not read the state.

    A subclass writes `coefficients` and, where y is not the state, `output`. Its carry h [*B, H] is the state, or, of
    a complex one [*B, H/2], the real parts beside the imaginary parts. At fixed z, ds_t/ds_{t-1} is diag(a), and since
    there is no w_h that is the whole of it: the direct path is the full gradient. Parameters: w_x [D, Z] and, in a
    cell that has one, b [Z].
    """

    def __init__(self, spec: CellSpec, in_features: int, w_x: Array, b: Array | None = None):
        super().__init__(spec, in_features, w_x, None, b)
        self.h_carries_gradient = self.dtype == self._state_dtype  # y is the state, rounded where the dtype is shorter

    def coefficients(self, z: Float[Array, "*B Z"]) -> tuple[Inexact[Array, "..."], Inexact[Array, "*B N"]]:
        """a, or what broadcasts to it, and b. What a subclass writes."""
        raise TypeError(f"{type(self).__name__} has no coefficients")

    def output(self, carry: Float[Array, "*B H"], z: Float[Array, "*B Z"]) -> Float[Array, "*B H"]:
        """y_t from carry_t and z_t: the state itself, unless a subclass says otherwise."""
        del z
        return carry.astype(self.dtype)

    def update(self, carry: Float[Array, "*B H"], z: Float[Array, "*B Z"]):
        z = z.astype(jnp.promote_types(z.dtype, jnp.float32))  # a gate near 1 is 1 in bfloat16
        a, b = self.coefficients(z)
        if jnp.iscomplexobj(b):
            state = a * jax.lax.complex(*jnp.split(carry, 2, axis=-1)) + b
            carry = jnp.concatenate([state.real, state.imag], axis=-1)
        else:
            carry = (a * carry + b).astype(carry.dtype)
        return carry, self.output(carry, z)

    def project(self, h: Float[Array, "*B H"], x: Float[Array, "*B D"]) -> Float[Array, "*B Z"]:
        """z_t = x_t w_x + b: the state is not read."""
        del h
        w_x, _, b = self.projection()
        return x.astype(w_x.dtype) @ w_x + b

    def initialize_carry(self, input_shape: tuple[int, ...], rngs=None, carry_init=None) -> Float[Array, "*B H"]:
        """Zeros for inputs of `input_shape` [*B, D]: a sum over time, so at least float32."""
        del rngs, carry_init
        return jnp.zeros((*input_shape[:-1], self.features), self._state_dtype)

    @property
    def _state_dtype(self):
        return jnp.promote_types(self.dtype, jnp.float32)
