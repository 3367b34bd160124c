"""A check that JAX is as it must be, before anything is measured with it."""

from __future__ import annotations

import os

import jax
import jax.numpy as jnp

ROWS = 32_769


def check_jax() -> str | None:
    """Why this JAX cannot be used as it is, or None.

    jaxlib 0.10.2 on CPU miscompiles a batched small matmul followed by a reduction, silently (jax issue
    39103): with 3 columns and more than 32,768 rows the sum below comes out 1 % short.
    """
    if jax.config.jax_disable_jit:
        return "JAX_DISABLE_JIT=1: without compilation a run would take days; unset it"
    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:
        wanted = os.environ.get("JAX_PLATFORMS", jax.config.jax_platforms)
        why = " ".join(str(error).split()).partition(" (")[0][:200] or "it knows of none"
        return f"JAX_PLATFORMS={wanted}: JAX has no such device here ({why}); unset it, or write JAX_PLATFORMS=cpu"
    rows = jnp.full((ROWS, 3), 128.0)
    found = jax.jit(jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2)))(rows)
    if bool(jnp.all(found == 3 * 128.0**2)):
        return None
    return f"jaxlib {jax.lib.__version__} computes wrong sums here (jax issue 39103): install another version"
