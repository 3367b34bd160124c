"""Theory of networks before training: the horizon of a wide random RNN, and the curse of memory."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Inexact

# The trapezoidal rule, exponentially accurate for what decays at both ends: right to 1e-12 up to variance 1000.
# Gauss-Hermite's 201 nodes leave 2e-5 at variance 11, as they thin out where tanh bends.
NODES = np.linspace(-10, 10, 4001)
WEIGHTS = np.exp(-(NODES**2) / 2) * (NODES[1] - NODES[0]) / math.sqrt(2 * math.pi)


class MeanField(NamedTuple):
    """A wide random tanh network at the fixed point of its pre-activations' variance."""

    variance: float  # q*, of a pre-activation z
    chi: float  # chi_1: the factor of the mean squared gradient norm, a step back
    rate: float  # (log chi_1) / 2: slope of the log gradient norm over lags, nats a step
    time_scale: float  # -1 / log chi_1: steps in which the squared norm falls by e; inf where it does not fall

    def horizon(self, fraction: float = 1e-3) -> float:
        """The lag at which the gradient norm falls to `fraction` of lag 0; inf where it does not fall.

        Raises:
          ValueError: fraction is not in (0, 1].
        """
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction={fraction}: a part of lag 0, above 0 and at most 1")
        return math.log(fraction) / self.rate if self.rate < 0 else math.inf


def tanh_network(sigma_w: float, *, sigma_b: float = 0.0, input_variance: float = 0.0) -> MeanField:
    """Mean-field theory of h_t = tanh(h_{t-1} w_h + x_t w_x + b) for width to infinity.

    q* = sigma_w^2 E[tanh(sqrt(q*) u)^2] + input_variance + sigma_b^2,   u ~ N(0, 1)
    chi_1 = sigma_w^2 E[tanh'(sqrt(q*) u)^2],   and E||dL/dh_{T-k}||^2 goes as chi_1^k

    Chen, Pennington & Schoenholz 2018 (their vanilla RNN); for deep networks Poole et al. 2016 and
    Schoenholz et al. 2017. The theory takes the weights as drawn anew at each step; that they are not matters
    only for narrow networks.

    Args:
      sigma_w: w_h's entries are N(0, sigma_w^2 / H): `recurrent="normal"` has 1.
      sigma_b: standard deviation of the biases.
      input_variance: of a component of x_t w_x (the paper's sigma_v^2 R): D Var[w_x] E[x^2].

    Raises:
      ValueError: a value is negative or not finite.
    """
    given = {"sigma_w": sigma_w, "sigma_b": sigma_b, "input_variance": input_variance}
    for name, value in given.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name}={value}: must be finite and at least 0")
    drive = input_variance + sigma_b**2
    variance = _fixed_point(sigma_w, drive)
    chi = sigma_w**2 * float(WEIGHTS @ (1 - np.tanh(math.sqrt(variance) * NODES) ** 2) ** 2)
    log_chi = math.log(chi) if chi > 0 else -math.inf
    return MeanField(variance, chi, log_chi / 2, -1 / log_chi if log_chi < 0 else math.inf)


def _fixed_point(sigma_w: float, drive: float) -> float:
    """The stable q*: the largest root of q = sigma_w^2 E[tanh^2] + drive.

    The right side is concave in q, so its largest root alone has map(q) < q above it and map(q) > q below,
    save that 0 is a root without drive: stable up to sigma_w = 1, unstable beyond.
    """
    if drive == 0 and sigma_w <= 1:
        return 0.0
    low, high = drive if drive > 0 else 1e-12, sigma_w**2 + drive
    while high - low > 1e-14 * high:  # bisection: at sigma_w near 1 the iterated map would take forever
        middle = (low + high) / 2
        if middle in (low, high):
            break
        grows = sigma_w**2 * float(WEIGHTS @ np.tanh(math.sqrt(middle) * NODES) ** 2) + drive > middle
        low, high = (middle, high) if grows else (low, middle)
    return (low + high) / 2


def linear_state_variance(eigenvalue: float | complex | Inexact[np.ndarray, "*N"]) -> Float[np.ndarray, "*N"]:
    """E|h_t|^2 = 1 / (1 - |lambda|^2) for h_t = lambda h_{t-1} + x_t, x white of variance 1, t to infinity.

    Zucchet & Orvieto 2024, section 2.2 (curse of memory). inf where |lambda| >= 1; NaN gives NaN.
    """
    r = _squared(eigenvalue)
    return np.where(r >= 1, np.inf, 1 / np.where(r >= 1, 1, 1 - r))


def linear_sensitivity_variance(eigenvalue: float | complex | Inexact[np.ndarray, "*N"]) -> Float[np.ndarray, "*N"]:
    """E|dh_t/dlambda|^2 = (1 + |lambda|^2) / (1 - |lambda|^2)^3 for the same recurrence.

    dh_t/dlambda = sum_n n lambda^(n-1) x_{t-n}, and sum_n n^2 r^(n-1) = (1 + r) / (1 - r)^3 for r = |lambda|^2:
    the gradient's variance grows as the cube of what the state's grows as, so a network that remembers has
    parameters it can hardly adjust (Zucchet & Orvieto 2024, section 2.2). inf where |lambda| >= 1.
    """
    r = _squared(eigenvalue)
    return np.asarray((1 + r) * linear_state_variance(eigenvalue) ** 3)


def _squared(eigenvalue) -> Float[np.ndarray, "*N"]:
    return np.asarray(np.abs(eigenvalue) ** 2)
