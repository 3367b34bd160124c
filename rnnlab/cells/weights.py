"""Initial weight matrices, drawn block by block: each gate gets a matrix of its own."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Recurrent = Literal["orthogonal", "identity", "normal", "uniform"]


def input_weights(key: Array, in_features: int, features: int, blocks: int) -> Float[Array, "D Z"]:
    """N(0, 1/D) truncated, each entry: LeCun et al. 1998, Efficient BackProp, section 4.6 (Flax's default)."""
    draw = jax.nn.initializers.lecun_normal()
    return _by_block(lambda key: draw(key, (in_features, features), jnp.float32), key, blocks)


def recurrent_weights(key: Array, kind: Recurrent, features: int, blocks: int) -> Float[Array, "H Z"]:
    """One H x H matrix a block.

    orthogonal: all singular values 1 (Saxe et al. 2014). A single orthogonal [H, 4H] draw, as
      `nnx.OptimizedLSTMCell` makes, would leave the gates' blocks with singular values far below 1.
    identity: Le, Jaitly & Hinton 2015, section 2.
    normal: N(0, 1/H), spectral radius near 1 for large H.
    uniform: U[-1/sqrt(H), 1/sqrt(H)], PyTorch's default.
    """
    shape = (features, features)
    draws = {
        "orthogonal": lambda key: jax.nn.initializers.orthogonal()(key, shape, jnp.float32),
        "identity": lambda key: jnp.eye(features, dtype=jnp.float32),
        "normal": lambda key: jax.random.normal(key, shape, jnp.float32) / jnp.sqrt(features),
        "uniform": lambda key: jax.random.uniform(key, shape, jnp.float32, -1, 1) / jnp.sqrt(features),
    }
    return _by_block(draws[kind], key, blocks)


def _by_block(draw, key, blocks):
    return jnp.concatenate([draw(k) for k in jax.random.split(key, blocks)], axis=1)
