"""What a decoder may write."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from rnnlab.data.pairs import BEGIN, OTHER, PADDING


def writable(outputs: Float[Array, "*B K"]) -> Float[Array, "*B K"]:
    """The logits, those of padding, of the sign to begin and of unknown tokens at -inf: none of them is a word."""
    return outputs.at[..., jnp.array([PADDING, BEGIN, OTHER])].set(-jnp.inf)
