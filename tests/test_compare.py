"""Two runs are compared pair by pair, and what differs is named: settings, environment, outcomes, arms of one alone."""

import csv
import math

import pytest
from made_results import whole

from rnnlab import compare
from rnnlab.runs.files import Damaged, write_json
from rnnlab.settings.errors import SettingError

SETTINGS = {"cell": "LSTM", "task": "Adding", "task.length": "50", "train.learning_rate": "0.003"}


def trial(arm, seed, loss, status="not learned", learned_at=-1):
    """As `rnnlab.runs.arms` writes one."""
    reach = {"h": {"decay_rate": -0.1 - 0.01 * seed, "half_life": 7.0, "horizon": 20 + seed, "censored": False}}
    return {
        "arm": arm, "seed": seed, "status": status, "learned_at": learned_at, "reason": None, "steps": 100,
        "sequences": 3200, "eval": {"loss": loss, "accuracy": 1 - loss}, "curve": {"step": [100], "eval/loss": [loss]},
        "reach": {"init": reach, "trained": reach}, "map": None, "probes": [],
        "profiles": {"init": {"lag": [0], "h": [0.0]}, "trained": {"lag": [0], "h": [0.0]}},
    }  # fmt: skip


def run(folder, trials, settings=None, **environment):
    """A finished run's folder."""
    arms = {t["arm"]: SETTINGS | (settings or {}) for t in trials}
    where = {"python": "3.11.7", "jax": "0.10.1", "command": f"run in {folder}"} | environment
    write_json(folder / "config.json", {"experiment": "long_memory", "tier": "quick", "arms": arms})
    write_json(folder / "environment.json", where)
    found = whole({"trials": trials, "settings": arms, "environment": where})
    write_json(folder / "results.json", found)
    return folder


def found(a, b):
    return compare.compare(compare.read_run(a), compare.read_run(b))


def cells(table):
    return {row[0]: dict(zip(table.columns[1:], row[1:], strict=True)) for row in table.rows}


def test_outcomes_are_paired_by_arm_and_seed(tmp_path):
    """Five pairs whose losses all rise: Wilcoxon's exact p is 2 / 2^5; three that only b learned: McNemar's 2 / 2^3.

    The pairs differ by .01 to .05 around a spread of .4 over seeds: unpaired, nothing could be said.
    """
    a = [trial("A/LSTM", seed, 0.1 * seed) for seed in range(5)]
    b = [
        trial("A/LSTM", seed, 0.1 * seed + rise, *(("learned", 50) if seed < 3 else ()))
        for seed, rise in reversed(list(enumerate([0.02, 0.01, 0.05, 0.03, 0.04])))  # the order of trials is no matter
    ]
    other = [trial("A/GRU", 0, 0.5)]
    result = found(run(tmp_path / "a", a + other), run(tmp_path / "b", b + other))
    row = cells(result.tables["outcomes"])["A/LSTM"]
    assert row["pairs"] == "5"
    assert row["held-out loss"] == "0.0300 [0.0100, 0.0500], p 0.062"
    assert row["held-out accuracy"] == "-0.0300 [-0.0500, -0.0100], p 0.062"
    assert [row[name] for name in list(row)[1:3]] == ["0/5", "3/5"]
    assert row["difference"].startswith("0.60 [") and row["difference"].endswith(", p 0.25")
    assert row["horizon at init (steps)"] == "equal"
    assert row["sequences until learned, where both did"] == "n/a"
    every = cells(result.tables["outcomes"])["all arms"]
    assert list(every.values()) == ["6", "0/6", "3/6", *[""] * 7]  # pooled trials share batches: no test of them
    assert "settings" not in result.tables and "settings that differ: none" in result.sentence
    assert result.sentence.endswith("learned by 0 and 3 of them.")
    assert "of unequal training" not in result.tables["outcomes"].caption  # all trained to the end


def test_losses_of_trials_that_stopped_are_said_to_be_of_unequal_training(tmp_path):
    early = trial("A/LSTM", 0, 0.1, "learned", 50) | {"steps": 50, "sequences": 1600, "budget": 3200}
    outcomes = found(run(tmp_path / "a", [early]), run(tmp_path / "b", [trial("A/LSTM", 0, 0.2)])).tables["outcomes"]
    assert "of unequal training" in outcomes.caption


def test_a_carry_without_h_has_no_reach_and_the_rest_is_compared(tmp_path):
    """Reach is kept by component of the carry; a cell may name its own."""

    def own(loss):
        return trial("A/Mine", 0, loss) | {
            "reach": {"init": {"s": {"decay_rate": -0.1, "half_life": 7.0, "horizon": 3, "censored": False}}}
        }

    outcomes = found(run(tmp_path / "a", [own(0.1)]), run(tmp_path / "b", [own(0.2)])).tables["outcomes"]
    row = cells(outcomes)["A/Mine"]
    assert row["held-out loss"].startswith("0.100") and row["horizon at init (steps)"] == "n/a"


def test_what_differs_in_configuration_and_environment_is_a_row_each(tmp_path):
    trials = [trial(arm, 0, 0.1) for arm in ("A/LSTM", "A/GRU")]
    a = run(tmp_path / "a", trials)
    b = run(tmp_path / "b", trials, {"train.learning_rate": "0.01", "cell.bias": "chrono"}, jax="0.12.0", new="1")
    tables = found(a, b).tables
    assert tables["settings"].rows == [
        ["train.learning_rate", "0.003", "0.01", "all"],
        ["cell.bias", "absent", "chrono", "all"],
    ]
    assert tables["environment"].rows == [["jax", "0.10.1", "0.12.0"], ["new", "absent", "1"]]  # never the command


def test_arms_of_one_run_alone_are_named_and_equal_pairs_are_said_to_be_equal(tmp_path):
    a = run(tmp_path / "a", [trial("A/LSTM", 0, 0.1), trial("A/RNN", 0, 0.1)])
    b = run(tmp_path / "b", [trial("A/LSTM", 0, 0.1), trial("A/LSTM", 1, 0.9), trial("A/GRU", 0, 0.1)])
    result = found(a, b)
    assert f"only in {a}: A/RNN" in result.sentence and f"only in {b}: A/GRU" in result.sentence
    assert result.sentence.startswith(f"In both {a} and {b}: 1 trial of 1 arm; ") and "to the bit" in result.sentence
    assert cells(result.tables["outcomes"])["A/LSTM"]["held-out loss"] == "equal"
    nothing = found(a, run(tmp_path / "c", [trial("A/LSTM", 7, 0.1)]))
    assert nothing.sentence.startswith("No trial is in both") and "outcomes" not in nothing.tables


def test_runs_without_a_common_arm_show_their_settings_and_the_arms_that_are_nearest(tmp_path):
    """Names tell of a task's length, so of another length no arm is the same; two that are as near have no pair."""

    def made(folder, lengths, cells, **settings):
        arms = {f"B {t}/{c}": {"cell": c, "task.length": str(t)} | settings for t in lengths for c in cells}
        write_json(folder / "config.json", {"experiment": "long_memory", "tier": "quick", "arms": arms})
        write_json(folder / "environment.json", {"jax": "0.10.1"})
        found = whole({"trials": [trial(arm, 0, 0.1) for arm in arms], "settings": arms})
        write_json(folder / "results.json", found)
        return folder

    a, b = made(tmp_path / "a", [50, 60], ["LSTM", "RNN"]), made(tmp_path / "b", [70], ["LSTM"], seeds="3")
    result = found(a, b)
    assert result.sentence.startswith(f"No arm is in both {a} and {b}, so nothing is paired; only in {a}: B 50/LSTM")
    assert set(result.tables) == {"settings"}
    assert cells(result.tables["settings"]) == {
        "cell": {str(a): "LSTM | RNN", str(b): "LSTM"},
        "task.length": {str(a): "50 | 60", str(b): "70"},
        "seeds": {str(a): "absent", str(b): "3"},
    }
    nearest = found(made(tmp_path / "c", [50], ["LSTM", "RNN"]), b).tables["nearest"]
    assert nearest.rows == [["B 50/LSTM", "B 70/LSTM", "task.length, seeds"]]


def test_a_diverged_trial_has_not_learned_and_no_other_outcome(tmp_path):
    a = run(tmp_path / "a", [trial("A/LSTM", seed, 0.2, "learned", 10 * (seed + 1)) for seed in range(3)])
    wild = [trial("A/LSTM", 0, math.nan, "diverged"), *(trial("A/LSTM", s, 0.1, "learned", 90) for s in (1, 2))]
    row = cells(found(a, run(tmp_path / "b", wild)).tables["outcomes"])["A/LSTM"]
    assert row["held-out loss"] == "-0.100 [-0.100, -0.100], p 0.50 (2 of 3 pairs)"
    assert [row[name] for name in list(row)[1:3]] == ["3/3", "2/3"]
    # learned after 20 and 30 updates against 90, 32 sequences each
    assert row["sequences until learned, where both did"].startswith("2080 [1920, 2240], p 0.50")


def test_tables_are_written_in_three_forms(tmp_path, capsys):
    a = run(tmp_path / "a", [trial("A/LSTM", 0, 0.1)])
    b = run(tmp_path / "b", [trial("A/LSTM", 0, 0.2)], {"task.length": "60"})
    out = tmp_path / "out"
    assert compare.main(["compare", str(a), str(b), f"--out={out}"]) == 0
    assert sorted(p.name for p in out.iterdir()) == [
        f"{name}.{ending}" for name in ("outcomes", "settings") for ending in ("csv", "md", "tex")
    ]
    assert list(csv.reader((out / "settings.csv").read_text().splitlines()))[1] == ["task.length", "50", "60", "all"]
    assert f"In both {a} and {b}: 1 trial of 1 arm; " in capsys.readouterr().out


def test_a_bad_folder_is_one_clear_line(tmp_path, capsys):
    good = run(tmp_path / "good", [trial("A/LSTM", 0, 0.1)])
    halfway = run(tmp_path / "halfway", [trial("A/LSTM", 0, 0.1)])
    (halfway / "results.json").unlink()
    torn = run(tmp_path / "torn", [trial("A/LSTM", 0, 0.1)])
    (torn / "results.json").write_text("{")
    lacking = run(tmp_path / "lacking", [trial("A/LSTM", 0, 0.1)])
    write_json(lacking / "results.json", {})
    for folder, kind, message in [
        (tmp_path / "absent", SettingError, "no such folder"),
        (halfway, SettingError, "has not ended"),
        (torn, Damaged, "results.json: damaged"),
        (lacking, Damaged, "damaged"),
    ]:
        with pytest.raises(kind, match=message):
            compare.read_run(folder)
        compare.FLAGS.unparse_flags()
        compare.FLAGS["out"].unparse()
        assert compare.main(["compare", str(good), str(folder)]) == 2
        err = capsys.readouterr().err
        assert err.startswith("rnnlab: ") and err.count("\n") == 1 and str(folder) in err
    assert compare.main(["compare", str(good), str(good), f"--out={good / 'config.json'}"]) == 2
    assert "--out=" in capsys.readouterr().err
    assert compare.main(["compare", str(good)]) == 2
    assert compare.main(["compare", "--oot=x"]) == 2
    assert capsys.readouterr().err.count("\n") == 2
    assert compare.main(["compare", "--help"]) == 0
    assert capsys.readouterr().out.startswith("python -m rnnlab.compare RUN_A RUN_B [--out=FOLDER]")
