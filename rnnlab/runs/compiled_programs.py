"""Compiled programs kept in a run's folder, so that a run that is resumed need not compile them again."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

from rnnlab.scan.processor import instructions, processor_name

FOLDER = "compiled"


@contextlib.contextmanager
def kept_compiled(workdir: Path, shard: str) -> Iterator[None]:
    """JAX's persistent compilation cache in `workdir/compiled/`, a folder a kind of processor and a shard.

    A program is machine code for the processor that it was compiled on, and folders are shared between machines; JAX
    reads what another process has written half. A cache that the user has chosen (JAX_COMPILATION_CACHE_DIR) or turned
    off stays as it is.
    """
    if jax.config.jax_compilation_cache_dir is not None or not jax.config.jax_enable_compilation_cache:
        yield
        return
    ours = {
        "jax_compilation_cache_dir": str(workdir / FOLDER / _processor() / shard),
        "jax_persistent_cache_min_compile_time_secs": 0.0,  # drawing weights is many small ones: half a second
    }
    before = {name: getattr(jax.config, name) for name in ours}
    _set(ours)
    try:
        with _without_false_alarms():
            yield
    finally:
        _set(before)


def forget_compiled(workdir: Path) -> None:
    """Of a run that has ended: programs hold their task's data, so that they may be larger than all else."""
    shutil.rmtree(workdir / FOLDER, ignore_errors=True)


@contextlib.contextmanager
def _without_false_alarms() -> Iterator[None]:
    """XLA logs programs that it reads back as those of another processor, and pages of features, where LLVM has noted a
    preference of this one (prefer-no-gather) that is none of its features. Levels that the user has set stay."""
    usual = jax.config.jax_logging_level == "NOTSET" and logging.getLogger("jax").level == logging.NOTSET
    usual = usual and os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1"  # which JAX sets
    if not usual or jax.default_backend() != "cpu" or jax.process_count() > 1:
        yield
        return
    jax.config.update("jax_logging_level", "CRITICAL")
    try:
        yield
    finally:
        for level in ("WARNING", "NOTSET"):  # the second alone would leave XLA's as it is
            jax.config.update("jax_logging_level", level)


def _set(options) -> None:
    for name, value in options.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # which JAX opens once, at its first compilation


def _processor() -> str:
    """A short name for what machine code may use here."""
    told = platform.machine() + processor_name() + instructions()
    return hashlib.sha256(told.encode()).hexdigest()[:12]
