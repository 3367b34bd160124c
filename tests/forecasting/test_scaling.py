"""What a network reads and answers, and which part of a series it comes from."""

import itertools

import numpy as np
import pytest

from rnnlab.data.known_series import known_series
from rnnlab.forecasting import scaling
from rnnlab.forecasting.parts import Parts, split, spread
from rnnlab.forecasting.scaling import QUANTILES, Scaling
from rnnlab.specs.errors import UserError

N, NOTHING = 80, np.zeros((80, 0))
WALK = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0.01, 0.05, N)))


@pytest.mark.parametrize("transform", ["levels", "changes", "returns"])
def test_scaled_answers_are_the_series_again(transform):
    """Scaling and back gives every value that follows an origin; answers have mean 0 and variance 1."""
    fitted = scaling.fit(transform, WALK, np.ones(N, bool), NOTHING, 5)
    assert fitted == Scaling.from_json(fitted.as_json())
    targets = fitted.targets(WALK, np.ones(N, bool))
    np.testing.assert_allclose([np.nanmean(targets), np.nanstd(targets)], [0, 1], atol=1e-6)
    origins = np.arange(10, 70)
    back = fitted.unscaled(np.repeat(targets[origins][..., None], len(QUANTILES), axis=-1), WALK[origins])
    for step in range(5):
        np.testing.assert_allclose(back[:, step, 3], WALK[origins + step + 1])
    inputs = fitted.inputs(WALK, NOTHING)[1:, 0]
    np.testing.assert_allclose([inputs.mean(), inputs.std()], [0, 1], atol=0.02)
    read = {"levels": WALK, "changes": np.diff(WALK), "returns": np.diff(np.log(WALK))}[transform]
    np.testing.assert_allclose(np.corrcoef(inputs, read[-N + 1 :])[0, 1], 1)


def test_answers_that_were_not_observed_are_nan():
    observed = np.ones(N, bool)
    observed[20] = False
    targets = scaling.fit("changes", WALK, observed, NOTHING, 3).targets(WALK, observed)
    assert np.isnan([targets[19, 0], targets[18, 1], targets[17, 2], targets[-1, 0], targets[-3, 2]]).all()
    assert np.isfinite(targets[20]).all() and np.isnan(targets).sum() == 3 + 6


def test_auto_reads_prices_as_returns_cycles_as_levels_and_trends_as_changes():
    found = {name: scaling.chosen(known_series(name).values, known_series(name).observed, h)
             for name, h in (("sp500", 20), ("sunspots", 11), ("co2", 26), ("electricity", 48))}  # fmt: skip
    assert found == {"sp500": "returns", "sunspots": "levels", "co2": "changes", "electricity": "levels"}


def test_what_cannot_be_scaled_is_refused():
    with pytest.raises(
        UserError, match="transform=returns: a value is -1: needs values above 0; the nearest is changes"
    ):
        scaling.fit("returns", np.append(WALK, -1), np.ones(N + 1, bool), np.zeros((N + 1, 0)), 3)
    with pytest.raises(UserError, match="constant"):
        scaling.fit("changes", np.ones(N), np.ones(N, bool), NOTHING, 3)


def test_parts_follow_each_other_and_no_target_leaves_its_own():
    parts = split(100, 0.2, 15, first=10, horizon=4)
    assert parts == Parts(65, 85, 100)
    ends = {"training": (0, 65), "validation": (65, 85), "test": (85, 100)}
    for part, (start, stop) in ends.items():
        origins = parts.origins(part, 10, 4)
        targets = origins[:, None] + 1 + np.arange(4)
        assert targets.min() == max(start, 11) and targets.max() == stop - 1 and origins.min() >= 10
    with pytest.raises(UserError, match=r"a series of 40 rows has 26, 6 and 8 rows .* horizon=12 needs 43 of training"):
        split(40, 0.15, 0.2, first=30, horizon=12)


def test_origins_do_not_overlap_where_there_are_enough():
    assert (np.diff(spread(np.arange(1000), 20)) >= 25).all() and len(spread(np.arange(1000), 20)) == 40
    few = spread(np.arange(82), 11)
    assert 20 <= len(few) <= 40 and few[-1] == 81


def test_origins_fall_on_all_phases_of_a_season():
    """Hourly values, forecasts of half a day: 13 hours from one to the next, not 12."""
    origins = spread(np.arange(1, 270), 12, 24)
    assert set(np.diff(origins)) == {13} and len(set(origins % 24)) == len(origins) == 21
    assert set(np.diff(spread(np.arange(1000), 48, 336))) == {53}


@pytest.mark.parametrize("folds", [1, 3, 7])
def test_folds_are_the_test_part_in_blocks_each_behind_all_it_was_fitted_to(folds):
    parts = [split(100, 10, 0.3, 5, 2, fold, folds) for fold in range(1, folds + 1)]
    assert parts[0].validation == 70 and parts[-1].test == 100
    assert all(one.test == two.validation for one, two in itertools.pairwise(parts))
    assert all(each.training == each.validation - 10 for each in parts)


def test_a_block_that_is_too_short_asks_for_fewer_folds():
    with pytest.raises(UserError, match=r"87, 10 and 3 rows .* where horizon=4 .* or fewer folds"):
        split(100, 10, 10, 5, 4, 3, 3)
