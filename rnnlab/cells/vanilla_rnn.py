"""The vanilla (Elman) recurrent network, the baseline whose gradient vanishes or explodes."""

from __future__ import annotations

from typing import ClassVar, Literal

import chz
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from rnnlab.cells.base import Cell, CellSpec
from rnnlab.cells.weights import Recurrent, input_weights, recurrent_weights
from rnnlab.specs.fields import field

Activation = Literal["tanh", "relu", "sigmoid", "linear"]
ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "linear": lambda z: z}


@chz.chz
class VanillaRNN(CellSpec):
    """h_t = tanh(x_t w_x + h_{t-1} w_h + b).

    Elman 1990, Finding structure in time; initialisations as in Le, Jaitly & Hinton 2015 (identity) and
    Pascanu, Mikolov & Bengio 2013, section 4 (a set spectral radius).
    """

    source: ClassVar[str] = "Elman 1990"
    activation: Activation = chz.field(default="tanh", doc="nonlinearity")
    recurrent: Recurrent = chz.field(default="orthogonal", doc="draw of the recurrent matrix w_h")
    spectral_radius: float | None = field(None, "rescale w_h to this largest |eigenvalue|", above=0)

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> VanillaRNNCell:
        w_x = input_weights(rngs.params(), in_features, self.features, 1)
        w_h = recurrent_weights(rngs.params(), self.recurrent, self.features, 1)
        if self.spectral_radius is not None:
            number, whole = (jax.ShapeDtypeStruct((), kind) for kind in (jnp.float32, jnp.int32))
            found = jax.pure_callback(self._scale, (number, number, whole), w_h)  # on the host: a build may be traced
            w_h = w_h * jnp.ldexp(found[0].astype(float) + found[1].astype(float), found[2])
        return VanillaRNNCell(self, in_features, w_x, w_h, jnp.zeros(self.features))

    def _scale(self, w_h) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The factor's mantissa as a float32, what that lacks, and its exponent.

        The host's thread does not know whether float64 is enabled in the one that builds; these types it has.
        """
        factor = self.spectral_radius / np.abs(np.linalg.eigvals(np.asarray(w_h, np.float64))).max()
        mantissa, exponent = np.frexp(factor)
        near = np.asarray(mantissa, np.float32)
        return near, np.asarray(mantissa - near, np.float32), np.asarray(exponent, np.int32)


class VanillaRNNCell(Cell):
    """h_t = activation(z_t). z alone determines h_t: nothing flows from h_{t-1} at fixed z."""

    def __init__(self, spec: VanillaRNN, in_features: int, w_x: Array, w_h: Array, b: Array):
        super().__init__(spec, in_features, w_x, w_h, b)
        self.activation = spec.activation

    def update(self, carry: Float[Array, "*B H"], z: Float[Array, "*B H"]):
        h = ACTIVATIONS[self.activation](z).astype(carry.dtype)
        return h, h
