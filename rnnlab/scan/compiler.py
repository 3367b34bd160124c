"""Compiled C++ of this folder, built on demand for this processor and kept in the user's cache.

A compiler is looked for in CXX, then c++, g++ and clang++, then in the package ziglang (`pip install rnnlab[kernel]`).
Without one, or with RNNLAB_KERNEL=off, everything runs in plain JAX.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
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

from rnnlab.scan.processor import instructions, processor_name

SWITCH = "RNNLAB_KERNEL"
OPTIONS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-w", "-shared", "-fPIC", "-pthread")
SECONDS = 300  # ziglang builds its own C++ library the first time


class Library(NamedTuple):
    """A loaded library; `key` names its source, compiler and processor."""

    loaded: ctypes.CDLL
    key: str


def compiler() -> list[str] | None:
    """The command of a C++ compiler, or None."""
    if os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"])
    found = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if found:
        return [found]
    return [sys.executable, "-m", "ziglang", "c++"] if importlib.util.find_spec("ziglang") else None


@functools.cache
def library(name: str) -> Library | None:
    """The library of the source `name` in this folder; None where it cannot be had, with a warning if it should be."""
    if os.environ.get(SWITCH, "") == "off" or not (command := compiler()):
        return None
    try:
        return _built(Path(__file__).with_name(name), command)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # RuntimeError: nobody's home
        lines = str(getattr(error, "stderr", None) or error).splitlines()
        said = next((line for line in lines if "error" in line.lower()), str(error))
        warnings.warn(
            f"{name}: {' '.join(command)} does not compile it, and layers run in plain JAX "
            f"({SWITCH}=off says so beforehand): {said.strip()}",
            stacklevel=2,
        )
        return None


def describe(name: str) -> str:
    """Whether layers run in that library where they can, and who has compiled it."""
    compiled = jax.default_backend() == "cpu" and library(name)
    return f"compiled by {_version(tuple(compiler()))}" if compiled else "plain JAX"


@functools.cache
def _version(command: tuple[str, ...]) -> str:
    told = subprocess.run([*command, "--version"], check=True, capture_output=True, text=True, timeout=SECONDS)
    return told.stdout.splitlines()[0].strip()


def _built(source: Path, command: list[str]) -> Library:
    # clang would take vectors of 512 bits apart
    native = {"arm64": ["-mcpu=native"], "aarch64": ["-mcpu=native"]}.get(
        platform.machine(), ["-march=native", "-mprefer-vector-width=512"]
    )
    options = [*OPTIONS, *native, f"-I{jax.ffi.include_dir()}"]
    told = [source.read_text(), _version(tuple(command)), *options[:-1], jax.lib.__version__]
    told += [platform.machine(), processor_name(), instructions()]
    key = hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rnnlab"
    path = folder / f"{source.stem}-{key}.so"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as own:
            new = Path(own) / path.name
            subprocess.run(
                [*command, *options, "-o", str(new), str(source)],
                check=True, capture_output=True, text=True, timeout=SECONDS,
            )  # fmt: skip
            new.replace(path)  # whole or not at all, whoever else builds it now
    return Library(ctypes.CDLL(str(path)), key)
