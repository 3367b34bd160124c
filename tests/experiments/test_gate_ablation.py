"""The verdict on an LSTM's parts follows from the trials, whichever way they fall."""

import math

import numpy as np
import pytest
from made_results import read

from rnnlab.reports.claims import claims_table
from rnnlab.settings import experiments, resolve

pytestmark = pytest.mark.slow

MODULE = experiments.load_experiment("gate_ablation")
SPEED = {"no linearity": 8, "no input gate": 2, "no output gate": 1}  # times the whole LSTM's sequences


def results(never=(), tier="quick", of="quick", seeds=99, speed=None):
    """The trials of a tier as `results.json` holds them: a loss that the learning rate alone decides.

    Args:
      never: cells that learn in no trial.
      tier: said to be theirs.
      of: whose arms they are.
      seeds: of an arm at most.
      speed: of some cells, in place of `SPEED`.
    """
    arms = resolve.resolve(MODULE, of, {})
    speed = SPEED | (speed or {})
    trials = []
    for arm, spec in arms.items():
        task, _, cell = arm.rpartition("/")
        for seed in list(spec.trial_seeds())[:seeds]:
            learned = cell not in never and not task.endswith("draws")
            steps = round(25 * (4 + seed) * speed.get(cell, 1)) if learned else 1500
            loss = 0.01 + (math.log10(spec.train.learning_rate) + 2.2) ** 2 + 1e-4 * seed
            path = 0.0 if cell == "no forget gate" else -0.3
            reach = {
                name: {"decay_rate": rate, "half_life": 7.0, "horizon": 49, "censored": True}
                for name, rate in {"h": -0.1, "c": -0.1, "c cell path": path}.items()
            }
            profile = {"lag": [0, 49], "h": [0.0, -1.0], "c": [0.0, -1.0], "c cell path": [0.0, 20 * path]}
            trials.append({
                "arm": arm, "seed": seed, "status": "learned" if learned else "not learned", "steps": steps,
                "learned_at": steps if learned else -1, "sequences": 32 * steps, "reason": None,
                "eval": {"loss": loss, "accuracy": 0.5}, "curve": {"step": [25, steps], "eval/loss": [1.0, loss]},
                "reach": {"init": reach, "trained": reach}, "profiles": {"init": profile, "trained": profile},
            })  # fmt: skip
    tasks = {arm.rpartition("/")[0]: spec.task for arm, spec in arms.items()}
    return {
        "tier": tier,
        "fraction": 1e-3,
        "settings": {arm: resolve.flat(spec) for arm, spec in arms.items()},
        "needed_lag": {name: task.needed_lag for name, task in tasks.items()},
        "rule": {name: "held-out accuracy of at least 0.99" for name in tasks},
        "chance": {arm: float(spec.task.chance) for arm, spec in arms.items()},
        "trials": trials,
    }


def verdicts(found):
    """{claim: (measured, verdict)} of a report."""
    rows = claims_table(MODULE.report(read(found)).claims).rows
    return {row[0].partition(" (")[0]: (row[3], row[4]) for row in rows}


def test_a_part_is_judged_by_the_sequences_that_learning_takes_without_it():
    """Eight times the sequences in every trial of five are 2 of 252 splits, of six parts p = .048 after Holm."""
    found = verdicts(results(never=("no output squashing",), speed={"no forget gate": 1.1}))
    for task in ("Adding 50", "TemporalOrder 50"):
        assert found[f"{task}: no linearity slows learning"] == ("38400 (p 0.048)", "met")
        measured, verdict = found[f"{task}: no output squashing slows learning"]
        assert measured.startswith("inf") and verdict == "met"
        assert found[f"{task}: no forget gate slows learning"][1].startswith("not judged")  # nearly as fast
        assert found[f"{task}: no forget gate: most trials learn"] == ("1.00 [0.57, 1.00]", "met")
        assert found[f"{task}: no forget gate: the cell path does not decay"] == ("0", "met")


def test_the_claims_say_what_the_paired_table_says():
    report = MODULE.report(read(results()))
    assert report.columns[:2] == ("trials", "learned")
    claimed = {claim.says: claim.measured for claim in report.claims}
    assert len(report.tables) == 2
    for table in report.tables:
        ps = {row[0]: row[-1] for row in table.rows}
        for part in ("no linearity", "no forget gate"):
            name = next(arm for arm in ps if arm.endswith(part))
            said = claimed[f"{name.replace('/', ': ')} slows learning"].partition("(p ")[2].rstrip(")")
            assert float(said) == pytest.approx(float(ps[name]), abs=5e-3)


def test_that_no_difference_is_seen_is_not_judged_and_one_that_is_speaks_against_it():
    same = verdicts(results())["Adding 50: coupled gates costs nothing"]
    assert same[1] == "not judged: that no difference is seen does not show that there is none"
    assert verdicts(results(speed={"coupled gates": 8}))["Adding 50: coupled gates costs nothing"][1] == "not met"
    faster = {name: 8 for name in MODULE.WITHOUT if name != "coupled gates"}
    assert verdicts(results(speed=faster))["Adding 50: coupled gates costs nothing"][1] == "met"


def test_what_no_number_of_such_trials_could_show_is_not_judged():
    """Four against four: the least p is 2 / 70, six times that after Holm. Of one trial a rate is anything."""
    found = verdicts(results(seeds=4))
    said = {verdict for name, (_, verdict) in found.items() if "slows" in name}
    assert said == {"not judged: too few trials for a test of so many parts"}
    assert verdicts(results(seeds=1))["Adding 50: no forget gate: most trials learn"][1].startswith("not judged")


@pytest.mark.parametrize(
    "speed, verdict", [({"no forget gate": 1}, "not judged"), ({"no forget gate": 3}, "met"),
                       ({"no output gate": 9}, "not met")]
)  # fmt: skip
def test_gates_are_told_apart_by_a_test_and_not_by_their_medians(speed, verdict):
    """A tie is not judged; a gate is least missed where both others take longer at p < .05."""
    found = verdicts(results(speed={"no input gate": 3} | speed))
    assert found["Adding 50: no output gate is the least missed of 3"][1].startswith(verdict)


def test_what_a_part_costs_is_the_tests_to_say_where_medians_are_beyond_the_budget():
    """9 of 20 against none of 20: both medians are infinite, and the log-rank test tells them apart."""
    found = results(of="paper", never=("no linearity",))
    found["trials"] = [trial for trial in found["trials"] if trial["arm"].startswith("Adding 100/")]
    for trial in found["trials"]:
        if trial["arm"] == "Adding 100/LSTM" and trial["seed"] >= 9:
            trial |= {"status": "not learned", "learned_at": -1, "steps": 20_000, "sequences": 640_000}
    measured, verdict = verdicts(found)["Adding 100: no linearity slows learning"]
    assert measured.startswith("inf") and verdict == "met"


def test_what_no_arm_learned_is_not_judged():
    found = verdicts(results(never=tuple(MODULE.WITHOUT)))
    assert found["Adding 50: no linearity slows learning"][1].startswith("not judged")
    assert found["Adding 50: no output gate is the least missed of 3"][1].startswith("not judged")


def test_the_learning_rate_has_most_of_the_variance_where_it_alone_decides_the_loss():
    """Of 200 draws it is judged, of the quick tier's 24 it is not."""
    few = verdicts(results())
    measured, verdict = few["Adding 50/LSTM draws: the learning rate matters most"]
    assert verdict == "not judged" and float(measured.rstrip("%")) > 50
    found = results(of="paper")
    found["trials"] = [trial for trial in found["trials"] if "/LSTM draws/" in f"{trial['arm']}"]
    many = verdicts(found)
    assert many["Adding 100/LSTM draws: the learning rate matters most"][1] == "met"
    assert many["Adding 100/LSTM draws: interactions of two are small"][1] == "met"


def test_a_loss_of_zero_is_the_best_and_no_crash():
    found = results()
    drawn = [trial for trial in found["trials"] if "draws" in trial["arm"]]
    drawn[0]["curve"]["eval/loss"][-1] = 0.0
    assert "importance of settings, Adding 50/LSTM draws" in MODULE.report(read(found)).figures


@pytest.mark.parametrize("kept", ["*/LSTM", "*draws/*"])
def test_it_reports_what_a_choice_of_arms_left(kept):
    found = results()
    arms = set(resolve.resolve(MODULE, "quick", {}, kept))
    found["trials"] = [trial for trial in found["trials"] if trial["arm"] in arms]
    figures = MODULE.report(read(found)).figures
    assert any("importance" in name for name in figures) == (kept != "*/LSTM") == ("solving" not in figures)


def test_ablations_start_from_the_same_weights_and_draws_cover_their_axes():
    """Pairs differ in one part; of 24 draws each third of the learning rate's range has its share."""
    arms = resolve.resolve(MODULE, "quick", {})
    cells = [arms[f"Adding 50/{name}"].cell for name in MODULE.WITHOUT]
    assert len({(cell.features, cell.forget_bias, cell.recurrent) for cell in cells}) == 1
    rates = [math.log10(s.train.learning_rate) for name, s in arms.items() if "draws" in name]
    counts, _ = np.histogram(rates, bins=[-4, -3, -2, -1])
    assert counts.min() >= 7
