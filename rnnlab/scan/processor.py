"""The processor of this machine, and how programs are compiled for it."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path

import jax

WIDTH = "xla_cpu_prefer_vector_width"  # bits
# LLVM keeps to 256 bits, since the first processors with 512 slowed down when they used them; those with this
# extension (Intel's from Ice Lake, AMD's from Zen 4 on) do not. Measured by scripts/bench: docs/measured.md.
FULL_SPEED = "avx512_vbmi2"
CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")  # as in "512K"
CACHES = 2**19, 2**21  # the smallest and the largest that was measured


def processor_name() -> str:
    """As its maker calls it."""
    return _told().get("model name") or platform.processor()


def instructions() -> str:
    """The extensions of its instruction set, in one line; "" where the system does not say."""
    return _told().get("flags") or _told().get("Features", "")


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def core_cache() -> int:
    """Bytes of a core's second-level cache, within CACHES: virtual machines tell sizes that no processor has."""
    try:
        told = int(CACHE.read_text().strip().removesuffix("K")) * 1024
    except (OSError, ValueError):
        told = 0
    return min(max(told, CACHES[0]), CACHES[1])


def compiler_options() -> dict[str, int] | None:
    """What XLA compiles programs for the CPU with, unless XLA_FLAGS says otherwise."""
    asked = WIDTH in os.environ.get("XLA_FLAGS", "")
    wide = jax.default_backend() == "cpu" and FULL_SPEED in instructions().split()
    return {WIDTH: 512} if wide and not asked else None


@functools.cache
def _told() -> dict[str, str]:
    """What Linux says of its first core."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
