"""A user's own script: train, load, predict."""

import subprocess
import sys

from program import environment

SCRIPT = """
import jax, rnnlab
small = {"train.steps": 4, "train.window": 2, "cell.features": 4, "seeds": 2, "flow.examples": 2}
run = rnnlab.run("long_memory", tier="smoke", arms="Adding*/LSTM*", settings=small, quiet=True)
trained = rnnlab.load(run.folder, "*/LSTM", seed=1, at="best")
batch = trained.task.sample(jax.random.key(0), 3)
outputs = trained.model(batch.inputs, answers=trained.task.answers)
carries, h = trained.model.step(trained.model.initial_carry(3), batch.inputs[0])
print(trained, outputs.shape, h.shape, float(trained.task.metrics(outputs, batch)["loss"]))
"""


def test_a_user_trains_loads_and_predicts_in_ten_lines(tmp_path, cache):
    (tmp_path / "mine.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "mine.py"], cwd=tmp_path, env=environment(cache), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "") and len(SCRIPT.split("\n")) <= 12
    assert (
        done.stdout.startswith("<Trained LSTM on Adding 30: not learned; after ") and "(1, 3, 1) (3, 4)" in done.stdout
    )
