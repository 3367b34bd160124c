"""Recurrent networks whose recurrent matrix is antisymmetric, with and without a gate."""

from __future__ import annotations

from typing import ClassVar

import chz
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from rnnlab.cells.base import Cell, CellSpec
from rnnlab.cells.weights import input_weights
from rnnlab.specs.fields import field


@chz.chz
class AntisymmetricRNN(CellSpec):
    """Euler steps of a differential equation that is stable and forgets little, by an antisymmetric recurrent matrix.

    h_t = h_{t-1} + epsilon tanh(x_t w_x + h_{t-1} (W - W^T - gamma I) + b)

    In continuous time every eigenvalue l of the derivative by h is imaginary with gamma = 0, so nothing vanishes or
    explodes; an Euler step multiplies by |1 + epsilon l|, above 1, against which gamma damps. W is strictly triangular,
    which leaves nothing out: H (H - 1) / 2 weights from N(0, 1/H). Chang, Chen, Haber & Chi 2019, equation 12;
    epsilon and gamma are those of their simulations, section 4.
    """

    source: ClassVar[str] = "Chang et al. 2019, equation 12"

    epsilon: float = field(0.1, "step size of Euler's method", above=0)
    gamma: float = field(0.15, "diffusion: what is taken off the diagonal", low=0)

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> AntisymmetricRNNCell:
        w_x = input_weights(rngs.params(), in_features, self.features, 1)
        return AntisymmetricRNNCell(self, in_features, w_x, self._triangle(rngs), jnp.zeros(self.features))

    def _triangle(self, rngs: nnx.Rngs) -> Float[Array, " N"]:
        count = self.features * (self.features - 1) // 2
        return jax.random.normal(rngs.params(), (count,), jnp.float32) / jnp.sqrt(self.features)


class AntisymmetricRNNCell(Cell):
    """h_t = h_{t-1} + epsilon tanh(z_t). At fixed z, dh_t/dh_{t-1} is 1.

    Parameters: w_x [D, H], b [H] and w_h [H (H - 1) / 2], W above its diagonal by rows.
    """

    def __init__(self, spec: AntisymmetricRNN, in_features: int, w_x: Array, w_h: Array, b: Array):
        super().__init__(spec, in_features, w_x, w_h, b)
        self.epsilon, self.gamma = spec.epsilon, spec.gamma

    def recurrent_matrix(self) -> Float[Array, "H H"]:
        """W - W^T - gamma I in the computation dtype."""
        upper = jnp.zeros((self.features, self.features), self.dtype)
        upper = upper.at[np.triu_indices(self.features, 1)].set(self.w_h[...].astype(self.dtype))
        return upper - upper.T - self.gamma * jnp.eye(self.features, dtype=self.dtype)

    def projection(self) -> tuple[Float[Array, "D Z"], Float[Array, "H Z"], Float[Array, " Z"]]:
        w_x, b = self.w_x[...].astype(self.dtype), self.b[...].astype(self.dtype)
        return w_x, jnp.tile(self.recurrent_matrix(), len(b) // self.features), b

    def update(self, carry: Float[Array, "*B H"], z: Float[Array, "*B H"]):
        h = (carry + self.epsilon * jnp.tanh(z)).astype(carry.dtype)
        return h, h


@chz.chz
class GatedAntisymmetricRNN(AntisymmetricRNN):
    """The antisymmetric network with an input gate i, which reads h through the same antisymmetric matrix.

    i = sigmoid(z_i);  g = tanh(z_g);  h_t = h_{t-1} + epsilon i g
    z_i, z_g = x_t w_x + h_{t-1} (W - W^T - gamma I) + b, with a w_x and a b of each

    Chang, Chen, Haber & Chi 2019, section 3.4, equation 13.
    """

    source: ClassVar[str] = "Chang et al. 2019, equation 13"

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> GatedAntisymmetricRNNCell:
        w_x = input_weights(rngs.params(), in_features, self.features, 2)
        return GatedAntisymmetricRNNCell(self, in_features, w_x, self._triangle(rngs), jnp.zeros(2 * self.features))


class GatedAntisymmetricRNNCell(AntisymmetricRNNCell):
    """h_t = h_{t-1} + epsilon i g. At fixed z, dh_t/dh_{t-1} is 1. w_x [D, 2H] and b [2H] by i, g."""

    def gates(self, z: Float[Array, "*B Z"]) -> dict[str, Float[Array, "*B H"]]:
        i, g = jnp.split(z, 2, axis=-1)
        return {"i": jax.nn.sigmoid(i), "g": jnp.tanh(g)}

    def update(self, carry: Float[Array, "*B H"], z: Float[Array, "*B Z"]):
        i, g = self.gates(z).values()
        h = (carry + self.epsilon * i * g).astype(carry.dtype)
        return h, h
