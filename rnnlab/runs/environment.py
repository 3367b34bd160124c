"""What a result may depend on besides its configuration: versions, revision, machine, command."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from rnnlab.probes.precision import PRECISION
from rnnlab.runs.numerics import numerics
from rnnlab.scan.compiler import describe
from rnnlab.scan.lstm_kernel import SOURCE
from rnnlab.scan.processor import compiler_options, core_cache, processor_name
from rnnlab.training.layout import describe_devices

PACKAGES = ("rnnlab", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "chz", "numpy", "tensorboard")


def command() -> str:
    """This command, as a user would type it again."""
    typed = shlex.split(os.environ.get("RNNLAB_COMMAND", "python -m rnnlab.run"))  # scripts/run says how it was called
    return shlex.join([*typed, *sys.argv[1:]])


def environment(revision: str | None = None) -> dict[str, str]:
    """What a result may depend on besides its configuration; `revision`: left out, that of the checkout, by git."""
    versions = {name: metadata.version(name) for name in PACKAGES if _installed(name)}
    return {
        "python": platform.python_version(),
        **versions,
        "revision": _revision() if revision is None else revision,
        "platform": platform.platform(),
        "processor": processor_name(),
        "second-level cache": f"{core_cache() >> 10} KiB",  # decides the form of products
        "XLA's options": " ".join(f"{name}={value}" for name, value in (compiler_options() or {}).items()),
        "LSTM layers": describe(SOURCE),
        "devices": describe_devices(),
        **numerics(),
        "matmul precision of measurements": PRECISION,
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        "command": command(),
    }


def _installed(name):
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def _revision() -> str:
    """The commit of the checkout that rnnlab is imported from, "-dirty" if a file is changed or new; "" without one."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists() or not shutil.which("git"):
        return ""
    status = ["git", "-C", str(root), "status", "--porcelain=v2", "--branch"]
    lines = subprocess.run(status, capture_output=True, text=True, check=False).stdout.splitlines()
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid ")), "")
    return commit + "-dirty" * any(not line.startswith("#") for line in lines)
