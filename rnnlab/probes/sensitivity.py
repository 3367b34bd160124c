"""Input-to-output sensitivity: how much the last output would change with each earlier input."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rnnlab.model import SequenceModel
from rnnlab.probes.scaled import LogNorm, normalise, scale
from rnnlab.segments import wide


def sensitivity(model: SequenceModel, inputs: Float[Array, "T B D"]) -> LogNorm:
    """||dy_{T-1}/dx_t||, the Frobenius norm of the [K, D] Jacobian of the last output, by lag and example.

    One walk back for each output, its adjoint kept at unit size by exact powers of two: no lag underflows. The
    readout is the model's own and its outputs are those it gives (logits, not probabilities).

    Args:
      model: its cells may be rnnlab's or Flax's own.
      inputs: [T, B, D].

    Returns:
      [T, B] by lag: lag 0 is the last step's own input. `log10()` is -inf where the output does not depend on an
      input at all, nan where weights or states are not finite.
    """
    d_xs, exponent = _jacobian(model, inputs)
    return _combined(d_xs, exponent)


def sensitivity_by_input(model: SequenceModel, inputs: Float[Array, "T B D"]) -> list[LogNorm]:
    """||dy_{T-1}/dx_{t,d}|| of each input component d by itself: D times [T, B], as `sensitivity`."""
    d_xs, exponent = _jacobian(model, inputs)
    each = jnp.split(d_xs, d_xs.shape[-1], axis=-1)
    return [_combined(d_x, exponent) for d_x in each]


def _jacobian(model, inputs) -> tuple[Float[Array, "K T B D"], Int[Array, "K T B"]]:
    """dy_{T-1}/dx_t as mantissa and exponent, the largest mantissa of each row near 1; lag 0 first."""
    carries = model.initial_carry(inputs.shape[1])

    def forward(carries, x):
        new, y = model.step(carries, x)
        return new, (carries, y)

    _, (before, ys) = jax.lax.scan(forward, carries, inputs)
    output, pull_readout = jax.vjp(model.readout, ys[-1])

    def walk(direction):
        (d_y,) = pull_readout(jnp.broadcast_to(direction, output.shape))
        _, pull = jax.vjp(model.step, jax.tree.map(lambda c: c[-1], before), inputs[-1])
        zero = jax.tree.map(jnp.zeros_like, carries)
        d_y, exponent = normalise(d_y, jnp.zeros(d_y.shape[:-1], jnp.int32))
        d_carries, d_x = pull((zero, d_y))

        def body(state, step):
            d_carries, exponent = state
            d_carries, exponent = normalise(d_carries, exponent)
            _, pull = jax.vjp(model.step, *step)
            d_carries, d_x = pull((d_carries, jnp.zeros_like(d_y)))
            return (d_carries, exponent), (d_x, exponent)

        earlier = jax.tree.map(lambda a: a[:-1], (before, inputs))
        _, (d_xs, exponents) = jax.lax.scan(body, (d_carries, exponent), earlier, reverse=True)
        d_xs = jnp.concatenate([d_x[None], d_xs[::-1]])
        return normalise(d_xs, jnp.concatenate([exponent[None], exponents[::-1]]))

    return jax.vmap(walk)(jnp.eye(output.shape[-1], dtype=output.dtype))


def _combined(d_xs: Float[Array, "K T B D"], exponent: Int[Array, "K T B"]) -> LogNorm:
    """The Frobenius norm over outputs and inputs, each output brought to the exponent of the largest."""
    common = jnp.max(exponent, axis=0)
    d_xs = scale(d_xs, exponent - common)
    d_xs = d_xs.astype(wide(d_xs))
    return LogNorm(jnp.sqrt(jnp.sum(jnp.square(d_xs), axis=(0, -1))), common)
