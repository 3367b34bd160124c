"""What a user has set of JAX is obeyed, or refused in one line; what changes numbers is recorded."""

import os
import subprocess
import sys

import jax
import pytest
from program import ROOT

from rnnlab.cells import LSTM
from rnnlab.runs.environment import environment
from rnnlab.runs.sources import changed, sources
from rnnlab.settings.experiments import load_experiment
from rnnlab.settings.resolve import ArmSpec


def alone(code, **variables):
    """What a new process prints."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=known | variables)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("variables", "devices"),
    [
        ({"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}, "3"),
        ({"JAX_NUM_CPU_DEVICES": "1"}, "1"),
    ],
)
def test_a_number_of_devices_that_is_set_stays(variables, devices):
    code = "from rnnlab.training.layout import use_every_core as use; use(); import jax; print(jax.device_count())"
    assert alone(code, **variables, JAX_PLATFORMS="cpu") == devices


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("JAX_PLATFORMS", "rocm", "JAX_PLATFORMS=rocm: JAX has no such device here"),
        ("JAX_DISABLE_JIT", "1", "JAX_DISABLE_JIT=1: without compilation a run would take days; unset it"),
    ],
)
def test_what_cannot_be_obeyed_is_one_line(variable, value, told):
    said = alone("from rnnlab.training.canary import check_jax; print(check_jax())", **{variable: value})
    assert said.startswith(told) and "\n" not in said


@pytest.mark.slow
def test_a_run_on_a_platform_that_is_not_there_is_one_line():
    """Told before anything else of the run asks JAX for its devices."""
    words = [sys.executable, "-m", "rnnlab.run", "--exp=long_memory", "--tier=smoke", "--dry_run"]
    ran = subprocess.run(words, env=os.environ | {"JAX_PLATFORMS": "rocm"}, capture_output=True, text=True)
    said = [line for line in ran.stderr.splitlines() if line.startswith("rnnlab: ")]
    assert ran.returncode == 2 and len(said) == 1 and "Traceback" not in ran.stderr
    assert said[0].startswith("rnnlab: JAX_PLATFORMS=rocm: JAX has no such device here")


def test_settings_of_jax_that_change_numbers_are_recorded_and_a_change_is_named():
    module, spec = load_experiment("long_memory"), ArmSpec(cell=LSTM(features=4))
    before = sources(spec, module)
    with jax.default_matmul_precision("bfloat16"):
        assert environment()["jax_default_matmul_precision"] == "bfloat16"
        assert changed(before, sources(spec, module)) == ["jax_default_matmul_precision"]
    assert environment()["matmul precision of measurements"] == "highest"
    assert changed(before, sources(spec, module)) == []
