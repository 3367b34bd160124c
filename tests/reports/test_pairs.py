"""Trials in pairs of one seed: by what two arms differ where they share their batches."""

import math

import pytest
from made_results import read
from sweep_results import made

from rnnlab.reports.pairs import paired_table
from rnnlab.settings.errors import SettingError


def test_arms_are_paired_by_seed_within_a_task():
    table = paired_table(read(made()), "long/base")
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
        paired_table(read(made()), "long/bas")


def test_a_baseline_alone_is_an_empty_table():
    assert paired_table(read(made()), "short/base").rows == []


def test_a_test_that_was_not_made_is_not_counted():
    """Every pair of one arm diverged: two success tests, one of losses, two of times."""
    results = made()
    for t in results["trials"]:
        if t["arm"] == "long/worse":
            t |= {"status": "diverged", "eval": {"loss": math.nan}}
    assert "column: 2, 1 and 2 (Holm" in paired_table(read(results), "long/base").caption


def test_a_loss_at_the_stop_rule_is_said_to_be_one():
    """The shortest of the trials that learned ended before the longest; where all have one length none did."""
    results = made()
    assert "of unequal training" in paired_table(read(results), "long/base").caption
    whole = results | {"trials": [t | {"steps": 100, "sequences": 1000, "budget": 1000} for t in results["trials"]]}
    assert "of unequal training" not in paired_table(read(whole), "long/base").caption
