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
    command: list[str] | None = None
    try:
        command = wanted()
        return _built(Path(__file__).with_name(name), command) if command else None
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        lines = str(getattr(error, "stderr", None) or error).splitlines()
        said = next((line for line in lines if "error" in line.lower()), str(error))
        by = f"CXX={os.environ['CXX']}" if os.environ.get("CXX") else shlex.join(command or [])
        warnings.warn(
            f"{by}: {name} cannot be compiled by it, so LSTM layers run in plain JAX, slower; {SWITCH}=off does "
            f"without this warning: {said}",
            stacklevel=2,
        )
        return None


def wanted() -> list[str] | None:
    """The command of a C++ compiler; None where there is none, or none is to be used."""
    switch = os.environ.get(SWITCH, "")
    if switch.lower() not in ("", "on", "off"):
        warnings.warn(f"{SWITCH}={switch}: must be on or off; taken as on", stacklevel=2)
    if switch.lower() == "off":
        return None
    if os.environ.get("CXX", "").strip():
        return shlex.split(os.environ["CXX"])
    found = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if found:
        return [found]
    return [sys.executable, "-m", "ziglang", "c++"] if importlib.util.find_spec("ziglang") else None


def describe(name: str) -> str:
    """Whether layers run in that library where they can, and what their last bits depend on."""
    found = library(name) if jax.default_backend() == "cpu" else None
    return f"compiled by {found.compiler}, threads a device: {threads()}" if found else "plain JAX"


def cache() -> Path:
    """The folder of compiled libraries."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(os.devnull if base.startswith("~") else base) / "rnnlab"  # the first where nobody is at home


def threads() -> int:
    """That a device's calls may use at once: one where every core is a device."""
    return max(1, cores() // jax.local_device_count())


def _built(source: Path, command: list[str]) -> Library:
    told = subprocess.run([*command, "--version"], check=True, capture_output=True, text=True, timeout=SECONDS)
    version = next(iter(told.stdout.splitlines()), command[0]).strip()
    native = {"arm64": ["-mcpu=native"], "aarch64": ["-mcpu=native"]}.get(platform.machine(), X86)
    texts = [path.read_text() for path in [source, *sorted(source.parent.glob("*.h"))]]
    parts = [*texts, *command, version, *OPTIONS, *native, importlib.metadata.version("jaxlib")]
    parts += [platform.machine(), processor_name(), instructions()]
    key = _digest("\0".join(parts).encode())
    folder = cache()
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{source.stem}-{key}-*.so"):
            if path.stem.endswith(_digest(path.read_bytes())):  # a file that is cut short would end the process
                return Library(ctypes.CDLL(str(path)), key, version)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        own = tempfile.TemporaryDirectory(dir=folder)
    except OSError:
        own = tempfile.TemporaryDirectory()  # a cache that cannot be written: for this process alone
    with own:
        new = Path(own.name) / f"{source.stem}.so"
        build = [*command, *OPTIONS, *native, f"-I{jax.ffi.include_dir()}", "-o", str(new), str(source)]
        subprocess.run(build, check=True, capture_output=True, text=True, timeout=SECONDS)
        loaded = Library(ctypes.CDLL(str(new)), key, version)
        if new.parent.parent == folder:  # whole or not at all, whoever else builds it now
            new.replace(folder / f"{source.stem}-{key}-{_digest(new.read_bytes())}.so")
    return loaded


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
