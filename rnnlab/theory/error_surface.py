"""The error surface of a recurrent network with two parameters, its gradient, and its wall in closed form."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import expit


class Surface(NamedTuple):
    """E and dE/d(w, b) at points (w, b), arrays of one shape."""

    error: Float[np.ndarray, ...]
    d_w: Float[np.ndarray, ...]
    d_b: Float[np.ndarray, ...]

    @property
    def steepness(self) -> Float[np.ndarray, ...]:
        """The norm of the gradient."""
        return np.hypot(self.d_w, self.d_b)


def two_parameter_surface(
    w: Float[np.ndarray, ...] | float,
    b: Float[np.ndarray, ...] | float,
    *,
    start: float = 0.5,
    steps: int = 50,
    target: float = 0.7,
) -> Surface:
    """E = (s(x_steps) - target)^2 of x_t = w s(x_{t-1}) + b from x_0 = start, s the logistic function.

    Pascanu, Mikolov & Bengio 2013, section 2.3 and figure 6, whose values are the defaults. In float64, its
    derivatives by forward accumulation.
    """
    w, b = np.broadcast_arrays(np.asarray(w, np.float64), np.asarray(b, np.float64))
    x, x_w, x_b = np.full(w.shape, start), np.zeros(w.shape), np.zeros(w.shape)
    for _ in range(steps):
        y = expit(x)
        slope = w * y * (1 - y)
        x, x_w, x_b = w * y + b, slope * x_w + y, slope * x_b + 1
    y = expit(x)
    outer = 2 * (y - target) * y * (1 - y)
    return Surface((y - target) ** 2, outer * x_w, outer * x_b)


def wall(w: Float[np.ndarray, ...] | float, *, start: float = 0.5) -> Float[np.ndarray, ...]:
    """b at which `start` is the unstable fixed point between two basins; nan where it is stable.

    On one side of it the state runs to the lower fixed point, on the other to the upper one: the surface's wall.
    """
    y = expit(start)
    w = np.asarray(w, np.float64)
    return np.where(w * y * (1 - y) > 1, start - w * y, np.nan)


def steepness_at_wall(w: float, *, start: float = 0.5, steps: int = 50, target: float = 0.7) -> float:
    """|dE/db| on the wall: there x stays at `start`, so dx_steps/db = (a^steps - 1) / (a - 1), a = w s'(start)."""
    y = expit(start)
    a = w * y * (1 - y)
    return float(abs(2 * (y - target) * y * (1 - y) * (a**steps - 1) / (a - 1)))
