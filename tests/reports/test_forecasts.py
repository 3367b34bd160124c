"""What a report says of forecasts whose errors are known."""

import dataclasses
import math
from unittest import mock

import made_results
import numpy as np
import pytest
import scipy.stats

from rnnlab.forecasting.scaling import QUANTILES
from rnnlab.reports import forecast_verdicts, forecasts
from rnnlab.reports.forecasts import Forecasts, _together, series_name
from rnnlab.settings.experiments import load_experiment

RUN = made_results.read(made_results.made())  # which forecasts nothing
Z = scipy.stats.norm.ppf(QUANTILES)


def made(lstm=1.0, ridge=1.0, series="a", transform="levels", origins=40, seed=0):
    """Standard normal values; models whose median is off by a constant, and whose bands are right about it."""
    rng = np.random.default_rng(seed)
    actual = rng.normal(size=(origins, 4))
    flat = np.broadcast_to(Z, (origins, 4, 7))
    found = {"origins": list(range(0, 2 * origins, 2)), "scaling": {"transform": transform}}
    networks = {"GRU": flat[None] + 9.0, "LSTM": np.stack([flat + lstm, flat - lstm])}
    return Forecasts(series, found, actual, networks, {"naive": flat[None] + 5.0, "ridge": flat[None] + ridge},
                     np.full((origins, 1), 0.5))  # fmt: skip


def said(*series):
    with mock.patch.object(forecast_verdicts, "forecasts_of", lambda results: list(series)):
        return forecast_verdicts.answer(RUN), forecast_verdicts.claims(RUN)


def test_scores_are_medians_over_trials_and_differences_means_over_origins():
    each = made(lstm=2.0, ridge=0.0)
    mae = [np.mean(np.abs(each.actual - shift)) for shift in (2, -2)]
    np.testing.assert_allclose(each.score("MAE", "LSTM").estimate, np.mean(mae))
    np.testing.assert_allclose(each.score("MASE", "LSTM").estimate, 2 * np.mean(mae))
    found = each.difference("MAE", "LSTM", "ridge")
    np.testing.assert_allclose(found.estimate, np.mean(mae) / np.mean(np.abs(each.actual)) - 1)
    assert found.low > 0 and each.best_other() == "ridge"


def test_blocks_hold_the_origins_whose_forecasts_overlap():
    assert made().stride == 2 and made().block == 3  # h = 4 steps every 2 rows; the cube root of 40
    assert made(origins=200).block == 6


def test_a_better_network_is_said_to_be_better_and_a_worse_one_worse():
    """And where they are alike, that no difference is shown."""
    answer, claims = said(made(0.0, 2.0, "one"), made(2.0, 0.0, "two", seed=1), made(0.5, 0.5, "three", seed=2))
    assert answer.startswith("By CRPS the LSTM forecasts one (-") and "against ridge) better than any" in answer
    assert "it is worse on two (+" in answer and "on three (" in answer and answer.endswith("no difference is shown.")
    beats = [claim.met for claim in claims if "better than" in claim.says]
    assert beats == [True, False, None]


def test_a_series_on_which_nothing_beats_the_last_value_is_said_to_be_expected():
    walk = made(0.0, 0.5, "prices", transform="returns")
    walk = walk._replace(others={"naive": walk.others["ridge"], "ridge": walk.networks["GRU"]})
    answer, claims = said(walk._replace(networks={"LSTM": walk.others["naive"] + 0.01}))
    assert answer.startswith("By CRPS the LSTM is worse than the best model without a network on prices")
    assert answer.endswith("On prices no better one is expected: no model beats its last value, as of prices that are "
                           "close to a martingale.")  # fmt: skip
    [claim] = [claim for claim in claims if "no better than the last value" in claim.says]
    assert claim.met is True


def test_sales_that_grow_are_no_prices():
    """Relative changes too, but a model without a network beats the last value by far."""
    answer, claims = said(made(2.0, 0.0, "sales", transform="returns"))
    assert "martingale" not in answer and not any("last value" in claim.says for claim in claims)


def test_few_origins_do_not_make_a_wrong_band_right():
    """Which hold 65 % in truth: an interval that is wide holds any level."""
    met = []
    for seed in range(20):
        each = made(0.0, origins=8, seed=seed)
        narrow = {"LSTM": 0.73 * each.networks["LSTM"]}
        _, claims = said(each._replace(networks=narrow))
        met += [claim.met for claim in claims if " 80 % band" in claim.says]
    assert sum(one is True for one in met) <= 4


def test_bands_that_are_right_hold_what_they_say_and_shifted_ones_do_not():
    _, right = said(made(0.0))
    _, wrong = said(made(2.0))
    assert [claim.met for claim in right if " band " in claim.says] == [True, True]
    assert [claim.met for claim in wrong if " band " in claim.says] == [False, False]


def test_a_model_without_error_and_too_few_origins_are_not_judged():
    each = made()
    exact = each._replace(others={"ridge": np.repeat(each.actual[..., None], 7, axis=-1)[None]})
    _, [claim, *_] = said(exact)
    assert claim.met is None and claim.why == "the other model makes no error" and claim.measured == "n/a"
    _, [claim, *_] = said(made(origins=3))
    assert claim.met is None and claim.why == "fewer than two blocks of origins"


def test_without_forecasts_there_is_an_answer_and_no_table():
    assert forecast_verdicts.answer(RUN) == "No network forecast anything."
    assert forecasts.models_table(RUN) is None


@pytest.mark.parametrize(("low", "shown"), [(-0.08, "-4.1 % [-8.0, -0.2]"), (math.nan, "-4.1 %")])
def test_a_relative_difference_is_in_percent(low, shown):
    from rnnlab.stats.estimates import Interval

    assert forecast_verdicts.percent(Interval(-0.041, low, -0.002, 9)) == shown


def test_folds_are_put_together_over_their_origins():
    """By seeds that every fold has; each fold's errors are over its own scale."""

    def fold(first, scale, seeds):
        quantiles = np.arange(first, first + 2)[:, None, None] + np.zeros((2, 1, 7))
        found = {
            "origins": [first, first + 1], "actual": [[float(first)], [first + 2.0]], "mase_scale": scale,
            "models": {"naive": {"quantiles": quantiles.tolist()}}, "time": None,
            "tail": {"first": first - 4, "values": [float(row) for row in range(first - 4, first + 3)]},
        }  # fmt: skip
        return found, {"LSTM": {seed: quantiles + seed for seed in seeds}}

    each = _together("a", *zip(fold(10, 2.0, [0, 1]), fold(13, 4.0, [1, 2]), strict=True))
    assert each.found["origins"] == [10, 11, 13, 14] and each.folds == 2
    assert each.found["tail"] == {"first": 6, "values": [float(row) for row in range(6, 16)]}
    np.testing.assert_array_equal(each.networks["LSTM"][:, :, 0, 0], [[11, 12, 14, 15]])
    np.testing.assert_allclose(each.values("MASE", "naive")[0, :, 0], [0, 1 / 2, 0, 1 / 4])


def test_arms_of_all_folds_are_one_series_and_the_last_fold_is_drawn():
    experiment = load_experiment("forecasting")
    arms = experiment.arms("paper")
    assert [name for name in arms if name.endswith("LSTM")][:3] == [f"sp500, fold {k}/LSTM" for k in (1, 2, 3)]
    assert len(experiment.arms("quick", {"task.csv": "my/sales.csv", "task.folds": "4"})) == 4 * 3
    assert len(experiment.arms("quick", {"task.folds": "4", "task.fold": "2", "task.series": "co2"})) == 3
    assert len(experiment.arms("quick", {"task.folds": "many"})) == len(experiment.arms("quick"))
    of = {"LSTM": dataclasses.replace(next(iter(RUN.arms.values())), settings={"task.fold": "2", "task.folds": "3"})}
    assert series_name("sp500, fold 2", of) == "sp500" and series_name("sp500, fold 1", of) == "sp500, fold 1"
