"""How far an answer's gradient reaches in both directions: back in time, and, of a second direction, ahead."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rnnlab.model import SequenceModel
from rnnlab.probes.precision import at_full_precision


@at_full_precision
def from_an_answer(
    model: SequenceModel, inputs: Float[Array, "T B D"], losses: Callable, answers: int, lengths: Int[Array, " B"]
) -> Mapping[str, Float[Array, " K"]]:
    """A probe: the norm of the top h's adjoint by distance from one answer, in steps.

    The answer is the logit of the best class that is not blank (class 0) at the step, in the middle half of a sequence,
    where its probability is highest; with one answer a sequence, the logit of its likeliest class, which the forward
    direction gives at the last step and the second direction at the first. Of each direction, `forward` and `backward`:
    log10 of the norm over that at the answer, the mean over examples that have such a step (0 where none has; a norm
    of exactly 0 is left out), and `... examples`, how many they are.
    """
    steps, size = jnp.arange(len(inputs), dtype=jnp.int32)[:, None], inputs.shape[1]
    log_p = jax.nn.log_softmax(model(inputs, answers=answers, lengths=lengths))
    if answers == 1:
        at, best = {"forward": lengths - 1, "backward": jnp.zeros_like(lengths)}, jnp.argmax(log_p[0], axis=-1)
        row = jnp.zeros_like(lengths)
    else:
        middle = (steps >= lengths // 4) & (steps < jnp.maximum(3 * lengths // 4, lengths // 4 + 1))
        row = jnp.argmax(jnp.where(middle, jnp.max(log_p[..., 1:], axis=-1), -jnp.inf), axis=0)
        at = {"forward": row, "backward": row}
        best = 1 + jnp.argmax(log_p[row, jnp.arange(size), 1:], axis=-1)

    def total(taps):
        outputs = model(inputs, answers=answers, lengths=lengths, taps=taps)
        return -jnp.sum(outputs[row, jnp.arange(size), best])

    norms = jax.grad(total)(model.tap_zeros(len(inputs), size))[-1]
    sides = norms if model.bidirectional else (norms,)
    found = {}
    for (name, sign), side in zip((("forward", -1), ("backward", 1)), sides, strict=False):
        h = jax.tree.leaves(side)[-1]
        where = at[name] + sign * steps
        value = jnp.take_along_axis(h, jnp.clip(where, 0, len(inputs) - 1), axis=0)
        there = (where >= 0) & (where < lengths) & (value > 0)
        log10 = jnp.log10(jnp.where(there, value, 1))
        there &= there[0]
        log10 = jnp.where(there, log10 - log10[0], 0)
        count = jnp.sum(there, axis=1)
        found[name] = (jnp.sum(log10, axis=1) / jnp.maximum(count, 1)).astype(jnp.float32)
        found[f"{name} examples"] = count
    return found
