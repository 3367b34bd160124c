"""A row an arm says what its trials did, as text and as numbers."""

import csv
import io
import math
import re

import numpy as np
import pytest
import sweep_results
from made_results import made, read

from rnnlab.reports.arm_columns import COLUMNS, MAIN, SWEEP, Column
from rnnlab.reports.arm_tables import arms_csv, arms_table, trials_csv
from rnnlab.settings.errors import SettingError
from rnnlab.stats import estimates


def cells(table, arm):
    [row] = [row for row in table.rows if row[0] == arm]
    return dict(zip(table.columns, row, strict=True))


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)]


def test_the_table_follows_from_the_results():
    """Rates are means with t intervals, horizons medians with their range, and both equal those of the trials."""
    row = cells(arms_table(read(made())), "PaddedDigits 500/LSTM forget bias 1")
    rate = estimates.mean([-0.12, -0.126, -0.132])
    np.testing.assert_allclose(numbers(row["decay of dL/dh at init (nats/step)"]), rate[:3], atol=0.005)
    path = estimates.mean([-0.33, -0.3465, -0.363])
    np.testing.assert_allclose(numbers(row["decay along the cell path at init (nats/step)"]), path[:3], atol=0.005)
    np.testing.assert_allclose(numbers(row["half-life of dL/dh at init (steps)"]), [5.5, 5.25, 5.78], atol=0.06)
    assert row["horizon at init (steps)"] == "54 [52, 57]"  # ln 1000 / .126, / .132, / .12
    assert row["horizon after training (steps)"] == "219 [209, 230]"
    assert row["learned"] == "3/3 [0.44, 1.00]"
    assert (row["trials"], row["held-out accuracy"], row["chance loss"]) == ("3", "0.990 [0.990, 0.990]", "2.30")


def test_a_diverged_trial_is_counted_named_and_not_measured_after_training():
    row = cells(arms_table(read(made())), "Adding 200/VanillaRNN")
    assert row["trials"] == "3 (1 diverged: seed 1)" and row["learned"].startswith("0/3")
    assert row["horizon at init (steps)"] == "18 [17, 19]"  # of all three
    assert row["horizon after training (steps)"] == "74.5 [71, 78]"  # of two
    assert row["decay along the cell path at init (nats/step)"] == "none"
    assert "nan" not in row["held-out loss"]


def test_what_the_sequence_cuts_off_is_a_lower_bound():
    """A horizon of T-1 may be longer, and an adjoint that grows has no half-life."""
    row = cells(arms_table(read(made())), "Adding 200/LSTM chrono")
    assert row["horizon at init (steps)"] == ">= 199" and row["half-life of dL/dh at init (steps)"] == "does not fall"
    some = made()
    some["trials"][6]["reach"]["init"]["h"] = {"decay_rate": -0.1, "half_life": 7.0, "horizon": 69, "censored": False}
    row = cells(arms_table(read(some)), "Adding 200/LSTM chrono")
    assert row["horizon at init (steps)"] == ">= 199 [69, >= 199]"
    assert row["half-life of dL/dh at init (steps)"] == "does not fall [7.0, inf]"


def test_one_trial_has_no_interval():
    row = cells(arms_table(read(made(seeds=1))), "Adding 200/LSTM forget bias 1")
    bare = {name: text for name, text in row.items() if name != "learned"}
    assert not any("[" in text or "nan" in text for text in bare.values())
    assert row["horizon at init (steps)"] == "57" and row["learned"] == "1/1 [0.21, 1.00]"


def test_a_row_an_arm():
    """By hand: 4 of 6 solved by 800 sequences; S is 1/2 from 600 to 800, and the median the middle of that."""
    table = arms_table(read(sweep_results.made()), SWEEP)
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert rows["long/base"]["sequences to solve"] == "700 [400, >= 1,000]"
    assert rows["long/better"]["sequences to solve"].startswith("200 [")
    assert rows["long/worse"]["sequences to solve"] == ">= 1,000"
    assert rows["long/worse"]["trials"] == "6 (1 diverged: seed 4)"
    assert rows["long/worse"]["learned"].startswith("0/6 [")
    assert rows["long/base"]["held-out loss"].startswith("0.125 [")  # of .10 to .15
    assert rows["long/worse"]["held-out loss"].startswith("0.240 [")


def test_what_was_not_trained_has_no_time():
    results = sweep_results.made()
    results["trials"] = [
        t | {"steps": 0, "sequences": 0, "status": "not learned", "eval": {}} for t in results["trials"]
    ]
    table = arms_table(read(results), SWEEP)
    assert not {"learned", "sequences to solve", "held-out loss"} & set(table.columns)  # they say nothing of any arm


def test_a_trial_that_diverged_at_its_first_update_did_not_learn():
    """It counts with the others, and is watched to its budget."""
    results = sweep_results.made()
    results["trials"] = [t for t in results["trials"] if t["arm"] != "long/worse"] + [
        sweep_results.trial("long/worse", seed, math.nan, math.nan)
        | {"steps": 0, "sequences": 0, "eval": {}, "budget": 1000}
        for seed in range(5)
    ]
    row = next(row for row in arms_table(read(results), SWEEP).rows if row[0] == "long/worse")
    assert row[2].startswith("0/5 [") and row[3] == ">= 1,000"


def test_guessed_weights_have_wilsons_interval():
    """None of 64: the upper end is z^2 / (n + z^2) = .0566."""
    results = sweep_results.made()
    results["trials"] = [
        t | {"guessing": {"guesses": 32, "solved": 0, "best": 0.1}} for t in results["trials"] if t["seed"] < 2
    ]
    table = arms_table(read(results), ["learned", "guessing"])
    assert table.rows[0][-1] == "0/64 [0, 0.057]"
    assert "of 32 networks beside each trial" in table.caption


def test_a_column_that_says_nothing_is_left_out_and_a_wrong_one_is_named():
    """A main table has at most seven columns, the arm's included."""
    table = arms_table(read(made()))
    assert "solved by guessing weights" not in table.columns and "one decay rate for all lags?" not in table.columns
    assert len(arms_table(read(made()), MAIN).columns) <= 7 and len(arms_table(read(made()), SWEEP).columns) <= 7
    assert [row[0] for row in table.rows] == list(read(made()).arms)
    with pytest.raises(SettingError, match=r"--columns=horizn: no such column; the nearest is horizon"):
        arms_table(read(made()), ["horizn"])


def test_an_experiments_own_column_stands_beside_the_others():
    own = Column("seeds squared", lambda arm: len(arm.trials) ** 2.0, lambda arm: f"{len(arm.trials) ** 2}")
    table = arms_table(read(made()), ["learned", own])
    assert table.columns == ["arm", "learned", "seeds squared"] and table.rows[0][-1] == "9"
    assert "seeds squared" in arms_csv(read(made()), [own]).partition("\n")[0]


def test_a_gradient_that_is_not_finite_is_said_and_not_taken_for_one_that_vanishes():
    found = made()
    lost = {"decay_rate": math.nan, "half_life": math.nan, "horizon": math.nan, "censored": False}
    for trial in found["trials"]:
        if trial["arm"] == "PaddedDigits 500/LSTM chrono" or (trial["arm"], trial["seed"]) == (
            "Adding 200/LSTM chrono",
            0,
        ):
            trial["reach"]["init"]["h"] = lost
            if trial["seed"] < 2 and "Adding" not in trial["arm"]:
                where = {"lag": 40 + trial["seed"], "examples": 1 + trial["seed"], "of": 4}
                trial["not_finite"] = {"init": {"h": where}}
    table = arms_table(read(found), ["decay", "half_life", "horizon"])
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["PaddedDigits 500/LSTM chrono"] == ["not finite from lag 40 in 3 of 8 examples"] * 3
    assert all(cell.endswith("(1 of 3 not finite)") for cell in rows["Adding 200/LSTM chrono"][::2])
    assert "not finite" not in " ".join(rows["Adding 200/VanillaRNN"])


def test_files_for_a_statistics_program_hold_one_number_a_cell():
    """Settings that vary are columns, an interval is three; every number is that of the objects."""
    results = read(made())
    rows = list(csv.DictReader(io.StringIO(arms_csv(results))))
    assert [row["arm"] for row in rows] == list(results.arms) and rows[0]["cell"] == "VanillaRNN"
    for row, arm in zip(rows, results.arms.values(), strict=True):
        found = [float(row[name]) for name in ("decay", "decay_low", "decay_high")]
        np.testing.assert_allclose(found, arm.decay_rate()[:3])
        text = {"arm", "arm_task", "arm_label", "task", "cell", "cell.forget_bias"}
        assert all(
            float(value) == float(value) or value == "nan" for k, value in row.items() if k not in text and value
        )
    trials = list(csv.DictReader(io.StringIO(trials_csv(results))))
    assert (
        len(trials) == 18
        and (trials[1]["status"], trials[1]["learned"], trials[1]["learned_at"]) == ("diverged", "0", "")
        and "trained_h_horizon" in trials[0]
    )
    assert trials[1]["trained_h_horizon"] == "" and float(trials[0]["init_h_horizon"]) == 19


def test_what_was_fitted_to_the_mean_profile_has_columns_of_its_own():
    interval = {"estimate": -0.2, "low": -0.21, "high": -0.19, "n": 3}
    line = {"decay_rate": -0.2, "early": -0.3, "late": -0.1, "misfit": 1.0, "exponential": False}
    fit = {"decay_rate": interval, "half_life": interval, "horizon": {"estimate": 34, "low": 30, "high": 40, "n": 3}}
    found = made() | {"fits": {"Adding 200/VanillaRNN": {"init": {"h": fit | {"censored": True, "line": line}}}}}
    table = arms_table(read(found), ["fit_decay", "fit_horizon", "one_rate"])
    assert table.rows[0][1:] == ["-0.20 [-0.21, -0.19]", "34 [30, >= 40]", "no: -0.3, then -0.1"]
    assert table.rows[1][1:] == ["n/a"] * 3 and set(COLUMNS) > {"fit_half_life"}
