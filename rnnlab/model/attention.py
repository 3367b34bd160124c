"""Attention: at each step of a target, a weighted mean of the encoder's outputs at all steps of its source."""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

Kind = Literal["none", "additive", "dot"]


class Source(NamedTuple):
    """What a decoder may attend to."""

    keys: Float[Array, "S B H"]  # with which a state of the decoder is compared
    values: Float[Array, "S B V"]  # of which the mean is taken
    present: Bool[Array, "S B"]  # padding has weight 0


class Mixture(nnx.Module):
    """What the readout reads of the decoder's output and the context: tanh(W [context; h]).

    Luong, Pham & Manning 2015, eq. 5.
    """

    def __init__(self, context: int, features: int, *, rngs: nnx.Rngs, **types):
        self.linear = nnx.Linear(context + features, features, use_bias=False, rngs=rngs, **types)

    def __call__(self, ys: Float[Array, "*N B H"], contexts: Float[Array, "*N B V"]) -> Float[Array, "*N B H"]:
        return jnp.tanh(self.linear(jnp.concatenate([contexts, ys], axis=-1)))


class AdditiveScore(nnx.Module):
    """v . tanh(W s_{i-1} + U h_j), of which `keys` are U h_j: Bahdanau, Cho & Bengio 2015, appendix A.1.2."""

    def __init__(self, features: int, *, rngs: nnx.Rngs, **types):
        self.w = nnx.Linear(features, features, use_bias=False, rngs=rngs, **types)
        self.v = nnx.Linear(features, 1, use_bias=False, rngs=rngs, **types)

    def __call__(self, h: Float[Array, "B H"], source: Source) -> Float[Array, "S B"]:
        return self.v(jnp.tanh(self.w(h) + source.keys))[..., 0]


def weights(scores: Float[Array, "*N S B"], present: Bool[Array, "S B"]) -> Float[Array, "*N S B"]:
    """The softmax of scores over the steps of the source that are there."""
    low = jnp.finfo(scores.dtype).min
    return jnp.where(present, jax.nn.softmax(jnp.where(present, scores, low), axis=-2), 0)


def dot_scores(ys: Float[Array, "N B H"], source: Source) -> Float[Array, "N S B"]:
    """h_i . h_j, or h_i . W h_j where `keys` are that: Luong, Pham & Manning 2015, section 3.1, dot and general."""
    return jnp.einsum("nbh,sbh->nsb", ys, source.keys)


def contexts(attention: Float[Array, "*N S B"], source: Source) -> Float[Array, "*N B V"]:
    """The means, one for each step of the target."""
    return jnp.einsum("...sb,sbv->...bv", attention, source.values)
