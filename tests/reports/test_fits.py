"""The table of fits says what the profiles are."""

import numpy as np

from rnnlab.reports.fits import fit_table
from rnnlab.runs.measure import _fit


def profiles(rate, seeds=3, length=60, bend=0.0):
    lags = np.arange(length)
    scatter = np.random.default_rng(0).normal(0, 0.002, (seeds, length, 4))
    return list((rate * lags + bend * lags**2)[:, None] / np.log(10) + scatter)


def test_an_exponential_is_one_and_a_bend_is_not():
    fits = {"straight": _fit(profiles(-0.2), 1e-3), "bent": _fit(profiles(-0.2, bend=0.002), 1e-3), "nothing": None}
    table = fit_table({"fits": {arm: {"init": {"h": fit}} for arm, fit in fits.items()}})
    assert [row[0] for row in table.rows] == ["straight", "bent"]  # what leaves nothing beyond lag 0 has no line
    straight, bent = table.rows
    assert straight[1].startswith("-0.20 [") and straight[2].startswith("3.5") and straight[3].startswith("34")
    assert straight[-1] == "yes" and bent[-1].startswith("no: -")


def test_what_is_no_number_or_vanishes_at_once_is_not_fitted():
    vanished, broken = profiles(-0.2), profiles(-0.2)
    vanished[1][1:] = -np.inf
    broken[0][3] = np.nan
    assert _fit(vanished, 1e-3) is None and _fit(broken, 1e-3) is None
