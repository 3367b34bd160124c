"""What a clipping rule does to a gradient: how often it clips, how much it shortens, and whether it turns it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PyTree

from rnnlab.scan.segments import sum_dtype


class Clipping(NamedTuple):
    """Before and after; of one gradient, or [B] of a batch of them."""

    before: Float[Array, "*B"]  # global norm
    after: Float[Array, "*B"]
    clipped: Bool[Array, "*B"]  # whether the rule changed anything
    angle: Float[Array, "*B"]  # between the two, radians in [0, pi]

    @property
    def cosine(self) -> Float[Array, "*B"]:
        """1 where only the length has changed."""
        return jnp.cos(self.angle)

    @property
    def rate(self) -> Float[Array, ""]:
        """The part of the batch that was clipped."""
        return jnp.mean(self.clipped)


def clipping(gradient: PyTree, rule: optax.GradientTransformation, params: PyTree | None = None) -> Clipping:
    """What `rule` makes of one gradient: a norm clip keeps its direction, a clip of values does not.

    Pascanu, Mikolov & Bengio 2013, section 3.2 (norm); Mikolov 2012, Statistical language models based on neural
    networks, section 3.2.2 (values).

    Args:
      gradient: arrays of any shapes, taken as one vector.
      rule: any optax transformation, in its first state (`optax.clip_by_global_norm(1.0)`, `optax.clip(1.0)`, ...).
      params: for rules that read them, as `optax.adaptive_grad_clip` does.

    Returns:
      Scalars. An unchanged gradient, also one of zero, has angle 0; one that the rule sets to zero has angle nan, as
      has one that is not finite (which counts as clipped if it holds a nan).
    """
    after = _apply(rule, gradient, params)
    return _compare(gradient, after)


def clipping_each(gradients: PyTree, rule: optax.GradientTransformation, params: PyTree | None = None) -> Clipping:
    """The same for every gradient of a batch, arrays [B, ...]: fields [B], and `rate` the part that was clipped."""
    return jax.vmap(lambda gradient: clipping(gradient, rule, params))(gradients)


def clipped_mean(gradients: PyTree, rule: optax.GradientTransformation, params: PyTree | None = None) -> Clipping:
    """The mean of the gradients [B, ...] against the mean of what `rule` makes of each.

    Clipping each example by itself turns the mean even where it turns no example: long gradients lose their weight
    (Chen, Wu & Hong 2020, Understanding gradient clipping in private SGD, section 2).
    """
    each = jax.vmap(lambda gradient: _apply(rule, gradient, params))(gradients)
    before, after = (jax.tree.map(lambda g: jnp.mean(g, axis=0), tree) for tree in (gradients, each))
    return _compare(before, after)


def _apply(rule, gradient, params):
    return rule.update(gradient, rule.init(gradient if params is None else params), params)[0]


def _compare(before: PyTree, after: PyTree) -> Clipping:
    old, new = _flat(before), _flat(after)
    changed = jnp.any(old != new)
    (u, before_norm), (v, after_norm) = _unit(old), _unit(new)
    # Kahan's angle: the cosine of a small one rounds to 1 and its arc cosine is noise
    angle = 2 * jnp.arctan2(jnp.linalg.norm(u - v), jnp.linalg.norm(u + v))
    return Clipping(before_norm, after_norm, changed, jnp.where(changed, angle, 0))


def _flat(tree):
    leaves = [jnp.ravel(leaf) for leaf in jax.tree.leaves(tree)]
    return jnp.concatenate([leaf.astype(sum_dtype(leaf)) for leaf in leaves])


def _unit(vector):
    """Its direction (nan for zero) and norm; the squares of a gradient that has exploded do not overflow."""
    largest = jnp.max(jnp.abs(vector))
    scaled = vector / largest
    norm = jnp.linalg.norm(scaled)
    return scaled / norm, jnp.where(largest == 0, 0, largest * norm)
