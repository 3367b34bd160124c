"""What README and CONTRIBUTING show runs as it stands."""

import re
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def blocks(name):
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)


@pytest.mark.parametrize(
    ("name", "number"), [("README.md", 0), ("CONTRIBUTING.md", 0), ("CONTRIBUTING.md", 1), ("CONTRIBUTING.md", 2)]
)
def test_the_example_runs(name, number, tmp_path):
    """Each in a process of its own, so that its cells are no part of the other tests."""
    code = blocks(name)[number]
    if "class SubLSTM" in code:  # a cell: it must unroll, with a gradient along the cell path
        code += (
            "\nfrom flax import nnx\nfrom rnnlab.model import SequenceModel\n"
            "from rnnlab.probes.gradients.flow import gradient_flow\n"
            "model = SequenceModel(SubLSTM(features=4), 2, 1, rngs=nnx.Rngs(0))\n"
            "flow = gradient_flow(model, jnp.ones((9, 2, 2)), lambda outputs: outputs[-1, :, 0])\n"
            "assert 'layer0/c cell path' in flow\n"
        )
    if "class FirstBit" in code:
        code += (
            "\ntask = FirstBit(length=9)\nbatch = task.sample(jax.random.key(0), 4)\n"
            "assert task.metrics(batch.targets.astype(float), batch)['accuracy'] == 1\n"
            "assert task.metrics(0 * batch.targets, batch)['loss'] == task.chance\n"
        )
    if "def arms" in code:
        code += "\nassert sorted({name.split('/')[1] for name in arms('smoke')}) == ['LSTM', 'ReLU']\n"
    (tmp_path / "example.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_contributing_is_short():
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 50


def test_what_readme_installs_for_accelerators_is_an_extra_of_jax():
    """pip only warns of an extra that does not exist, and JAX then runs on the CPU."""
    start = (ROOT / "README.md").read_text().split("## Start")[1].split("\n## ")[0]
    named = set(re.findall(r"jax\[(\w+)\]", start))
    assert {"cuda13", "tpu"} <= named <= set(metadata("jax").get_all("Provides-Extra"))
