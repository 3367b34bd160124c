"""A claim says what was expected and what was measured, and is judged by an interval or not at all."""

import math

import pytest
from made_results import made, read

from rnnlab.reports import claims
from rnnlab.stats import estimates
from rnnlab.stats.estimates import Interval


def test_published_beside_measured():
    paper, solved = "Hochreiter & Schmidhuber 1997", Interval(81277.0, 71638.0, math.inf, 10)
    found = [
        claims.published("sequences", paper, "74,000", solved, True, shown=lambda x: f"{x:,.0f}"),
        claims.published("sequences", paper, "209,000", estimates.median([9.0]), None, "other optimiser"),
        claims.published("wrong of 2,560", paper, "1", Interval(7.0, 5.0, 9.0, 3), False),
    ]
    rows = claims.claims_table(found).rows
    assert rows[0][3:] == ["81,277 [71,638, inf], n = 10", "met"]
    assert rows[1][3:] == ["9.00, n = 1", "not judged: other optimiser"]
    assert rows[2][-1] == "not met"
    with pytest.raises(ValueError, match="say why"):
        claims.published("sequences", paper, "209,000", solved, None)
    assert claims.summary(found) == "1 of 2 expectations are met; 1 is not judged."
    assert claims.summary([]) == "No expectation is judged."


def test_intervals_that_overlap_are_not_below_and_single_trials_are_not_judged():
    low, high, one = Interval(1.0, 0.5, 1.5, 4), Interval(2.0, 1.4, 2.6, 4), Interval(1.0, math.nan, math.nan, 1)
    assert (
        claims.below("x", "y", low, high).met is False and claims.below("x", "y", low, Interval(2.0, 1.6, 3.0, 4)).met
    )
    assert claims.above("x", "y", Interval(2.0, 1.6, 3.0, 4), low, " steps").expected == "above 1.00 [0.50, 1.50] steps"
    assert claims.below("x", "y", one, high).met is None and claims.above("x", "y", high, one).met is None


def test_a_horizon_is_held_against_the_lag_that_the_task_needs():
    """By the whole interval: the vanilla RNN's ends short of it, chrono's covers it."""
    arms = read(made()).arms
    short = claims.falls_short(arms["PaddedDigits 500/VanillaRNN"], "1991")
    assert short.met and short.expected == "horizon below 436 steps" and short.measured == "18 [17, 19] steps"
    assert claims.reaches(arms["PaddedDigits 500/LSTM chrono"], "2018").met
    assert claims.reaches(arms["PaddedDigits 500/VanillaRNN"], "2018").met is False
    first, second = claims.learned_where_reached(read(made()), "2018")
    assert first.says.startswith("Adding 200: learned where") and first.expected == "LSTM chrono" and not first.met
    assert (second.expected, second.measured) == ("LSTM chrono", "LSTM forget bias 1, LSTM chrono")


def test_most_trials_learn_is_judged_by_the_interval_of_their_share():
    arms = read(made(seeds=20)).arms
    assert claims.most_learn(arms["Adding 200/LSTM chrono"], "x").met
    assert claims.most_learn(arms["Adding 200/VanillaRNN"], "x").met is False
    assert claims.most_learn(read(made(seeds=1)).arms["Adding 200/LSTM chrono"], "x").met is None
