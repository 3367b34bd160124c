"""The settings of JAX that change numbers."""

from __future__ import annotations

import jax

SETTINGS = (
    "jax_default_matmul_precision", "jax_default_prng_impl", "jax_enable_custom_prng", "jax_numpy_dtype_promotion",
    "jax_threefry_partitionable",
)  # fmt: skip


def numerics() -> dict[str, str]:
    """Each as text; what rnnlab sets itself, as float64 where a cell needs it, is not among them."""
    return {name: str(getattr(jax.config, name)) for name in SETTINGS if hasattr(jax.config, name)}
