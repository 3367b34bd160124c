"""Numbers beyond the range of their dtype, as a mantissa and a power of two for each example.

Only powers of two are taken out, by way of their bits: scaling rounds nothing and costs little in a step.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from rnnlab.scan.segments import norm, sum_dtype

LOG10_2 = math.log10(2)
ZERO_EXPONENT = -(2**30)  # the exponent of zero: below any that T steps can reach


class LogNorm(NamedTuple):
    """Norms as mantissa * 2^exponent, by lag and example; lag 0 is the last step."""

    mantissa: Float[Array, "T *B"]
    exponent: Int[Array, "T *B"]

    def log10(self) -> Float[np.ndarray, "T *B"]:
        """log10 of the norms in float64: -inf for an adjoint of exactly zero, NaN where weights or inputs were."""
        with np.errstate(divide="ignore"):
            return np.log10(np.asarray(self.mantissa, np.float64)) + np.asarray(self.exponent, np.float64) * LOG10_2


def normalise(tree: PyTree, exponent: Int[Array, " *B"]) -> tuple[PyTree, Int[Array, " *B"]]:
    """tree * 2^exponent with the largest magnitude of each example in [1/2, 1); zeros have ZERO_EXPONENT."""
    tops = [jnp.max(jnp.abs(leaf), axis=-1) for leaf in jax.tree.leaves(tree)]
    largest = jnp.max(jnp.stack(tops), axis=0) if len(tops) > 1 else tops[0]
    largest = largest.astype(sum_dtype(largest))
    shift = _exponent(largest)
    exponent = jnp.where(largest == 0, ZERO_EXPONENT, jnp.maximum(exponent + shift, ZERO_EXPONENT))
    return scale(tree, -shift), exponent


def scale(tree: PyTree, exponent: Int[Array, " *B"]) -> PyTree:
    """Exact multiplication by 2^exponent; what falls below the smallest normal number may become zero."""

    def one(leaf):
        factor = _power(exponent, sum_dtype(leaf))[..., None]
        return (leaf * factor).astype(leaf.dtype)

    return jax.tree.map(one, tree)


def to_common_exponent(
    one: PyTree, one_exponent: Array, two: PyTree, two_exponent: Array
) -> tuple[PyTree, PyTree, Array]:
    """Two trees with exponents, both scaled to the larger exponent: (one, two, exponent)."""
    common = jnp.maximum(one_exponent, two_exponent)
    return scale(one, one_exponent - common), scale(two, two_exponent - common), common


def log_norm(d: Float[Array, "*T H"], exponent: Int[Array, " *T"]) -> LogNorm:
    """The norm over H of d * 2^exponent."""
    d, exponent = normalise(d.astype(sum_dtype(d)), exponent)
    return LogNorm(norm(d), exponent)


def _bits(dtype) -> tuple[jnp.finfo, jnp.dtype]:
    return jnp.finfo(dtype), jnp.dtype(f"int{jnp.finfo(dtype).bits}")


def _exponent(x: Array) -> Int[Array, " *B"]:
    """frexp's exponent of x >= 0, as far as 2^-exponent is a normal number; of 0, infinity and NaN some number."""
    info, integer = _bits(x.dtype)
    biased = jax.lax.bitcast_convert_type(jnp.abs(x), integer) >> info.nmant
    return jnp.clip(biased - (info.maxexp - 2), info.minexp + 1, info.maxexp - 2).astype(jnp.int32)


def _power(exponent: Int[Array, " *B"], dtype) -> Array:
    """2^exponent from the exponent's bits; zero below the normal numbers."""
    info, integer = _bits(dtype)
    bounded = jnp.clip(exponent, info.minexp, info.maxexp - 1).astype(integer)
    power = jax.lax.bitcast_convert_type((bounded + (info.maxexp - 1)) << info.nmant, jnp.dtype(dtype))
    return jnp.where(exponent < info.minexp, 0, power)
