"""The trial whose network one would use."""

import math

import pytest

from rnnlab.runs import best_trial as module
from rnnlab.runs.best_trial import best_trial
from rnnlab.runs.ledger import Trial
from rnnlab.settings.errors import SettingError
from rnnlab.settings.resolve import ArmSpec
from rnnlab.tasks import Adding, CopyMemory

ARMS = {
    "Adding 9/A": ArmSpec(task=Adding(length=9), seeds=2),
    "Adding 9/B": ArmSpec(task=Adding(length=9), seeds=2),
    "Copy/A": ArmSpec(task=CopyMemory(), seeds=1),
}
LOSSES = {("Adding 9/A", 0): 0.3, ("Adding 9/A", 1): 0.2, ("Adding 9/B", 0): 0.1, ("Adding 9/B", 1): math.inf}


@pytest.fixture
def run(monkeypatch, tmp_path):
    """A run with these held-out losses."""
    monkeypatch.setattr("rnnlab.runs.best_trial.warn_of_other_code", lambda run, trial: None)
    monkeypatch.setattr(module, "read_arms", lambda folder: ARMS)
    monkeypatch.setattr(module.RunFolder, "to_read", lambda folder: folder)
    monkeypatch.setattr(module, "Ledger", lambda folder: None)
    monkeypatch.setattr(module, "_lowest_loss", lambda ledger, trial: LOSSES[trial.arm, trial.seed])
    return tmp_path


@pytest.mark.parametrize(
    ("chosen", "arm", "seed"),
    [
        ({}, "Adding 9/B", 0),
        ({"arm": "*A"}, "Adding 9/A", 1),
        ({"arm": "Adding 9/A", "seed": 0}, "Adding 9/A", 0),
        ({"seed": 1}, "Adding 9/A", 1),
    ],
)
def test_the_lowest_loss_of_what_is_named_is_chosen(run, chosen, arm, seed):
    assert best_trial(run, Adding, "--exp=long_memory", **chosen) == Trial(arm, seed, ARMS[arm])


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"arm": "Adding 9/C"}, "arm=Adding 9/C: no such arm of Adding; the nearest is Adding 9/"),
        ({"arm": "Copy/A"}, "arm=Copy/A: no such arm of Adding"),
        ({"seed": 2}, "seed=2: no such trial; there are 0 to 1"),
        ({"arm": "*B", "seed": 1}, "no such trial has ended with a finite loss"),
    ],
)
def test_what_there_is_none_of_is_one_line(run, chosen, told):
    with pytest.raises(SettingError) as error:
        best_trial(run, Adding, "--exp=long_memory", **chosen)
    assert told in str(error.value) and str(error.value).startswith(str(run))


def test_losses_of_several_tasks_do_not_compare(run, monkeypatch):
    other = {"Adding 30/A": ArmSpec(task=Adding(length=30))}
    monkeypatch.setattr(module, "read_arms", lambda folder: ARMS | other)
    with pytest.raises(
        SettingError, match=r"networks of 2 tasks \(Adding 9/A, Adding 30/A\): choose one, --arm='Adding 9/A'"
    ):
        best_trial(run, Adding, "--exp=long_memory")
    assert best_trial(run, Adding, "--exp=long_memory", arm="Adding 9/*").arm == "Adding 9/B"


def test_a_run_of_another_task_names_the_experiment(run):
    from rnnlab.tasks import TemporalOrder

    with pytest.raises(SettingError, match="no arm has the task TemporalOrder; rnnlab run --exp=x makes such a run"):
        best_trial(run, TemporalOrder, "--exp=x")
