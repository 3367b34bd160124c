"""What truncated back-propagation through time loses of the gradient, by truncation length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.reverse_scan import Losses
from rnnlab.probes.precision import at_full_precision
from rnnlab.scan.segments import sum_dtype
from rnnlab.scan.unroll import unroll


class TruncationBias(NamedTuple):
    """The truncated gradient of the mean loss against the full one, by truncation length."""

    truncation: Int[Array, " n"]  # steps
    error: Float[Array, " n"]  # ||truncated - full|| / ||full||: 1 is that of no gradient at all
    cosine: Float[Array, " n"]  # of the angle between them: below 0 an update climbs
    length: Float[Array, " n"]  # ||truncated|| / ||full||


@at_full_precision
def truncation_bias(
    model: SequenceModel,
    inputs: Num[Array, "T B *D"],
    losses: Losses,
    answers: int = 1,
    truncations: Sequence[int] = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
) -> TruncationBias:
    """How far the gradient of truncated back-propagation through time is from the full one.

    Time is cut into windows of K steps, counted from the end; the carry is handed from window to window and no adjoint
    is: Williams & Peng 1990, section 3 (their h = h'). The bias of this estimate, Tallec & Ollivier 2017, Unbiasing
    truncated back-propagation through time, section 2.

    Args:
      model: its cells may be rnnlab's or Flax's own.
      inputs: [T, B, D], or tokens [T, B].
      losses: the loss of each example [B] from the outputs at the last `answers` steps.
      answers: N.
      truncations: window lengths K; those of T and more are the full gradient and left out, but for one: T itself.

    Raises:
      ValueError: a truncation below 1.
    """
    if short := [k for k in truncations if k < 1]:
        raise ValueError(f"truncations: {short[0]}: must be at least 1 step")
    length = len(inputs)
    lengths = [*sorted({k for k in truncations if k < length}), length]
    left = length - jnp.arange(length)
    cuts = jnp.stack([left % k == 0 for k in lengths]).at[-1].set(False)

    def gradient(cut: Bool[Array, " T"]) -> Float[Array, " P"]:
        found = jax.grad(lambda model: jnp.mean(losses(_outputs(model, inputs, cut, answers))))(model)
        return jnp.concatenate([jnp.ravel(leaf).astype(sum_dtype(leaf)) for leaf in jax.tree.leaves(found)])

    full = gradient(cuts[-1])
    scale = jnp.max(jnp.abs(full))  # what has exploded or nearly vanished has squares beyond float32

    def compare(cut):
        one, all_of_it = gradient(cut) / scale, full / scale
        size, whole = jnp.linalg.norm(one), jnp.linalg.norm(all_of_it)
        return jnp.linalg.norm(one - all_of_it) / whole, jnp.vdot(one, all_of_it) / (size * whole), size / whole

    return TruncationBias(jnp.array(lengths), *jax.lax.map(compare, cuts))


def _outputs(model, inputs, cut, answers):
    """The model's outputs, whose gradient does not cross a step before which time is cut."""

    def step(carries, at):
        x, cut = at
        carries = jax.tree.map(lambda c: jnp.where(cut, jax.lax.stop_gradient(c), c), carries)
        return model.step(carries, x)

    _, ys = unroll(step, model.initial_carry(inputs.shape[1]), (inputs, cut))
    return model.outputs(ys[len(inputs) - answers :])
