"""A claim says what was expected and what was measured, and is judged by an interval or not at all."""

import dataclasses
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


def test_intervals_that_overlap_and_single_trials_leave_a_claim_open():
    low, high, one = Interval(1.0, 0.5, 1.5, 4), Interval(2.0, 1.4, 2.6, 4), Interval(1.0, math.nan, math.nan, 1)
    far, unknown = Interval(2.0, 1.6, 3.0, 4), Interval(math.nan, math.nan, math.nan, 4)
    assert claims.below("x", "y", low, far).met and claims.below("x", "y", far, low).met is False
    assert claims.above("x", "y", far, low, " steps").expected == "above 1.00 [0.50, 1.50] steps"
    for pair in ((low, high), (one, high), (far, one), (unknown, low), (low, low)):
        claim = claims.below("x", "y", *pair)
        assert claim.met is None and claim.why


def test_ranks_tell_apart_what_so_few_trials_can():
    """Four against four, one side wholly lower: p = 2 / 70, and twice that with another test beside it."""
    lower, higher = [1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]
    (found,) = claims.lower_ranks({"a": (lower, higher)}, "y")
    assert found.met and found.measured == "2.50 [1.00, 4.00], 4 against 4 trials"
    assert claims.lower_ranks({"a": (higher, lower)}, "y")[0].met is False
    assert [c.met for c in claims.lower_ranks({"a": (lower, higher), "b": (lower, higher)}, "y")] == [None, None]
    assert claims.lower_ranks({"a": (lower[:3], higher[:3])}, "y")[0].why == "p 0.10"
    assert claims.lower_ranks({"a": (lower, [])}, "y")[0].why == "too few trials of either kind"


def test_that_more_trials_learn_is_a_matter_of_pairs():
    """Six of six against none: p = 1/32; of three, one in four."""
    for seeds, met in ((6, True), (3, None)):
        found = made(seeds=seeds)
        found["trials"] = [t for t in found["trials"] if t["status"] != "diverged"]
        arms = read(found).arms
        pair = arms["PaddedDigits 500/LSTM chrono"], arms["PaddedDigits 500/VanillaRNN"]
        assert claims.more_learn("x", "y", *pair).met is met
        assert claims.more_learn("x", "y", *pair[::-1]).met is (False if met else None)


def test_a_horizon_is_held_against_the_lag_that_the_task_needs():
    """By the whole interval: the vanilla RNN's ends short of it, chrono's covers it."""
    arms = read(made(seeds=4)).arms
    short = claims.falls_short(arms["PaddedDigits 500/VanillaRNN"], "1991")
    assert short.met and short.expected == "horizon below 436 steps" and short.measured == "17.5 [17, 19] steps"
    assert claims.reaches(arms["PaddedDigits 500/LSTM chrono"], "2018").met
    assert claims.reaches(arms["PaddedDigits 500/VanillaRNN"], "2018").met is False
    unknown = dataclasses.replace(arms["PaddedDigits 500/VanillaRNN"], needed_lag=None)
    assert claims.falls_short(unknown, "x")[4:] == (None, "the task names no lag")
    alone = read(made(seeds=1)).arms["PaddedDigits 500/VanillaRNN"]
    assert claims.falls_short(alone, "x")[4:] == (None, "an interval of fewer than 4 trials tells little")


def test_learning_is_held_against_reach_where_intervals_tell_both():
    """With three trials no share is told from half; with twenty bias 1 learns what its gradient does not reach."""
    first, second = claims.learned_where_reached(read(made()), "2018")
    assert first.says.startswith("Adding 200: learned where") and first.expected == "LSTM chrono"
    assert (second.expected, second.measured) == ("LSTM chrono", "LSTM forget bias 1, LSTM chrono")
    assert first.met is None and "left open by the intervals of" in first.why
    many = read(made(seeds=20))
    assert [claim.met for claim in claims.learned_where_reached(many, "2018")] == [False, False]
    pair = many.only(["PaddedDigits 500/VanillaRNN", "PaddedDigits 500/LSTM chrono"])
    assert claims.learned_where_reached(pair, "2018")[0].met
    (one,) = claims.learned_where_reached(many.only("PaddedDigits*/VanillaRNN"), "2018")
    assert (one.met, one.why) == (None, "all arms agree")


def test_most_trials_learn_is_judged_by_the_interval_of_their_share():
    arms = read(made(seeds=20)).arms
    assert claims.most_learn(arms["Adding 200/LSTM chrono"], "x").met
    assert claims.most_learn(arms["Adding 200/VanillaRNN"], "x").met is False
    assert claims.most_learn(read(made(seeds=1)).arms["Adding 200/LSTM chrono"], "x").met is None
