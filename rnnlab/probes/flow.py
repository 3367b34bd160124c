"""Gradient flow: how much of a loss reaches each step before it, without underflow at any lag.

A reverse scan of one-step VJPs whose adjoint is kept at unit size by exact powers of two, while their
exponents add up as integers: the float32 adjoint of a vanilla RNN or of an LSTM with forget bias 1
underflows before lag 300, this one never does, and no rounding is added by the scaling.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import chz
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from rnnlab.model import SequenceModel
from rnnlab.perturb import perturbed
from rnnlab.spec import field

LOG10_2 = math.log10(2)


@chz.chz
class FlowSpec:
    """How gradient flow is measured."""

    examples: int = field(16, "held-out sequences whose log-norms are averaged", low=1)
    fraction: float = field(1e-3, "the horizon is the largest lag whose adjoint is above this part of lag 0", above=0)


class LogNorm(NamedTuple):
    """Norms as mantissa * 2^exponent, by lag and example; lag 0 is the last step."""

    mantissa: Float[Array, "T B"]
    exponent: Int[Array, "T B"]

    def log10(self) -> Float[np.ndarray, "T B"]:
        """log10 of the norms in float64, -inf for an adjoint of exactly zero."""
        with np.errstate(divide="ignore"):
            return np.log10(np.asarray(self.mantissa, np.float64)) + np.asarray(self.exponent, np.float64) * LOG10_2


def gradient_flow(
    model: SequenceModel,
    inputs: Float[Array, "T B D"],
    losses: Callable[[Float[Array, "N B K"]], Float[Array, " B"]],
    answers: int = 1,
) -> dict[str, LogNorm]:
    """||dL_b/dh_t|| and ||dL_b/dc_t|| of each example b at every lag, in full and along the cell path.

    Args:
      model: its cells may be rnnlab's or Flax's own.
      inputs: [T, B, D].
      losses: the loss of each example [B] from the outputs at the last `answers` steps.
      answers: N.

    Returns:
      By name: `layer0/h`, `layer0/c`, ..., and `.../c cell path` for each component of the top layer: the
      part that flows from step to step through the update at fixed z alone (for an LSTM c_t = f c_{t-1} + ...,
      the constant error carousel of Hochreiter & Schmidhuber 1997, section 3.2; for a vanilla RNN nothing
      before lag 0). Adjoints are total: dL/dc_t counts c_t's use in h_t = o tanh(c_t) of the same step.
    """
    carries = model.initial_carry(inputs.shape[1])

    def forward(carries, x):
        new, y = _stack(model, carries, x)
        return new, (carries, y)

    _, (before, ys) = jax.lax.scan(forward, carries, inputs)
    late = jax.lax.dynamic_slice_in_dim(ys, len(ys) - answers, answers)
    d_ys = jax.grad(lambda ys: jnp.sum(losses(model.readout(ys))))(late)
    d_ys = jnp.zeros_like(ys).at[len(ys) - answers :].set(d_ys)

    full = _reverse(lambda carries, x: _stack(model, carries, x), before, inputs, d_ys)
    named = dict(zip(jax.tree.leaves(model.names()), full, strict=True))
    top = model.cells[-1]
    if hasattr(top, "projection"):
        zs = _top_projections(model, before, inputs)
        path = _reverse(top.update, before[-1], zs, d_ys)
        names = jax.tree.leaves(model.names()[-1])
        named |= {f"{name} cell path": norm for name, norm in zip(names, path, strict=True)}
    return named


def _stack(model, carries, x):
    """One step of all layers: (carries, x) -> (carries, y)."""
    new = []
    for cell, carry in zip(model.cells, carries, strict=True):
        carry, x = cell(carry, x)
        new.append(carry)
    return new, x


def _top_projections(model, before, inputs):
    """z_t of the top layer [T, B, Z]."""

    def z(carries, x):
        for cell, carry in zip(model.cells[:-1], carries[:-1], strict=True):
            _, x = cell(carry, x)
        return model.cells[-1].project(jax.tree.leaves(carries[-1])[-1], x)

    return jax.lax.map(lambda step: z(*step), (before, inputs))


def _reverse(step, before, xs, d_ys) -> list[LogNorm]:
    """Log-norms of the adjoints of a step's outgoing carry, its inputs held fixed; lag 0 first."""

    def body(state, inputs):
        d_carry, exponent = state
        carry, x, d_y = inputs
        d_y, y_exponent = _normalise(d_y)
        common = jnp.maximum(exponent, y_exponent)
        d_carry, d_y = _scale(d_carry, exponent - common), _scale(d_y, y_exponent - common)
        no_addition = jax.tree.map(jnp.zeros_like, carry)
        _, pull = jax.vjp(lambda carry, addition: perturbed(step)(carry, x, addition), carry, no_addition)
        d_before, total = pull((d_carry, d_y))
        norms = [_log_norm(d, common) for d in jax.tree.leaves(total)]
        d_before, shift = _normalise(d_before)
        return (d_before, jnp.maximum(common + shift, _NOTHING)), norms

    zero = jax.tree.map(lambda c: jnp.zeros_like(c[0]), before)
    batch = jax.tree.leaves(zero)[0].shape[:-1]
    start = zero, jnp.full(batch, _NOTHING, jnp.int32)
    _, norms = jax.lax.scan(body, start, (before, xs, d_ys), reverse=True)
    return jax.tree.map(lambda a: a[::-1], norms)


_NOTHING = -(2**30)  # the exponent of zero: below any that T steps can reach


def _largest(tree) -> Array:
    """The largest magnitude of each example, over all components, [B]."""
    return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf), axis=-1) for leaf in jax.tree.leaves(tree)]), axis=0)


def _normalise(tree: PyTree) -> tuple[PyTree, Int[Array, " B"]]:
    """The tree scaled so that its largest magnitude lies in [1/2, 1), and the exponent taken out."""
    largest = _largest(tree)
    _, exponent = jnp.frexp(largest)
    exponent = jnp.where(largest > 0, exponent.astype(jnp.int32), 0)
    return _scale(tree, -exponent), jnp.where(largest > 0, exponent, _NOTHING)


def _scale(tree: PyTree, exponent: Int[Array, " B"]) -> PyTree:
    """Exact multiplication by 2^exponent; what falls below the smallest normal number may become zero."""

    def scale(leaf):
        reach = -jnp.finfo(leaf.dtype).minexp - 2  # 2^-reach and 2^reach are normal numbers
        half = exponent // 2  # in two factors, as 2^exponent alone may be none
        one = jnp.ones((), leaf.dtype)
        low, high = (jnp.ldexp(one, jnp.clip(e, -reach, reach))[..., None] for e in (half, exponent - half))
        return jnp.where(exponent[..., None] < -2 * reach, 0, leaf * low * high)

    return jax.tree.map(scale, tree)


def _log_norm(d: Array, exponent: Array) -> LogNorm:
    d, shift = _normalise(d)
    norm = jnp.sqrt(jnp.sum(jnp.square(d.astype(jnp.promote_types(d.dtype, jnp.float32))), axis=-1))
    return LogNorm(norm, exponent + shift)
