"""Gradient flow: how much of a loss reaches each step before it, without underflow at any lag.

A reverse scan keeps the adjoint at unit size by exact powers of two, whose exponents add up as integers. The
float32 adjoint of a vanilla RNN or of an LSTM with forget bias 1 underflows before lag 300; this one never does, and
the scaling adds no rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import chz
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.extended_range import LogNorm, log_norm
from rnnlab.probes.gradients.reverse_scan import StepAdjoints, has_paths, reverse_scan
from rnnlab.probes.precision import at_full_precision
from rnnlab.scan.presence import align_ends
from rnnlab.specs.fields import field


@chz.chz
class FlowSpec:
    """How gradient flow is measured."""

    examples: int = field(16, "held-out sequences whose log-norms are averaged", low=1)
    fraction: float = field(
        1e-3, "the horizon is the largest lag whose adjoint is above this part of lag 0", above=0, high=0.5
    )


@at_full_precision
def gradient_flow(
    model: SequenceModel,
    inputs: Num[Array, "T B *D"],
    losses: Callable[[Float[Array, "N B K"]], Float[Array, " B"]],
    answers: int = 1,
    lengths: Int[Array, " B"] | None = None,
    resets: Bool[Array, "T B"] | None = None,
) -> dict[str, LogNorm]:
    """||dL_b/dh_t|| and ||dL_b/dc_t|| of each example b at every lag, in full and along the cell path.

    Args:
      model: its cells may be rnnlab's or Flax's own.
      inputs: [T, B, D], or tokens [T, B].
      losses: the loss of each example [B] from the outputs at the last `answers` steps.
      answers: N.
      lengths: of sequences of unequal length: lags are counted from each one's own last step, and beyond its first
        step norms are zero.
      resets: where a carry begins anew before a step, which no gradient crosses.

    Returns:
      By name: `layer0/h`, `layer0/c`, ..., and `.../c cell path` for each component of the top layer: the
      part that flows from step to step through the update at fixed z alone (for an LSTM c_t = f c_{t-1} + ...,
      the constant error carousel of Hochreiter & Schmidhuber 1997, section 3.2; for a vanilla RNN nothing
      before lag 0). Adjoints are total: dL/dc_t counts c_t's use in h_t = o tanh(c_t) of the same step.
      A NaN among weights or inputs makes the norms it reaches NaN. rnnlab.probes.gradients.paths splits them further.
      Of a bidirectional model, whose second direction is `layer0 backward/h`, and of an encoder with a decoder there
      is no cell path, and norms come from the backward pass itself: below the smallest float32 number they are zero.

    Raises:
      ValueError: `answers` is not within 1 to T.
    """
    if not model.stepwise:
        return _from_taps(model, inputs, losses, answers, lengths, resets)
    both = np.array([[True], [False]]) if has_paths(model.cells[-1]) else np.array([[True]])
    found = reverse_scan(model, inputs, losses, answers, both, _norms, lengths=lengths, resets=resets)
    norms = jax.tree.leaves(found, is_leaf=lambda leaf: isinstance(leaf, LogNorm))
    named = {}
    for name, (mantissa, exponent) in zip(jax.tree.leaves(model.names()), norms, strict=True):
        for path, suffix in zip(range(mantissa.shape[1]), ("", " cell path"), strict=False):
            named[name + suffix] = LogNorm(mantissa[:, path], exponent[:, path])
    return named


def _from_taps(model, inputs, losses, answers, lengths, resets) -> dict[str, LogNorm]:
    def total(taps):
        return jnp.sum(losses(model(inputs, answers=answers, lengths=lengths, resets=resets, taps=taps)))

    norms = jax.grad(total)(model.tap_zeros(*inputs.shape[:2]))
    norms = norms if lengths is None else align_ends(norms, lengths)
    found = zip(jax.tree.leaves(model.names()), jax.tree.leaves(norms), strict=True)
    return {name: LogNorm(*jnp.frexp(norm[::-1])) for name, norm in found}


def _norms(adjoints: StepAdjoints):
    return jax.tree.map(lambda d: log_norm(d, adjoints.exponent), adjoints.total)
