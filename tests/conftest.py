"""Tests state facts of the field. float64 is on, so that an oracle and not rounding decides."""

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # two test workers share an accelerator

import jax
import pytest
from program import TINY

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)  # a test compiles much and computes little


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Compiled programs, shared by the processes that these tests start."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def place(tmp_path, cache):
    """A folder with an experiment of the user's own."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "tiny.py").write_text(TINY)
    return tmp_path
