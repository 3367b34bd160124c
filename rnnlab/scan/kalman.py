"""A damped Newton step over a whole trajectory, as the mean of a Kalman smoother in parallel over time.

The Levenberg-Marquardt step d minimises sum_t |d_t - J_t d_{t-1} + r_t|^2 + damping |d_t|^2, d_0 = 0: the negative
log-posterior of a linear Gaussian model with transitions J_t d_{t-1} - r_t, noise of covariance 1, and observations
of every d_t as 0 with covariance 1 / damping (Gonzalez et al. 2024, section 4). Filter and smoother are prefix
sums (Sarkka & Garcia-Fernandez 2021, Temporal parallelization of Bayesian smoothers).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rnnlab.scan.affine import Matrices, affine_recurrence


def damped_step(
    kind: Matrices, jacobians: Array, residuals: Float[Array, "T B N"], damping: Float[Array, " B"]
) -> Float[Array, "T B N"]:
    """d for J_t = `jacobians` (whose first is not read), r_t = `residuals`, and a damping above 0 an example."""
    jacobians = jacobians.at[0].set(0)
    means, covariances = _filter(kind, jacobians, -residuals, damping / (1 + damping))
    following = jnp.concatenate([jacobians[1:], jnp.zeros_like(jacobians[:1])])
    added = jnp.concatenate([-residuals[1:], jnp.zeros_like(residuals[:1])])
    one = kind.identity(jacobians)
    back = kind.compose(covariances, kind.transpose(following))
    gains = kind.compose(back, kind.inverse(kind.compose(following, back) + one))
    return affine_recurrence(kind, gains, means - kind.apply(gains, kind.apply(following, means) + added), reverse=True)


def _filter(kind: Matrices, jacobians: Array, inputs: Array, gain: Float[Array, " B"]) -> tuple[Array, Array]:
    """Means and covariances of d_t given the observations up to t; `gain` is Kalman's for a covariance of 1."""
    one, transposed = kind.identity(jacobians), kind.transpose(jacobians)
    elements = (
        kind.scaled(1 - gain, jacobians),
        (1 - gain)[:, None] * inputs,
        kind.scaled(1 - gain, one),
        -gain[:, None] * kind.apply(transposed, inputs),
        kind.scaled(gain, kind.compose(transposed, jacobians)),
    )

    def then(early, late):
        (a, b, c, eta, j), (a_late, b_late, c_late, eta_late, j_late) = early, late
        inverse = kind.inverse(c)
        middle = kind.compose(kind.inverse(inverse + j_late), inverse)  # (1 + c j_late)^-1, of symmetric matrices
        forwards = kind.compose(a_late, middle)
        backwards = kind.compose(kind.transpose(a), kind.transpose(middle))
        return (
            kind.compose(forwards, a),
            kind.apply(forwards, b + kind.apply(c, eta_late)) + b_late,
            kind.compose(kind.compose(forwards, c), kind.transpose(a_late)) + c_late,
            kind.apply(backwards, eta_late - kind.apply(j_late, b)) + eta,
            kind.compose(kind.compose(backwards, j_late), a) + j,
        )

    _, means, covariances, _, _ = jax.lax.associative_scan(then, elements)
    return means, covariances
