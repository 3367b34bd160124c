"""Results of both layouts are read into the same objects, and what is none is said to be."""

import json

import numpy as np
import pytest
from made_results import made, read, whole

from rnnlab.data.card import DataCard
from rnnlab.reports.data_table import data_table
from rnnlab.runs.files import Damaged, read_json, write_json
from rnnlab.runs.results import Claim
from rnnlab.runs.results_file import SCHEMA, read_results, results_from
from rnnlab.settings.errors import SettingError
from rnnlab.stats.survival import logrank


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


def test_an_arm_has_its_tasks_data_and_baselines():
    card = DataCard("digits", "UCI", "CC BY", 3, {"training": "2", "held out": "1"}, "0" * 16, ["a gap: filled"])
    found = second(whole(made()))
    of = {
        name: parts | {"card": card._asdict() if name.startswith("Padded") else None}
        for name, parts in found["arms"].items()
    }
    padded = [name for name in of if name.startswith("Padded")]
    found |= {"arms": of, "baselines": [{"arms": padded, "found": {"naive": 0.5}}]}
    results = results_from(json.loads(json.dumps(found)))
    assert all(results.arms[name].card == card and results.arms[name].baselines == {"naive": 0.5} for name in padded)
    assert all(not arm.baselines and arm.card is None for arm in results.arms.values() if arm.name not in padded)
    [row] = data_table(results).rows
    assert row == ["digits", "UCI", "CC BY", "3", "training: 2; held out: 1", "0" * 16, "a gap: filled"]


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
        with pytest.raises(SettingError, match=r"matches no arm|nearest is"):
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


def arms_of(**arms):
    """Arms of results whose trials hold no more than what is given."""
    trials = [{"learned_at": -1} | t | {"arm": name, "seed": n} for name, of in arms.items() for n, t in enumerate(of)]
    return read({"trials": trials, "settings": {name: {"task": "Adding", "task.length": "9"} for name in arms}}).arms


def test_a_diverged_trial_is_censored_at_its_budget():
    """It counts as unsolved at the arm's budget, not where it diverged: diverging early is no reason to be left out."""
    trials = [
        {"status": "learned", "learned_at": 50, "steps": 50, "sequences": 1600},
        {"status": "learned", "learned_at": 80, "steps": 200, "sequences": 6400},  # it trained on
        {"status": "not learned", "steps": 200, "sequences": 6400},
        {"status": "diverged", "steps": 3, "sequences": 96},
    ]
    assert arms_of(some=trials)["some"].times() == ([1600, 2560], [6400, 6400])
    assert arms_of(none=[{"steps": 0, "status": "not learned", "sequences": 0}])["none"].times() == ([], [])


def test_an_arm_that_always_diverges_is_slower_than_one_that_learns():
    """It is censored at its budget, not at the longest of its arm: five that diverged at once against five that took
    half of the budget are 2 of the 252 splits."""
    good = [{"status": "learned", "learned_at": 50 + n, "steps": 50 + n, "sequences": 32 * (50 + n), "budget": 3200}
            for n in range(5)]  # fmt: skip
    dead = [{"status": "diverged", "steps": n, "sequences": 32 * n, "budget": 3200} for n in range(5)]
    times = [arm.times() for arm in arms_of(good=good, dead=dead).values()]
    assert times[1] == ([], [3200] * 5)
    assert logrank(*times) == pytest.approx(2 / 252)


@pytest.mark.parametrize(
    "trial, whether",
    [
        ({"steps": 0, "status": "diverged", "budget": 3200}, True),
        ({"steps": 0, "status": "diverged"}, True),
        ({"steps": 7, "status": "not learned"}, True),
        ({"steps": 0, "status": "not learned"}, False),
        ({"steps": 0, "status": "not learned", "budget": 0}, False),
        ({"steps": 0, "status": "diverged", "budget": 0}, False),
    ],
)
def test_a_trial_that_diverged_at_its_first_update_was_trained(trial, whether):
    assert arms_of(one=[{"sequences": 0} | trial])["one"].trained == whether
