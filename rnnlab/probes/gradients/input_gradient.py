"""How much a loss would change with each earlier input, by lag."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.extended_range import LogNorm, log_norm
from rnnlab.probes.gradients.reverse_scan import Losses, StepAdjoints, reverse_scan


def input_gradient_of_last_answer(
    model: SequenceModel, inputs: Float[Array, "T B D"], losses: Losses, answers: int, **steps: Any
) -> dict[str, LogNorm]:
    """`input_gradient` of the loss's part at the last of its N answers: lag 0 is that answer's own input."""
    early = jax.lax.stop_gradient(model(inputs, answers=answers, **steps)[:-1])
    return input_gradient(model, inputs, lambda outputs: losses(jnp.concatenate([early, outputs])), 1, **steps)


def input_gradient(
    model: SequenceModel, inputs: Float[Array, "T B D"], losses: Losses, answers: int, **steps: Any
) -> dict[str, LogNorm]:
    """A probe: ||dL_b/dx_t|| of each example b, [T, B] by lag, along the full path; no lag underflows.

    Args:
      model: its cells may be rnnlab's or Flax's own.
      inputs: [T, B, D].
      losses: the loss of each example [B] from the outputs at the last `answers` steps.
      answers: N.
      steps: `lengths` and `resets`, as a model takes them.
    """
    return {"dx": reverse_scan(model, inputs, losses, answers, np.ones((1, 1), bool), _of_input, **steps)[0]}


def _of_input(adjoints: StepAdjoints) -> LogNorm:
    return log_norm(adjoints.d_x[:, 0], adjoints.exponent[:, 0])
