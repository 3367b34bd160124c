"""A sweep's tables say what its trials did, and by what two arms differ where they share a seed."""

import math

import pytest

from rnnlab.reports import claims, sweep_tables
from rnnlab.settings.errors import SettingError
from rnnlab.stats import estimates


def trial(arm, seed, solved, loss):
    """A trial that learned after so many of 100 updates of 10 sequences, did not (None), or diverged (nan)."""
    status = "not learned" if solved is None else "diverged" if math.isnan(solved) else "learned"
    steps = {"learned": solved, "not learned": 100, "diverged": 7}[status]
    reach = {"h": {"decay_rate": -0.1, "half_life": 6.9, "horizon": 10 * seed, "censored": False}}
    return {
        "arm": arm, "seed": seed, "status": status, "steps": steps, "sequences": 10 * steps,
        "learned_at": solved if status == "learned" else -1, "eval": {"loss": loss, "accuracy": 0.5},
        "reach": {"init": reach, "trained": reach},
    }  # fmt: skip


def made():
    solved = {
        "long/base": [40, 60, 50, None, 80, None],
        "long/better": [10, 20, 15, 30, 25, 20],
        "long/worse": [None, None, None, None, math.nan, None],
        "short/base": [3, 3, 3, 3, 3, 3],
    }
    losses = {"long/base": 0.1, "long/better": 0.01, "long/worse": 0.2, "short/base": 0.5}
    trials = [
        trial(arm, seed, after, math.nan if after is not None and math.isnan(after) else losses[arm] * (1 + seed / 10))
        for arm, of_arm in solved.items()
        for seed, after in enumerate(of_arm)
    ]
    settings = {arm: {"cell": arm.split("/")[1], "task": "Adding", "task.length": arm.split("/")[0]} for arm in solved}
    return {
        "trials": trials, "settings": settings, "fraction": 1e-3, "rule": {}, "chance": dict.fromkeys(solved, 0.167),
    }  # fmt: skip


def test_a_row_an_arm():
    """By hand: 4 of 6 solved by 800 sequences; S is 1/2 from 600 to 800, and the median the middle of that."""
    table = sweep_tables.sweep_table(made())
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert rows["long/base"]["sequences to solve"] == "700 [400, >= 1,000]"
    assert rows["long/better"]["sequences to solve"].startswith("200 [")
    assert rows["long/worse"]["sequences to solve"] == ">= 1,000"
    assert rows["long/worse"]["trials"] == "6 (1 diverged: seed 4)"
    assert rows["long/worse"]["learned"].startswith("0/6 [")
    assert rows["long/base"]["held-out loss"].startswith("0.125 [")  # of .10 to .15
    assert rows["long/worse"]["held-out loss"].startswith("0.240 [")


def test_arms_are_paired_by_seed_within_a_task():
    table = sweep_tables.paired_table(made(), "long/base")
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert list(rows) == ["long/better", "long/worse"]  # another length is no pair
    better, worse = rows.values()
    assert better["learned, less the baseline's"].startswith("+0.33 [") and worse["pairs"] == "6"
    assert better["p (Wilcoxon)"] == "0.062"  # 2^-5, of two arms by Holm: all six on one side
    assert worse["held-out loss, less the baseline's"].endswith("(5 pairs)") and worse["p (Wilcoxon)"] == "0.062"
    assert better["p (McNemar)"] == "0.500"  # two seeds to none: 2 / 2^2
    assert worse["p (McNemar)"] == "0.250"  # none to four: 2 / 2^4, of two arms
    assert float(worse["p (log-rank)"]) == pytest.approx(56 / 924, abs=5e-4)  # all four that solved in one half
    assert "corrected for the tests made in their column: 2, 2 and 2" in table.caption
    with pytest.raises(SettingError, match="nearest is long/base"):
        sweep_tables.paired_table(made(), "long/bas")


def test_a_baseline_alone_is_an_empty_table():
    assert sweep_tables.paired_table(made(), "short/base").rows == []


def test_what_was_not_trained_has_no_time():
    results = made()
    results["trials"] = [
        t | {"steps": 0, "sequences": 0, "status": "not learned", "eval": {}} for t in results["trials"]
    ]
    row = sweep_tables.sweep_table(results).rows[0]
    assert row[2:5] == ["not trained", "not trained", "n/a"]
    assert sweep_tables.paired_table(results, "long/base").rows[0][-1] == "n/a"


def test_a_test_that_was_not_made_is_not_counted():
    """Every pair of one arm diverged: two success tests, one of losses, two of times."""
    results = made()
    for t in results["trials"]:
        if t["arm"] == "long/worse":
            t |= {"status": "diverged", "eval": {"loss": math.nan}}
    assert "column: 2, 1 and 2 (Holm" in sweep_tables.paired_table(results, "long/base").caption


def test_a_loss_at_the_stop_rule_is_said_to_be_one():
    """The shortest of the trials that learned ended before the longest; where all have one length none did."""
    results = made()
    for table in (sweep_tables.sweep_table(results), sweep_tables.paired_table(results, "long/base")):
        assert "of unequal training" in table.caption
    whole = results | {"trials": [t | {"steps": 100, "sequences": 1000, "budget": 1000} for t in results["trials"]]}
    for table in (sweep_tables.sweep_table(whole), sweep_tables.paired_table(whole, "long/base")):
        assert "of unequal training" not in table.caption


def test_a_trial_that_diverged_at_its_first_update_did_not_learn():
    """It counts with the others, and is watched to its budget."""
    results = made()
    results["trials"] = [t for t in results["trials"] if t["arm"] != "long/worse"] + [
        trial("long/worse", seed, math.nan, math.nan) | {"steps": 0, "sequences": 0, "eval": {}, "budget": 1000}
        for seed in range(5)
    ]
    row = next(row for row in sweep_tables.sweep_table(results).rows if row[0] == "long/worse")
    assert row[2].startswith("0/5 [") and row[3] == ">= 1,000"


def test_guessed_weights_have_wilsons_interval():
    """None of 64: the upper end is z^2 / (n + z^2) = .0566."""
    results = made()
    results["trials"] = [t | {"guessing": {"guesses": 32, "solved": 0}} for t in results["trials"] if t["seed"] < 2]
    table = sweep_tables.sweep_table(results)
    assert table.rows[0][-1] == "0/64 [0, 0.057]"
    assert "of 32 networks drawn beside each trial" in table.caption


def test_published_beside_measured():
    paper, solved = "Hochreiter & Schmidhuber 1997", estimates.Interval(81277.0, 71638.0, math.inf, 10)
    figures = [
        claims.Published("sequences", paper, "74,000", solved, True, shown=lambda x: f"{x:,.0f}"),
        claims.Published("sequences", paper, "209,000", estimates.median([9.0]), None, "other optimiser"),
        claims.Published("wrong of 2,560", paper, "1", estimates.Interval(7.0, 5.0, 9.0, 3), False),
    ]
    rows = claims.published_table(figures).rows
    assert rows[0][3:] == ["81,277", "10", "[71,638, inf]", "met"]
    assert rows[1][3:] == ["9.00", "1", "none", "not comparable: other optimiser"]
    assert rows[2][-1] == "not met"
    with pytest.raises(ValueError, match="say why"):
        claims.published_table([figures[1]._replace(why="")])
