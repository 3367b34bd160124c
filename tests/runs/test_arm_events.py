"""TensorBoard opens with a curve an arm: the mean over its seeds, its range, the answer and the table."""

import numpy as np
from made_results import made, read
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.util.tensor_util import make_ndarray

from rnnlab.runs.arm_events import MOST, write_arms
from rnnlab.runs.folder import RunFolder

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


def opened(folder):
    found = {}
    for path in sorted(folder.rglob("*tfevents*")):
        found[path.parent.name] = EventAccumulator(str(path.parent)).Reload()
    return found


def test_each_label_is_one_run_with_a_chart_a_task(tmp_path):
    """In the declared order; the mean lies within the range; tasks of other losses have charts of their own."""
    results = read(made())
    for _ in range(2):  # made again, the runs are replaced
        write_arms(RunFolder.to_read(tmp_path), results, "It <is>.", "| arm |", {"flow": PNG})
    runs = opened(tmp_path / "tensorboard")
    assert list(runs) == ["1 VanillaRNN", "2 LSTM forget bias 1", "3 LSTM chrono", "report"]
    tags = set(runs["2 LSTM forget bias 1"].Tags()["scalars"])
    assert {"held-out loss/Adding 200", "held-out loss/PaddedDigits 500"} <= tags
    band = "range over seeds/held-out loss, Adding 200, "
    mean, low, high = (
        [e.value for e in runs["3 LSTM chrono"].Scalars(tag)]
        for tag in ("held-out loss/Adding 200", f"{band}least", f"{band}greatest")
    )
    assert len(mean) == 10 and all(a <= b + 1e-6 and b <= c + 1e-6 for a, b, c in zip(low, mean, high, strict=True))
    report = runs["report"]
    assert b"It" in make_ndarray(report.Tensors("answer")[0].tensor_proto).item()
    layout = Layout.FromString(make_ndarray(report.Tensors("custom_scalars__config__")[0].tensor_proto).item())
    charts = {chart.title: chart.margin.series[0] for c in layout.category for chart in c.chart}
    assert charts["held-out loss, Adding 200"].lower == f"{band}least"


def test_a_trial_that_learned_keeps_its_last_value_and_one_that_diverged_is_left_out():
    arm = read(made()).arms["Adding 200/LSTM chrono"]  # seeds stop after 800, 900 and 1,000 updates
    steps, values = arm.curves("eval/loss")
    assert steps.tolist() == list(range(100, 1001, 100)) and values.shape == (3, 10)
    np.testing.assert_allclose(values[0, -3:], values[0, -3])
    _, values = read(made()).arms["Adding 200/VanillaRNN"].curves("eval/loss")
    assert values.shape[0] == 2


def test_of_very_many_arms_those_with_the_least_loss_are_shown(tmp_path):
    """TensorBoard unticks all of more than 40 runs."""
    found = made()
    [first, *_] = [t for t in found["trials"] if t["status"] == "learned"]
    names = [f"Adding 200/arm {n}" for n in range(60)]
    trials = [first | {"arm": name, "eval": {"loss": 1 - n / 100, "accuracy": 0.5}} for n, name in enumerate(names)]
    settings = {name: {"cell": "LSTM", "task": "Adding", "task.length": "200"} for name in names}
    many = read(found | {"trials": trials, "settings": settings, "chance": dict.fromkeys(names, 1.0)})
    write_arms(RunFolder.to_read(tmp_path), many, "", "", {})
    runs = [name for name in opened(tmp_path / "tensorboard") if name != "report"]
    assert len(runs) == MOST and runs[0] == "01 arm 24" and runs[-1] == "36 arm 59"
