"""The mean of a series of dependent values with its moving-block bootstrap interval (Kuensch 1989)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from rnnlab.stats.estimates import Interval, from_draws


def block_mean(
    values: Sequence[float] | Float[np.ndarray, " n"],
    block: int = 1,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The mean of values in order of time, with the interval of `rnnlab.stats.estimates.from_draws`.

    Blocks of consecutive values are drawn with replacement until there are as many values again: what depends on each
    other within a block stays together (Kuensch 1989). The interval has as many degrees of freedom as there are whole
    blocks, less one.

    Args:
      values: of which neighbours depend on each other.
      block: values a block; 1 is the ordinary bootstrap.
      confidence: of the interval.
      resamples: draws.
      seed: of the draws.

    Returns:
      The mean and its ends: nan ends with fewer than two whole blocks, all nan without a value.

    Raises:
      ValueError: a value that is not finite, or a block below 1.
    """
    x = np.asarray(values, np.float64)
    if not np.isfinite(x).all() or block < 1:
        raise ValueError(
            f"block={block} of {len(x)} values, {(~np.isfinite(x)).sum()} not finite: needs 1 or more, and none"
        )
    if not len(x):
        return Interval(math.nan, math.nan, math.nan, 0)
    blocks = len(x) // block
    if blocks < 2:
        return Interval(float(x.mean()), math.nan, math.nan, len(x))
    rng = np.random.default_rng(seed)
    starts = rng.integers(len(x) - block + 1, size=(resamples, -(-len(x) // block)))
    places = (starts[..., None] + np.arange(block)).reshape(resamples, -1)[:, : len(x)]
    return from_draws(float(x.mean()), x[places].mean(axis=1), blocks, confidence)._replace(n=len(x))
