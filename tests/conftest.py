"""Tests state facts of the field. float64 is on, so that an oracle and not rounding decides."""

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # two test workers share an accelerator
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA's remarks on programs that it reads from a cache

import jax
import pytest
from program import TINY

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)  # a test compiles much and computes little


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="the long fault campaigns too")


def pytest_configure(config):
    """Compiled programs are kept between runs: XLA's key is the program itself with its versions and flags."""
    jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--all") and "campaign" not in (config.option.markexpr or ""):
        left_out = [item for item in items if item.get_closest_marker("campaign")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def cache(pytestconfig):
    """Compiled programs, shared by the processes that these tests start."""
    return pytestconfig.cache.mkdir("compiled")


@pytest.fixture
def place(tmp_path, cache):
    """A folder with an experiment of the user's own."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "tiny.py").write_text(TINY)
    return tmp_path
