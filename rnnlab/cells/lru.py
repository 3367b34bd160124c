"""Linear recurrent unit: a diagonal linear recurrence with complex eigenvalues near the unit circle."""

from __future__ import annotations

import math
from typing import ClassVar

import chz
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Complex, Float

from rnnlab.cells.base import CellSpec
from rnnlab.cells.linear_recurrence import LinearRecurrenceCell
from rnnlab.cells.weights import input_weights
from rnnlab.specs.fields import field

FINITE = 1e-6  # the least distance of |lambda|^2 from 0 and 1, whose logs are infinite


@chz.chz
class LRU(CellSpec):
    """Linear recurrent unit: a complex state that rotates and decays, each unit at its own rate.

    s_t = lambda s_{t-1} + gamma B x_t,  lambda = exp(-exp(nu) + i exp(theta));  y_t = Re(C s_t) + D x_t

    Orvieto et al. 2023. |lambda| < 1 whatever nu is. The state has N = H/2 complex units, so H numbers as in other
    cells; with D inputs there are 2DH + H^2 + 3H/2 parameters. Initially lambda is uniform over the ring
    r_min <= |lambda| <= r_max with phases in [0, max_phase] (lemma 3.2); gamma, a parameter too, is
    sqrt(1 - |lambda|^2), so that white inputs leave the state as large as B x (section 3.4); B and C have variance 1/D
    and 2/N, half of it in the real part. D is a matrix [D, H], where theirs is diagonal for layers as wide as their
    inputs.
    """

    source: ClassVar[str] = "Orvieto et al. 2023, section 3 and appendix A"
    r_min: float = field(0.0, "smallest |lambda| at first", low=0, high=1)
    r_max: float = field(1.0, "largest |lambda| at first", above=0, high=1)
    max_phase: float = field(2 * math.pi, "largest phase of lambda at first, in radians", above=0, high=2 * math.pi)

    @chz.validate
    def _halves_and_a_ring(self):
        if self.features % 2:
            fits = self.features + 1
            raise ValueError(f"features={self.features}: half real parts, half imaginary parts; the nearest is {fits}")
        if self.r_min > self.r_max:
            raise ValueError(f"r_min={self.r_min}: must be at most r_max={self.r_max}")

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> LRUCell:
        units = self.features // 2
        w_x = input_weights(rngs.params(), in_features, self.features, 2)
        w_x = w_x.at[:, : self.features].multiply(math.sqrt(0.5))
        c = jax.random.normal(rngs.params(), (self.features, self.features), jnp.float32) / math.sqrt(units)
        phase = jax.random.uniform(rngs.params(), (units,), jnp.float32, FINITE, 1) * self.max_phase
        square = jax.random.uniform(rngs.params(), (units,), jnp.float32, self.r_min**2, self.r_max**2)
        square = jnp.clip(square, FINITE, 1 - FINITE)
        nu, gamma = jnp.log(-0.5 * jnp.log(square)), 0.5 * jnp.log1p(-square)
        return LRUCell(self, in_features, w_x, c, nu, jnp.log(phase), gamma)


class LRUCell(LinearRecurrenceCell):
    """s_t = lambda s_{t-1} + gamma z_s, y_t = Re(C s_t) + z_skip; carry h, the real parts of s, then the imaginary.

    Parameters: w_x [D, 2H] by the real part of B, its imaginary part, and D; c [H, H], the real part of C over minus
    its imaginary part; log_nu, log_theta, log_gamma [H/2].
    """

    blocks = ("state", "skip")

    def __init__(self, spec: LRU, in_features: int, w_x: Array, c: Array, nu: Array, theta: Array, gamma: Array):
        super().__init__(spec, in_features, w_x)
        dtype = jnp.dtype(spec.param_dtype)
        self.c = nnx.Param(c.astype(dtype))
        self.log_nu, self.log_theta, self.log_gamma = (nnx.Param(p.astype(dtype)) for p in (nu, theta, gamma))
        self.h_carries_gradient = False  # y is another thing than the state

    def eigenvalues(self) -> Complex[Array, " N"]:
        """lambda."""
        nu, theta = (jnp.exp(log[...].astype(self._state_dtype)) for log in (self.log_nu, self.log_theta))
        return jnp.exp(jax.lax.complex(-nu, theta))

    def coefficients(self, z: Float[Array, "*B Z"]):
        units = self.features // 2
        drive = jax.lax.complex(z[..., :units], z[..., units : 2 * units])
        return self.eigenvalues(), jnp.exp(self.log_gamma[...].astype(z.dtype)) * drive

    def output(self, carry: Float[Array, "*B H"], z: Float[Array, "*B Z"]) -> Float[Array, "*B H"]:
        skip = z[..., self.features :].astype(self.dtype)
        return carry.astype(self.dtype) @ self.c[...].astype(self.dtype) + skip
