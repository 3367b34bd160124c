"""Results of both layouts are read into the same objects, and what is none is said to be."""

import json

import numpy as np
import pytest
from made_results import made, read, whole

from rnnlab.runs.files import Damaged, read_json, write_json
from rnnlab.runs.results import SCHEMA, Claim, read_results, results_from
from rnnlab.settings.errors import SettingError


def second(found):
    """The same in the present schema."""
    arms = {
        name: {
            "task": name.split("/")[0], "label": name.split("/")[1], "settings": settings, "fits": {},
            "chance": found["chance"][name], "needed_lag": found["needed_lag"].get(name.split("/")[0]), "rule": "",
        }
        for name, settings in found["settings"].items()
    }  # fmt: skip
    claims = [Claim("a", "b", "c", "d", None, "why")._asdict()]
    old = ("settings", "chance", "needed_lag", "rule", "fits")
    kept = {name: value for name, value in found.items() if name not in old}
    return kept | {"schema": SCHEMA, "arms": arms, "claims": claims, "verdict": "So."}


def test_both_layouts_are_read_into_the_same_objects(tmp_path):
    write_json(tmp_path / "new.json", second(whole(made())))
    old, new = read(made()), read_results(tmp_path / "new.json")
    assert list(old.arms) == list(new.arms) and list(old.tasks) == list(new.tasks) == ["Adding 200", "PaddedDigits 500"]
    for a, b in zip(old.arms.values(), new.arms.values(), strict=True):
        assert (a.task, a.label, a.chance, a.needed_lag) == (b.task, b.label, b.chance, b.needed_lag)
        assert a.horizon() == b.horizon() and a.times() == b.times()
    assert new.claims == (Claim("a", "b", "c", "d", None, "why"),) and new.verdict == "So."


def test_what_is_no_result_is_said_to_be_damaged(tmp_path):
    for content in ({"trials": []}, {"schema": SCHEMA}, {"schema": SCHEMA + 1}):
        write_json(tmp_path / "results.json", content)
        with pytest.raises(Damaged, match=r"results\.json: damaged|newer than this rnnlab"):
            read_results(tmp_path / "results.json")


def test_a_state_after_training_is_that_of_trials_that_were_trained():
    arm = read(made()).arms["Adding 200/VanillaRNN"]
    assert [trial.measured("trained") for trial in arm.trials] == [True, False, True]  # the second diverged
    assert arm.trials[1].horizon("trained") is None and arm.trials[1].horizon("init").horizon == 18
    assert arm.horizon("trained").n == 2 and arm.horizon().n == 3 and arm.learned == 0
    assert arm.trials[0].profile("init", "no such component") is None and arm.trials[0].probe("none") is None


def test_arms_are_chosen_by_name_or_pattern_in_their_order():
    results = read(made())
    assert list(results.only("*/LSTM*").arms) == [name for name in results.arms if "/LSTM" in name]
    assert list(results.only(reversed(list(results.arms)[:2])).arms) == list(results.arms)[:2]
    assert next(iter(results.longest.values())).length == 500
    for wrong in ("*/LSMT*", ["Adding 200/LSMT chrono"]):
        with pytest.raises(SettingError, match="nearest is"):
            results.only(wrong)


def test_a_setting_is_a_number_none_or_text():
    found = made()
    name = next(iter(found["settings"]))
    found["settings"][name] |= {"train.clip_norm": "None", "train.learning_rate": "0.01"}
    arm = read(found).arms[name]
    values = [arm.value(path) for path in ("train.clip_norm", "train.learning_rate", "cell.features", "cell")]
    assert values == [None, 0.01, 64, "VanillaRNN"]


def test_every_published_result_is_read(tmp_path):
    """Files written by earlier versions, of the first schema."""
    from pathlib import Path

    for file in (Path(__file__).parents[2] / "experiments" / "results").glob("*.json"):
        results = read_results(file)
        assert json.loads(file.read_text()).get("schema", 1) == 1 and len(results.trials) >= 20
        assert all(np.isfinite(trial.curve["eval/loss"]).all() for trial in results.trials)
        assert results_from(read_json(file)).arms.keys() == results.arms.keys()
