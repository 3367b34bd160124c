"""An LSTM's forward pass written by hand in C++ as a worker: what a compiled kernel could gain over the engine."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from turns import CORES
from worker import Job, serve

COMPILER = os.environ.get("CXX", "c++")
OPTIONS = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC", "-pthread"]
if platform.machine() in ("x86_64", "AMD64"):
    OPTIONS += ["-mprefer-vector-width=512"]
GATES = 4  # as in kernel.cc


@functools.cache
def compiled() -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "kernel.so"
        source = Path(__file__).with_name("kernel.cc")
        subprocess.run([COMPILER, *OPTIONS, "-o", str(library), str(source)], check=True)
        return ctypes.CDLL(str(library))


def packed(w: np.ndarray) -> np.ndarray:
    """Weights [D + H, 4H] in panels of so many columns: [H / width, 4, D + H, width]."""
    return np.ascontiguousarray(w.reshape(len(w), GATES, -1, compiled().width()).transpose(2, 1, 0, 3))


def run(kernel: ctypes.CDLL, xs: np.ndarray, w: np.ndarray, hs: np.ndarray) -> None:
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (xs, w, hs)]
    kernel.forward(*pointers, *xs.shape, hs.shape[2], min(CORES, xs.shape[1]))


def drawn(shape: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    batch, length, inputs, features = shape
    if features % compiled().width():
        raise ValueError(f"H={features}: the kernel takes multiples of {compiled().width()}")
    rng = np.random.default_rng(0)
    w = rng.normal(size=(inputs + features, GATES * features)) / np.sqrt(inputs + features)
    return tuple(
        np.float32(a) for a in (rng.normal(size=(length, batch, inputs)), w, np.empty((length, batch, features)))
    )


def forward(shape: list[int]) -> Job:
    xs, w, hs = drawn(shape)
    kernel, w = compiled(), packed(w)

    def loss():
        run(kernel, xs, w, hs)
        return float(np.vdot(hs, hs)) / hs.size

    return Job(loss)


def error() -> float:
    """The largest difference from a loop in float64, over batches that fill and do not fill the kernel's blocks."""
    kernel, largest = compiled(), 0.0
    for batch in (1, 7, 32):
        xs, w, hs = drawn([batch, 20, 3, 32])
        run(kernel, xs, packed(w), hs)
        c = h = np.zeros((batch, 32))
        for x, found in zip(xs, hs, strict=True):
            i, f, g, o = np.split(np.concatenate([x, h], axis=1) @ w.astype(np.float64), GATES, axis=1)
            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            h = np.tanh(c) / (1 + np.exp(-o))
            largest = max(largest, float(np.abs(found - h).max()))
    return largest


def about() -> dict[str, str]:
    version = subprocess.run([COMPILER, "--version"], check=True, capture_output=True, text=True).stdout.splitlines()[0]
    return {"compiler": version, "threads": str(CORES), "largest error": f"{error():.1e}"}


if __name__ == "__main__":
    serve({"forward": forward}, {"about": about})
