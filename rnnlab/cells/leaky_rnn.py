"""The leaky-integrator network, the rate model of neuroscience in discrete time."""

from __future__ import annotations

from typing import ClassVar

import chz
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from rnnlab.cells.base import Cell
from rnnlab.cells.vanilla_rnn import ACTIVATIONS, VanillaRNN
from rnnlab.specs.fields import field


@chz.chz
class LeakyRNN(VanillaRNN):
    """A vanilla RNN whose units are leaky integrators with time constants of 1 / a steps.

    h_t = (1 - a) h_{t-1} + a tanh(x_t w_x + h_{t-1} w_h + b)

    With a = 1 it is the vanilla RNN; a = dt / tau is Euler's step of tau dh/dt = -h + tanh(...). The leak a is the same
    for all units or, with `slowest_leak`, falls geometrically from unit to unit from `leak` to that; it is not trained.
    Mozer 1992, Induction of multiscale temporal structure (tau_i there is 1 - a_i); as an echo state network Jaeger,
    Lukosevicius, Popovici & Siewert 2007, section 2.
    """

    source: ClassVar[str] = "Mozer 1992; Jaeger et al. 2007, section 2"

    leak: float = field(0.1, "part a of a state that a step replaces, of the fastest unit", above=0, high=1)
    slowest_leak: float | None = field(None, "of the slowest unit; left out, all units have `leak`", above=0, high=1)

    @chz.validate
    def _slowest_is_slower(self):
        if self.slowest_leak is not None and self.slowest_leak > self.leak:
            raise ValueError(f"slowest_leak={self.slowest_leak}: must be at most leak = {self.leak}")

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> LeakyRNNCell:
        vanilla = super().build(in_features, rngs=rngs)
        return LeakyRNNCell(self, in_features, *(w[...] for w in (vanilla.w_x, vanilla.w_h, vanilla.b)))


class LeakyRNNCell(Cell):
    """h_t = (1 - a) h_{t-1} + a activation(z_t). At fixed z, dh_t/dh_{t-1} is diag(1 - a)."""

    def __init__(self, spec: LeakyRNN, in_features: int, w_x: Array, w_h: Array, b: Array):
        super().__init__(spec, in_features, w_x, w_h, b)
        self.activation, self.leak, self.slowest_leak = spec.activation, spec.leak, spec.slowest_leak

    def leaks(self) -> float | Float[np.ndarray, " H"]:
        """a, by unit where units differ."""
        if self.slowest_leak is None:
            return self.leak
        return np.geomspace(self.leak, self.slowest_leak, self.features)

    def update(self, carry: Float[Array, "*B H"], z: Float[Array, "*B H"]):
        a = jnp.asarray(self.leaks(), z.dtype)
        h = ((1 - a) * carry + a * ACTIVATIONS[self.activation](z)).astype(carry.dtype)
        return h, h
