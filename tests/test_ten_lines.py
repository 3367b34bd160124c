"""A user's own script: train, load, predict, export."""

import subprocess
import sys

import pytest
from program import environment

pytestmark = pytest.mark.slow

SCRIPT = """
import jax, rnnlab
small = {"train.steps": 4, "train.window": 2, "cell.features": 4, "seeds": 2, "flow.examples": 2}
run = rnnlab.run("long_memory", tier="smoke", arms="Adding*/LSTM*", settings=small, quiet=True)
trained = rnnlab.load(run.folder, "*/LSTM", seed=1, at="best")
batch = trained.task.sample(jax.random.key(0), 3)
outputs = trained.model(batch.inputs, answers=trained.task.answers)
carries, h = trained.model.step(trained.model.initial_carry(3), batch.inputs[0])
rnnlab.export(trained.model, "adding.jax", answers=1)
off = abs(rnnlab.load_exported("adding.jax")(batch.inputs) - outputs).max()
print(trained, outputs.shape, h.shape, off < 1e-6)
"""


def test_a_user_trains_loads_predicts_and_exports_in_ten_lines(tmp_path, cache):
    pytest.importorskip("flatbuffers")
    (tmp_path / "mine.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "mine.py"], cwd=tmp_path, env=environment(cache), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "") and len(SCRIPT.strip().split("\n")) == 10
    assert done.stdout.startswith("<Trained LSTM on Adding 30: not learned; after ")
    assert done.stdout.endswith("(1, 3, 1) (3, 4) True\n")
