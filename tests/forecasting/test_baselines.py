"""Forecasts without a network, each against the process that it is the best forecast of."""

import dataclasses
from unittest import mock

import numpy as np
import pytest

from rnnlab.forecasting.baselines import autocorrelation, autoregression, exponential_smoothing, ridge, rounded
from rnnlab.forecasting.parts import Parts
from rnnlab.forecasting.scaling import fit
from rnnlab.tasks import Series

STEPS = np.arange(1, 6)
ORIGINS = np.array([420, 450, 490])


def process(phi=(0.6,), n=500, seed=0):
    rng, u = np.random.default_rng(seed), np.zeros(n + 100)
    for t in range(len(phi), n + 100):
        u[t] = sum(p * u[t - 1 - k] for k, p in enumerate(phi)) + rng.normal()
    return u[100:]


def test_an_autoregression_finds_its_order_and_forecasts_as_its_equation_says():
    u = process((1.2, -0.6), n=2000)
    model = autoregression(u, 1900, "levels", 5)
    assert model.says.startswith("AR(2) of levels")
    expected = u[ORIGINS][:, None] * np.ones(5)
    before, now = u[ORIGINS - 1], u[ORIGINS]
    for step in range(5):
        before, now = now, 1.2 * now - 0.6 * before
        expected[:, step] = now
    np.testing.assert_allclose(model.at(ORIGINS), expected, atol=0.25)


def test_a_random_walks_autoregression_of_changes_is_the_last_value():
    u = np.cumsum(np.random.default_rng(1).normal(size=800))
    model = autoregression(u, 700, "changes", 5)
    np.testing.assert_allclose(model.at(ORIGINS), np.repeat(u[ORIGINS][:, None], 5, axis=1), atol=0.7)


def test_exponential_smoothing_is_statsmodels_own_forecast_at_every_origin():
    """Read off its states; theirs is made anew from the rows up to an origin."""
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    t = np.arange(300)
    u = 0.05 * t + 3 * np.sin(2 * np.pi * t / 6) + np.random.default_rng(2).normal(0, 0.3, 300)
    model = exponential_smoothing(u, 250, 9, (6,))
    assert "period 6" in model.says
    trend, damped = ("add", "Ad" in model.says) if ",A" in model.says.split(",N")[0] else (None, False)
    options = {"error": "add", "trend": trend, "damped_trend": damped, "seasonal": "add", "seasonal_periods": 6,
               "initialization_method": "heuristic"}  # fmt: skip
    fitted = ETSModel(u[:250], **options).fit(disp=False)
    for origin in (249, 270, 280):
        theirs = ETSModel(u[: origin + 1], **options).smooth(fitted.params).forecast(9)
        np.testing.assert_allclose(model.at(np.array([origin]))[0], theirs, rtol=1e-6)


def test_ridge_finds_a_linear_process():
    """Of an AR(1) the best forecast is phi^j u_o."""
    u = process((0.8,), n=3000)
    parts = Parts(2400, 2700, 3000)
    scaling = fit("levels", u[:2400], np.ones(2400, bool), np.zeros((2400, 0)), 5)
    inputs, targets = scaling.inputs(u, np.zeros((3000, 0))), scaling.targets(u, np.ones(3000, bool))
    found = ridge(u, parts, scaling, inputs, targets, 10, 5).at(np.arange(2400, 2900))
    expected = u[2400:2900, None] * 0.8**STEPS
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.2


def test_autocorrelation_of_an_ar1_is_phi_to_the_lag():
    np.testing.assert_allclose(autocorrelation(process((0.7,), n=20_000), 6), 0.7 ** np.arange(6), atol=0.03)


@pytest.fixture(scope="module")
def sunspots():
    task = Series(series="sunspots", length=22, horizon=11, test=0.3)
    return task, task.baselines()


def test_forecasts_are_of_the_origins_rows(sunspots):
    task, found = sunspots
    series = task.read_series()
    for row, actual in zip(found["origins"], found["actual"], strict=True):
        np.testing.assert_allclose(actual, series.values[row + 1 : row + 12], rtol=1e-6)
    naive = np.array(found["models"]["naive"]["quantiles"])
    np.testing.assert_allclose(
        naive[:, :, 3], np.repeat(series.values[found["origins"]][:, None], 11, axis=1), rtol=1e-6
    )
    seasonal = np.array(found["models"]["seasonal naive"]["quantiles"])
    np.testing.assert_allclose(seasonal[0, :, 3], series.values[found["origins"][0] - 10 : found["origins"][0] + 1])
    assert all((np.diff(np.array(m["quantiles"]), axis=-1) >= 0).all() for m in found["models"].values())


SHORT = {  # rows, period, task: less than five seasons, and less than one, before the first origin
    "sunspots": (None, 11, {"length": 22, "horizon": 11, "test": 0.3}),
    "monthly": (66, 12, {"length": 8, "horizon": 4}),
    "weekly": (60, 52, {"length": 8, "horizon": 4}),
}


@pytest.mark.parametrize("name", SHORT)
def test_no_model_reads_what_follows_an_origin(name):
    """The test part moved after its first origin: forecasts from there are the same."""
    rows, period, how = SHORT[name]
    task = Series(series="sunspots", period=period, **how)
    series = task.read_series()
    if rows:
        t = np.arange(rows)
        own = 20 + 5 * np.sin(2 * np.pi * t / period) + np.random.default_rng(0).normal(size=rows)
        series = dataclasses.replace(series, values=own, observed=np.ones(rows, bool), covariates=np.zeros((rows, 0)),
                                     time=None, periods=(period,))  # fmt: skip
    found, other = (baselines(task, one) for one in (series, moved(task, series)))
    assert {"naive", "AR", "ETS", "ridge"} <= set(found["models"])
    assert ("seasonal naive" in found["models"]) == (name != "weekly")
    for name, model in found["models"].items():
        assert model["quantiles"][0] == other["models"][name]["quantiles"][0], name
        assert name == "naive" or model["quantiles"][-1] != other["models"][name]["quantiles"][-1]


def baselines(task, series):
    with mock.patch.object(Series, "read_series", lambda self: series):
        return task.baselines()


def moved(task, series):
    with mock.patch.object(Series, "read_series", lambda self: series):
        first = task.origins("test")[0]
    later = series.values.copy()
    later[first + 1 :] += 50
    return dataclasses.replace(series, values=later)


def test_a_series_with_a_hole_in_every_window_has_its_forecasts():
    """As of a shop that is closed on every seventh day: no training origin has all its steps."""
    task = Series(series="sunspots", length=14, horizon=12)
    series = task.read_series()
    rng = np.random.default_rng(0)
    own = 10 + np.sin(np.arange(309)) + 0.1 * rng.normal(size=309)
    series = dataclasses.replace(series, values=own, observed=np.arange(309) % 7 != 6)
    found = baselines(task, series)
    assert all(np.isfinite(np.array(model["quantiles"])).all() for model in found["models"].values())
    error = [np.nanmean(np.abs(np.array(found["models"][name]["quantiles"])[..., 3] - np.array(found["actual"], float)))
             for name in ("ridge", "naive")]  # fmt: skip
    assert error[0] < 0.3 < error[1]


def test_a_handful_of_rows_has_the_models_that_fit():
    task = Series(series="sunspots", length=2, horizon=1, validation=0.3, test=0.4)
    series = task.read_series()
    few = {name: getattr(series, name)[:24] for name in ("values", "observed", "covariates", "time")}
    assert "ETS" not in baselines(task, dataclasses.replace(series, **few))["models"]


def test_numbers_that_json_holds():
    assert rounded(np.array([[1.23456789, np.nan]])) == [[1.234568, None]]
