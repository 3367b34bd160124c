"""A network that is used after its code has changed says so, and one whose code is the same says nothing."""

import json

import pytest

import rnnlab
from rnnlab.runs.best_trial import best_trial
from rnnlab.tasks import Adding

SMALL = {"cell.features": 2, "train.steps": 2, "train.window": 1, "train.batch_size": 2, "task.length": 6}


@pytest.mark.slow
def test_what_changed_since_a_network_was_trained_is_named(tmp_path, capsys):
    run = rnnlab.run("long_memory", tier="smoke", sweep="cell=LSTM", workdir=tmp_path / "r", quiet=True, settings=SMALL)
    best_trial(run.folder, Adding, "--exp=long_memory")
    assert capsys.readouterr().err == ""
    file = tmp_path / "r" / "config.json"
    config = json.loads(file.read_text())
    for files in config["sources"].values():
        files["rnnlab/tasks/adding.py"] = "other"
        files["rnnlab/training/loop.py"] = "other, which no trained network runs through"
    file.write_text(json.dumps(config))
    best_trial(run.folder, Adding, "--exp=long_memory")
    told = capsys.readouterr().err
    assert "rnnlab/tasks/adding.py changed since" in told and "loop.py" not in told and told.count("\n") == 1
