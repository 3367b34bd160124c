"""Paths of a series, drawn step by step from a network's quantiles of the next one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rnnlab.forecasting.scaling import QUANTILES, Scaling


def drawn(quantiles: Float[Array, "*B Q"], uniform: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """The inverse distribution function at `uniform`, linear between the quantiles, which are sorted first.

    Beyond the outermost two it goes on along the line through them and their neighbours. Sorting is the rearrangement
    of Chernozhukov, Fernandez-Val & Galichon 2010; it never increases the mean quantile loss.
    """
    levels, sorted_ = jnp.array(QUANTILES, quantiles.dtype), jnp.sort(quantiles, axis=-1)
    place: Int[Array, "*B"] = jnp.clip(jnp.searchsorted(levels, uniform) - 1, 0, len(QUANTILES) - 2)
    low, high = (jnp.take_along_axis(sorted_, (place + k)[..., None], axis=-1)[..., 0] for k in (0, 1))
    return low + (high - low) * (uniform - levels[place]) / (levels[place + 1] - levels[place])


def sample_paths(
    model: Any, inputs: Float[Array, "T O 1"], scaling: Scaling, steps: int, key: Array, paths: int
) -> Float[Array, "O h S"]:
    """S paths of so many steps after each window, without scale: values of u, or their changes from the origin.

    Args:
      model: a sequence model whose answer at each step are the scaled quantiles of the next value, or change.
      inputs: scaled windows.
      scaling: of the network's inputs and answers.
      steps: h.
      key: of the draws.
      paths: S.
    """
    repeated = jnp.repeat(inputs, paths, axis=1)
    outputs, carry = model(repeated, answers=1, return_carry=True)

    def step(state, key):
        carry, quantiles = state
        raw = drawn(quantiles, jax.random.uniform(key, quantiles.shape[:1], quantiles.dtype))
        raw = raw * scaling.scale[0] + scaling.mean[0]
        x = (raw - scaling.input_mean[0]) / scaling.input_scale[0]
        carry, y = model.step(carry, x[:, None])
        return (carry, model.outputs(y)), raw

    _, raw = jax.lax.scan(step, (carry, outputs[0]), jax.random.split(key, steps))
    moved = raw if scaling.transform == "levels" else jnp.cumsum(raw, axis=0)
    return jnp.moveaxis(moved.reshape(steps, -1, paths), 0, 1)
