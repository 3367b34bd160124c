"""Scores of forecasts against closed forms and two independent libraries."""

import math

import numpy as np
import pytest
import scipy.stats

from rnnlab.forecasting.scaling import MEDIAN, QUANTILES
from rnnlab.forecasting.scores import below, mase_scale, mean_score, values_of

RNG = np.random.default_rng(0)
ACTUAL = RNG.normal(10, 3, (6, 4))
FORECASTS = np.sort(ACTUAL[..., None] + RNG.normal(0, 2, (6, 4, 7)), axis=-1)


def test_scores_are_those_of_utilsforecast():
    """A frame in its long form, a series for all."""
    import pandas as pd
    from utilsforecast import losses

    frame = pd.DataFrame({"unique_id": 0, "ds": range(24), "y": ACTUAL.ravel(), "f": FORECASTS[..., MEDIAN].ravel()})
    past = pd.DataFrame({"unique_id": 0, "ds": range(-40, 0), "y": RNG.normal(10, 3, 40)})
    scale = mase_scale(past["y"].to_numpy(), np.ones(40, bool), 5)
    theirs = {
        "MAE": losses.mae(frame, ["f"]), "RMSE": losses.rmse(frame, ["f"]),
        "MASE": losses.mase(frame, ["f"], seasonality=5, train_df=past),
    }  # fmt: skip
    for name, found in theirs.items():
        np.testing.assert_allclose(mean_score(name, values_of(name, ACTUAL, FORECASTS, scale)), found["f"].iloc[0])
    smape = losses.smape(frame, ["f"])["f"].iloc[0]  # theirs is a fraction of |y| + |f|, ours 200 % of it
    np.testing.assert_allclose(mean_score("sMAPE", values_of("sMAPE", ACTUAL, FORECASTS)), 200 * smape)


def test_crps_is_the_integral_of_scoringrules_quantile_loss():
    """And of normal values 1 / sqrt(pi), of exponential ones 1/2, to what seven quantiles tell (Gneiting & Raftery)."""
    import scoringrules

    each = [scoringrules.quantile_score(ACTUAL, FORECASTS[..., q], level) for q, level in enumerate(QUANTILES)]
    ends = [0, 0.0625, 0.175, 0.375, 0.625, 0.825, 0.9375, 1]
    np.testing.assert_allclose(values_of("CRPS", ACTUAL, FORECASTS), 2 * np.tensordot(np.diff(ends), each, axes=1))
    for kind, exact in ((scipy.stats.norm, 1 / math.sqrt(math.pi)), (scipy.stats.expon, 0.5)):
        actual = kind.rvs(size=(100_000, 1), random_state=0)
        true = np.broadcast_to(kind.ppf(QUANTILES), (*actual.shape, 7))
        np.testing.assert_allclose(mean_score("CRPS", values_of("CRPS", actual, true)), exact, rtol=0.04)


def test_the_true_quantiles_have_the_lowest_crps_and_are_calibrated():
    """Of normal values; the bands of 80 and 95 % hold so many, and each quantile its level."""
    actual = np.random.default_rng(1).normal(size=(5000, 1))
    true = np.broadcast_to(scipy.stats.norm.ppf(QUANTILES), (5000, 1, 7))
    best = mean_score("CRPS", values_of("CRPS", actual, true))
    for other in (true + 0.2, true - 0.2, 1.3 * true, 0.7 * true):
        assert mean_score("CRPS", values_of("CRPS", actual, other)) > best
    assert abs(mean_score("80 %", values_of("80 %", actual, true)) - 0.8) < 0.02
    assert abs(mean_score("95 %", values_of("95 %", actual, true)) - 0.95) < 0.01
    np.testing.assert_allclose(below(actual, true).mean(axis=(0, 1)), QUANTILES, atol=0.02)


@pytest.mark.parametrize("score", ["MAE", "RMSE", "sMAPE", "MASE", "CRPS", "80 %", "95 %"])
def test_what_was_not_observed_counts_nowhere(score):
    holes = ACTUAL.copy()
    holes[2, 1] = holes[5] = np.nan
    values = values_of(score, holes, FORECASTS)
    rest = np.delete(values_of(score, ACTUAL, FORECASTS).ravel(), [9, 20, 21, 22, 23])
    np.testing.assert_allclose(mean_score(score, values), mean_score(score, rest))
    assert math.isnan(mean_score(score, values, axis=1)[5]) and not math.isnan(mean_score(score, values, axis=1)[2])


def test_sorting_quantiles_never_raises_their_loss():
    """For any two that cross, exchanging them lowers the sum of their losses, or leaves it."""
    crossed = np.random.default_rng(2).normal(10, 3, (400, 1, 7))
    actual = np.random.default_rng(3).normal(10, 3, (400, 1))
    levels = np.array(QUANTILES)
    before, after = (actual[..., None] - each for each in (crossed, np.sort(crossed, axis=-1)))
    loss = [np.sum(np.maximum(levels * each, (levels - 1) * each), axis=-1) for each in (before, after)]
    change = loss[1] - loss[0]
    assert change.max() < 1e-12 and change.min() < -0.1
