"""Long short-term memory with a recurrent projection: fewer outputs than memory cells."""

from __future__ import annotations

from typing import ClassVar

import chz
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rnnlab.cells.lstm import LSTM, LSTMCell
from rnnlab.cells.weights import recurrent_weights
from rnnlab.specs.fields import field


@chz.chz
class ProjectionLSTM(LSTM):
    """An LSTM of N memory cells whose outputs are projected to H numbers, which are y and what its gates read.

    i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o);  g = tanh(z_g)
    c_t = f c_{t-1} + i g;                               h_t = (o tanh(c_t)) w_r

    H is `features` (torch's proj_size), N is `cells` (torch's hidden_size). Sak, Senior & Beaufays 2014, section 2, in
    the form of PyTorch's nn.LSTM: without their peepholes and without the projection that is not fed back. w_h [H, 4N]
    is the first H rows of that of an LSTM of N cells, w_r [N, H] the first H columns of one more such matrix: with
    recurrent=orthogonal rows and columns are orthonormal, with recurrent=uniform they are PyTorch's U[-1/sqrt(N), ...].
    """

    source: ClassVar[str] = "Sak, Senior & Beaufays 2014, section 2"

    cells: int | None = field(None, "memory cells N, at least as many as features; left out, twice as many", low=1)

    @chz.validate
    def _projects_to_fewer(self):
        if self.num_cells < self.features:
            raise ValueError(f"cells={self.cells}: must be at least features={self.features}, which they project to")

    @property
    def num_cells(self) -> int:
        """N."""
        return 2 * self.features if self.cells is None else self.cells

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> ProjectionLSTMCell:
        whole = LSTM.build(chz.replace(self, features=self.num_cells), in_features, rngs=rngs)
        w_r = recurrent_weights(rngs.params(), self.recurrent, self.num_cells, 1)[:, : self.features]
        return ProjectionLSTMCell(self, in_features, whole.w_x[...], whole.w_h[: self.features], whole.b[...], w_r)


class ProjectionLSTMCell(LSTMCell):
    """c_t = f c_{t-1} + i g and h_t = (o tanh(c_t)) w_r; carry (c [N], h [H]). At fixed z, dc_t/dc_{t-1} is diag(f).

    Parameters: w_x [D, 4N], w_h [H, 4N], b [4N] by i, f, g, o, N columns each; w_r [N, H].
    """

    blocks = ("i", "f", "g", "o")

    def __init__(self, spec: ProjectionLSTM, in_features: int, w_x: Array, w_h: Array, b: Array, w_r: Array):
        super().__init__(spec, in_features, w_x, w_h, b)
        self.w_r = nnx.Param(w_r.astype(jnp.dtype(spec.param_dtype)))

    def update(self, carry: tuple[Array, Array], z: Float[Array, "*B Z"]):
        (c, _), unprojected = super().update(carry, z)
        h = unprojected @ self.w_r[...].astype(unprojected.dtype)
        return (c, h), h

    def initialize_carry(self, input_shape: tuple[int, ...], rngs=None, carry_init=None):
        c, h = super().initialize_carry(input_shape, rngs, carry_init)
        return jnp.zeros((*c.shape[:-1], len(self.w_r)), c.dtype), h
