"""Compiled C++ of this folder, built on demand for this processor and kept in the user's cache.

A compiler is looked for in CXX, then c++, g++ and clang++, then in the package ziglang (`pip install rnnlab[kernel]`).
Without one, or with RNNLAB_KERNEL=off, everything runs in plain JAX.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import jax

from rnnlab.scan.processor import cores, instructions, processor_name

SWITCH = "RNNLAB_KERNEL"
OPTIONS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-w", "-shared", "-fPIC", "-pthread")
X86 = ("-march=native", "-mprefer-vector-width=512")  # clang would take vectors of 512 bits apart
SECONDS = 300  # ziglang builds its own C++ library the first time


class Library(NamedTuple):
    """A loaded library."""

    loaded: ctypes.CDLL
    key: str  # of its source, compiler and processor
    compiler: str  # and its version


@functools.cache
def library(name: str) -> Library | None:
    """The library of the source `name` in this folder; None where it cannot be had, with a warning if it should be."""
    if os.environ.get(SWITCH, "") == "off":
        return None
    try:
        command = _compiler()
        return _built(Path(__file__).with_name(name), command) if command else None
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        lines = str(getattr(error, "stderr", None) or error).splitlines()
        said = next((line for line in lines if "error" in line.lower()), str(error))
        warnings.warn(
            f"{name} cannot be compiled, and layers run in plain JAX, slower ({SWITCH}=off asks for that): {said}",
            stacklevel=2,
        )
        return None


def describe(name: str) -> str:
    """Whether layers run in that library where they can, and what their last bits depend on."""
    found = library(name) if jax.default_backend() == "cpu" else None
    return f"compiled by {found.compiler}, {_counted(threads())} a device" if found else "plain JAX"


def threads() -> int:
    """That a device's calls may use at once: one where every core is a device."""
    return max(1, cores() // jax.local_device_count())


def _counted(number: int) -> str:
    return f"{number} thread{'s' * (number != 1)}"


def _compiler() -> list[str] | None:
    """The command of a C++ compiler, or None."""
    if os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"])
    found = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if found:
        return [found]
    return [sys.executable, "-m", "ziglang", "c++"] if importlib.util.find_spec("ziglang") else None


def _built(source: Path, command: list[str]) -> Library:
    told = subprocess.run([*command, "--version"], check=True, capture_output=True, text=True, timeout=SECONDS)
    version = next(iter(told.stdout.splitlines()), command[0]).strip()
    native = {"arm64": ["-mcpu=native"], "aarch64": ["-mcpu=native"]}.get(platform.machine(), X86)
    texts = [path.read_text() for path in [source, *sorted(source.parent.glob("*.h"))]]
    parts = [*texts, *command, version, *OPTIONS, *native, importlib.metadata.version("jaxlib")]
    parts += [platform.machine(), processor_name(), instructions()]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rnnlab"
    path = folder / f"{source.stem}-{key}.so"
    with contextlib.suppress(OSError):  # there is none, or a damaged one
        return Library(ctypes.CDLL(str(path)), key, version)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        own = tempfile.TemporaryDirectory(dir=folder)
    except OSError:
        own = tempfile.TemporaryDirectory()  # a cache that cannot be written: for this process alone
    with own:
        new = Path(own.name) / path.name
        build = [*command, *OPTIONS, *native, f"-I{jax.ffi.include_dir()}", "-o", str(new), str(source)]
        subprocess.run(build, check=True, capture_output=True, text=True, timeout=SECONDS)
        loaded = Library(ctypes.CDLL(str(new)), key, version)
        if new.parent.parent == folder:
            new.replace(path)  # whole or not at all, whoever else builds it now
    return loaded
