"""Tests state facts of the field. float64 is on, so that an oracle and not rounding decides."""

import gc
import os
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # two test workers share an accelerator
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA's remarks on programs that it reads from a cache
# A test compiles much and computes little. In the environment, so that the programs that tests start do likewise.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ["XLA_FLAGS"] = " ".join([
    "--xla_cpu_parallel_codegen_split_count=1",
    # later ones do not know it, and end a process that names it
    "--xla_cpu_use_fusion_emitters=false" if version("jaxlib").startswith("0.10.") else "",
    os.environ.get("XLA_FLAGS", ""),
])  # fmt: skip

import jax
import pytest
from hypothesis import settings
from program import TINY

gc.set_threshold(200_000, 20, 100)  # tracing makes many objects, few of them in circles: a tenth of all time
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_enable_x64", True)
settings.register_profile("drawn", max_examples=8, deadline=None)
settings.register_profile("same", max_examples=4, deadline=None, derandomize=True)


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="the slow tests and the long fault campaigns too")


def pytest_configure(config):
    """Compiled programs are kept between runs: XLA's key is the program itself with its versions and flags."""
    jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.02)
    # the short suite draws the same examples each time, so that their programs are compiled already
    settings.load_profile("drawn" if config.getoption("--all") else "same")


def pytest_collection_modifyitems(config, items):
    """Without --all, slow tests run where their file, folder or mark is named, campaigns where their mark is."""
    if config.getoption("--all"):
        return
    named = {Path(path.partition("::")[0]).resolve() for path in config.option.file_or_dir}
    asked = {mark for mark in ("slow", "campaign") if mark in (config.option.markexpr or "")}

    def left_out(item):
        marks = {mark.name for mark in item.iter_markers()} & {"slow", "campaign"}
        return bool(marks - asked - ({"slow"} if named & {item.path, *item.path.parents} else set()))

    left = [item for item in items if left_out(item)]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in set(left)]


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
