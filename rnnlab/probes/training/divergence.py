"""Where a network first diverged: the step, layer and quantity that became non-finite or exceeded a bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.flow import gradient_flow
from rnnlab.probes.precision import at_full_precision
from rnnlab.scan.presence import presence

LARGEST = math.log10(float(np.finfo(np.float32).max))


class Divergence(NamedTuple):
    """The first quantity, in the order of computation, that is not finite or above the bound."""

    quantity: str  # as `layer0/h`; `dL/d layer0/h` for an adjoint; `loss`; or a parameter's path
    step: int | None  # of the sequence, from 0; None for what has no step
    example: int | None
    value: float  # an adjoint's log10 norm where it is beyond float32

    def __str__(self) -> str:
        at = f" at step {self.step}" if self.step is not None else ""
        of = f" of example {self.example}" if self.example is not None else ""
        return f"{self.quantity}{at}{of} is {self.value:.4g}"


@at_full_precision
def first_divergence(
    model: SequenceModel,
    inputs: Float[Array, "T B D"],
    losses: Callable[[Float[Array, "N B K"]], Float[Array, " B"]],
    answers: int = 1,
    bound: float = math.inf,
    lengths: Int[Array, " B"] | None = None,
    resets: Bool[Array, "T B"] | None = None,
) -> Divergence | None:
    """What diverges first on these inputs: the parameters, the forward pass, the loss, or the backward pass.

    Args:
      model: its cells may be rnnlab's or Flax's own (whose gates are not named).
      inputs: [T, B, D].
      losses: the loss of each example [B] from the outputs at the last `answers` steps.
      answers: N.
      bound: a magnitude above it counts too; in the backward pass an adjoint whose norm float32 cannot hold always
        does.
      lengths, resets: see `rnnlab.model.SequenceModel`.

    Returns:
      The first divergence; None where there is none. In the forward pass the earliest step counts, and within a step
      the lowest layer; in the backward pass the latest step. Runs on the host: for a post-mortem, not for every update.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(model):
        if not np.isfinite(np.asarray(leaf, np.float64)).all():
            name = "/".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)
            return Divergence(name, None, None, math.nan)
    inputs, steps = presence(lengths, resets, len(inputs)).only_present(inputs), {"lengths": lengths, "resets": resets}
    return _forward(model, inputs, bound, steps) or _loss(model, inputs, losses, answers, bound, steps) or _backward(
        model, inputs, losses, answers, bound, steps
    )  # fmt: skip


def _bad(values: np.ndarray, bound: float) -> np.ndarray:
    return ~(np.abs(values) <= bound) | ~np.isfinite(values)


def _forward(model, inputs, bound, steps):
    if (in_inputs := _earliest({"inputs": np.asarray(inputs)}, bound)) is not None:
        return in_inputs
    found = jax.device_get(jax.jit(lambda model, xs: model.intermediates(xs, **steps))(model, inputs))
    return _earliest({name: np.asarray(value, np.float64) for name, value in sorted(found.items(), key=_order)}, bound)


def _order(item):
    """Within a step: lower layers first, a gate before c before h before the outputs."""
    name = item[0]
    last = name.rpartition("/")[2]
    return name == "outputs", _layer(name), {"c": 1, "h": 2}.get(last, 0), name


def _layer(name: str) -> int:
    digits = name.partition("/")[0].removeprefix("layer")
    return int(digits) if digits.isdigit() else -1


def _earliest(named: Mapping[str, np.ndarray], bound: float) -> Divergence | None:
    best = None
    for name, values in named.items():
        bad = _bad(values, bound)
        at = np.argwhere(bad)
        if len(at) and (best is None or at[0][0] < best.step):
            best = Divergence(name, int(at[0][0]), int(at[0][1]), float(values[tuple(at[0])]))
    return best


def _loss(model, inputs, losses, answers, bound, steps):
    values = np.asarray(losses(model(inputs, answers=answers, **steps)), np.float64)
    at = np.flatnonzero(_bad(values, bound))
    return Divergence("loss", None, int(at[0]), float(values[at[0]])) if len(at) else None


def _backward(model, inputs, losses, answers, bound, steps):
    """Adjoints in log space, so that what overflows is still a number."""
    limit = min(math.log10(bound) if bound < math.inf else math.inf, LARGEST)
    flow = jax.jit(lambda model, xs: gradient_flow(model, xs, losses, answers, **steps))(model, inputs)
    best = None
    for name, norms in sorted(flow.items(), key=lambda item: -_layer(item[0])):  # the backward pass begins at the top
        if name.endswith("cell path"):
            continue
        log10 = norms.log10()
        at = np.argwhere(np.isnan(log10) | (log10 > limit))
        if len(at) and (best is None or at[0][0] < len(log10) - 1 - best.step):
            lag, example = map(int, at[0])
            best = Divergence(f"log10 norm of dL/d {name}", len(log10) - 1 - lag, example, float(log10[lag, example]))
    return best
