"""Measurements at full precision, on accelerators too."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

P, R = ParamSpec("P"), TypeVar("R")
PRECISION = "highest"


def at_full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """The function with matrix products at JAX's highest precision, whatever the training's is.

    By default GPUs round the factors of a float32 product to TF32 (10 bits) and TPUs to bfloat16 (7 bits), which shows
    in a gradient measured over hundreds of steps.
    """

    @functools.wraps(function)
    def precise(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.default_matmul_precision(PRECISION):
            return function(*args, **kwargs)

    return precise
