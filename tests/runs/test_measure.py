"""What is fitted to a profile averaged over trials."""

import numpy as np

from rnnlab.runs.measure import Measured, fitted


def profiles(rate, seeds=3, length=60, bend=0.0):
    lags = np.arange(length)
    scatter = np.random.default_rng(0).normal(0, 0.002, (seeds, length, 4))
    return list((rate * lags + bend * lags**2)[:, None] / np.log(10) + scatter)


def test_an_exponential_is_one_and_a_bend_is_not():
    straight, bent = fitted(profiles(-0.2), 1e-3), fitted(profiles(-0.2, bend=0.002), 1e-3)
    assert abs(straight["decay_rate"]["estimate"] + 0.2) < 1e-3 and straight["horizon"]["estimate"] == 34
    assert abs(straight["half_life"]["estimate"] - 3.47) < 0.01
    assert straight["line"]["exponential"] and not bent["line"]["exponential"]


def test_what_is_no_number_or_vanishes_at_once_is_not_fitted():
    vanished, broken = profiles(-0.2), profiles(-0.2)
    vanished[1][1:] = -np.inf
    broken[0][3] = np.nan
    assert fitted(vanished, 1e-3) is None and fitted(broken, 1e-3) is None


def test_where_a_gradient_ceases_to_be_finite_is_told_with_how_many_examples():
    """One of three from lag 2, another at lag 4 alone; zeros are finite."""
    log10 = np.zeros((6, 3))
    log10[2:, 0], log10[4, 1], log10[1:, 2] = np.nan, np.inf, -np.inf
    found = Measured({"h": log10, "c": np.zeros((6, 3))}, {})
    assert found.not_finite() == {"h": {"lag": 2, "examples": 2, "of": 3}}
    assert np.isnan(found.reach(1e-3)["h"]["horizon"]) and found.reach(1e-3)["c"]["horizon"] == 5
