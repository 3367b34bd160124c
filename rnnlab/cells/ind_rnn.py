"""The independently recurrent network: each unit reads itself alone."""

from __future__ import annotations

from typing import ClassVar, Literal

import chz
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rnnlab.cells.base import Cell, CellSpec
from rnnlab.cells.vanilla_rnn import ACTIVATIONS, Activation
from rnnlab.cells.weights import input_weights
from rnnlab.specs.fields import field

GROWTH = 2.0  # the largest factor of a gradient over `max_lag` steps at first: gamma in section 3.1


@chz.chz
class IndRNN(CellSpec):
    """A recurrent network in which each unit has one recurrent weight, from itself; layers above mix the units.

    h_t = relu(x_t w_x + u * h_{t-1} + b)

    Over k steps a gradient is multiplied by u^k, unit by unit, where the ReLU is on. Draw of u, for `memory` and with
    T = max_lag:
    all lags: U[0, 2^(1/T)], so that units differ in how long they remember and none explodes within T steps;
    long lags: U[2^(-1/T), 2^(1/T)], the authors' choice for the top layer where only the last output is read.
    The paper also clips |u| to 2^(1/T) after each update; here u is free. Li, Li, Cook, Zhu & Gao 2018, section 3.1.
    """

    source: ClassVar[str] = "Li et al. 2018, section 3"

    activation: Activation = chz.field(default="relu", doc="nonlinearity")
    memory: Literal["all lags", "long lags"] = chz.field(default="all lags", doc="draw of the recurrent weights u")
    max_lag: int = field(1000, "longest dependency expected, in steps", low=1)

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> IndRNNCell:
        w_x = input_weights(rngs.params(), in_features, self.features, 1)
        high = GROWTH ** (1 / self.max_lag)
        low = 0.0 if self.memory == "all lags" else 1 / high
        u = jax.random.uniform(rngs.params(), (self.features,), jnp.float32, low, high)
        return IndRNNCell(self, in_features, w_x, jnp.zeros(self.features), u)


class IndRNNCell(Cell):
    """h_t = activation(z_t + u * h_{t-1}), z_t = x_t w_x + b. Parameters w_x [D, H], b [H] and u [H].

    No w_h: h comes back through the update alone, so all of the gradient is its direct path, diag(u) at each step
    whose units are on.
    """

    def __init__(self, spec: IndRNN, in_features: int, w_x: Array, b: Array, u: Array):
        super().__init__(spec, in_features, w_x, None, b)
        self.activation = spec.activation
        self.u = nnx.Param(u.astype(jnp.dtype(spec.param_dtype)))

    def update(self, carry: Float[Array, "*B H"], z: Float[Array, "*B H"]):
        u = self.u[...].astype(z.dtype)
        h = ACTIVATIONS[self.activation](z + u * carry).astype(carry.dtype)
        return h, h
