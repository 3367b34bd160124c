"""Input-to-output sensitivity: how much the last output would change with each earlier input."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.extended_range import LogNorm, normalise, scale
from rnnlab.probes.gradients.reverse_scan import StepAdjoints, reverse_scan
from rnnlab.probes.precision import at_full_precision
from rnnlab.scan.segments import sum_dtype


@at_full_precision
def sensitivity(model: SequenceModel, inputs: Float[Array, "T B D"]) -> LogNorm:
    """||dy_{T-1}/dx_t||, the Frobenius norm of the [K, D] Jacobian of the last output, by lag and example.

    One reverse scan for each output, each layer's adjoint kept at unit size by exact powers of two: no lag underflows.
    The outputs are those of the model's own readout (logits, not probabilities).

    Args:
      model: its cells may be rnnlab's or Flax's own.
      inputs: [T, B, D].

    Returns:
      [T, B] by lag: lag 0 is the last step's own input. `log10()` is -inf where the output does not depend on an
      input at all, nan where weights or states are not finite.
    """
    d_xs, exponent = _jacobian(model, inputs)
    return _combined(d_xs, exponent)


@at_full_precision
def sensitivity_by_input(model: SequenceModel, inputs: Float[Array, "T B D"]) -> list[LogNorm]:
    """||dy_{T-1}/dx_{t,d}|| of each input component d by itself: D times [T, B], as `sensitivity`."""
    d_xs, exponent = _jacobian(model, inputs)
    each = jnp.split(d_xs, d_xs.shape[-1], axis=-1)
    return [_combined(d_x, exponent) for d_x in each]


def _jacobian(model, inputs) -> tuple[Float[Array, "K T B D"], Int[Array, "K T B"]]:
    """dy_{T-1}/dx_t as mantissa and exponent, the largest mantissa of each row near 1; lag 0 first."""
    outputs = jax.eval_shape(lambda: model(inputs[-1:])).shape[-1]

    def row(direction: Float[Array, " K"]):
        def output(outputs):
            return outputs[-1] @ direction.astype(outputs.dtype)

        return reverse_scan(model, inputs, output, 1, np.ones((1, 1), bool), _of_input)[0]

    return jax.vmap(row)(jnp.eye(outputs))


def _of_input(adjoints: StepAdjoints) -> tuple[Float[Array, "n B D"], Int[Array, "n B"]]:
    return normalise(adjoints.d_x[:, 0], adjoints.exponent[:, 0])


def _combined(d_xs: Float[Array, "K T B D"], exponent: Int[Array, "K T B"]) -> LogNorm:
    """The Frobenius norm over outputs and inputs, each output scaled to the exponent of the largest."""
    common = jnp.max(exponent, axis=0)
    d_xs = scale(d_xs, exponent - common)
    d_xs = d_xs.astype(sum_dtype(d_xs))
    return LogNorm(jnp.sqrt(jnp.sum(jnp.square(d_xs), axis=(0, -1))), common)
