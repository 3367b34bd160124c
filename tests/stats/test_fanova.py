"""Shares of the variance equal closed forms, and those of the same forest summed over a whole grid."""

import itertools
import math

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from rnnlab.stats import fanova


def shares(found):
    return {effect.axes: effect.share for effect in found.effects}


def drawn(n, *names):
    xs = np.random.default_rng(0).uniform(size=(n, len(names)))
    return dict(zip(names, xs.T.tolist(), strict=True)), xs.T


def brute(values):
    """Shares of a function on a whole grid, an axis each, by plain means: its own analysis of variance."""
    centred = values - values.mean()
    axes = range(values.ndim)
    main = {a: centred.mean(axis=tuple(set(axes) - {a}), keepdims=True) for a in axes}
    found = {(a,): np.mean(main[a] ** 2) for a in axes}
    for a, b in itertools.combinations(axes, 2):
        both = centred.mean(axis=tuple(set(axes) - {a, b}), keepdims=True) - main[a] - main[b]
        found[a, b] = np.mean(both**2)
    return {which: variance / np.mean(centred**2) for which, variance in found.items()}


def test_a_forest_on_a_grid_is_its_own_oracle():
    """Levels, categories and an axis of evenly spaced cells: each tree's predictions on the whole grid, averaged."""
    rng = np.random.default_rng(1)
    rates, cells, widths = [1e-4, 1e-3, 3e-3, 1e-1], ["GRU", "LSTM", "RNN"], [8.0, 16.0, 24.0, 32.0]
    rows = list(itertools.product(rates, cells, widths)) * 2
    outcome = rng.normal(size=len(rows)) + [math.log10(r) * (c == "LSTM") + w / 16 for r, c, w in rows]
    design = dict(zip(("rate", "cell", "width"), map(list, zip(*rows, strict=True)), strict=True))
    found = fanova.importance(design, outcome.tolist(), {"rate": "levels"}, trees=8, seed=3)

    codes = np.array([[rates.index(r), *(c == k for k in cells), w] for r, c, w in rows], np.float64)
    forest = RandomForestRegressor(8, random_state=3).fit(codes, outcome)
    fine = 8 + 24 * (np.arange(12) + 0.5) / 12  # a threshold is a multiple of 4: no cell of width 2 is cut
    grid = np.array([[r, *np.eye(3)[c], w] for r in range(4) for c in range(3) for w in fine])
    trees = [brute(tree.predict(grid).reshape(4, 3, 12)) for tree in forest.estimators_]
    names = list(design)
    for which in trees[0]:
        effect = next(e for e in found.effects if e.axes == tuple(names[i] for i in which))
        of_trees = [tree[which] for tree in trees]
        np.testing.assert_allclose((effect.share, effect.spread), (np.mean(of_trees), np.std(of_trees)), atol=1e-9)
    assert found.effects == sorted(found.effects, key=lambda e: -e.share)
    assert all(-1e-12 <= e.share <= 1 for e in found.effects) and sum(e.share for e in found.effects) <= 1 + 1e-9


def test_additive_functions_have_no_interaction():
    """Of 2 x + y on the unit square x makes 4/5 of the variance, y 1/5, and both together nothing."""
    design, (x, y) = drawn(600, "x", "y")
    found = fanova.importance(design, (2 * x + y).tolist(), trees=24)
    got = shares(found)
    np.testing.assert_allclose([got["x",], got["y",], got["x", "y"]], [0.8, 0.2, 0], atol=0.02)
    assert found.explained > 0.98


def test_a_product_of_centred_factors_is_all_interaction():
    design, (x, y) = drawn(800, "x", "y")
    got = shares(fanova.importance(design, ((x - 0.5) * (y - 0.5)).tolist(), trees=16))
    assert got["x", "y"] > 0.9 and max(got["x",], got["y",]) < 0.05


def test_sobols_g_function():
    """g = prod (|4 x_i - 2| + a_i) / (1 + a_i): V_i = 1 / (3 (1 + a_i)^2), V_ij = V_i V_j (Saltelli & Sobol 1995)."""
    a = np.array([0.0, 1.0, 9.0])
    design, xs = drawn(1000, "x0", "x1", "x2")
    outcome = np.prod((np.abs(4 * xs - 2) + a[:, None]) / (1 + a[:, None]), axis=0)
    got = shares(fanova.importance(design, outcome.tolist(), trees=12))
    parts = 1 / (3 * (1 + a) ** 2)
    whole = np.prod(1 + parts) - 1
    for i in range(3):
        assert got[f"x{i}",] == pytest.approx(parts[i] / whole, abs=0.03)
    for i, j in itertools.combinations(range(3), 2):
        assert got[f"x{i}", f"x{j}"] == pytest.approx(parts[i] * parts[j] / whole, abs=0.03)


def test_a_scale_is_a_measure():
    """log10 r for r from 1e-4 to 1: uniform on the log axis it makes its variance 16/12 beside an equal one's; on the
    linear axis nearly all rates lie in the last decade, where it hardly moves (its variance is 1 / ln(10)^2)."""
    rng = np.random.default_rng(0)
    rates, other = 10 ** rng.uniform(-4, 0, 1200), rng.uniform(0, 4, 1200)
    design, outcome = {"rate": rates.tolist(), "other": other.tolist()}, (np.log10(rates) + other).tolist()
    on_log = shares(fanova.importance(design, outcome, {"rate": "log"}, trees=8))
    on_linear = shares(fanova.importance(design, outcome, trees=8))
    assert on_log["rate",] == pytest.approx(0.5, abs=0.02)
    wanted = 1 / math.log(10) ** 2 / (1 / math.log(10) ** 2 + 16 / 12)
    assert on_linear["rate",] == pytest.approx(wanted, abs=0.03)


def test_noise_is_not_explained():
    """Without any effect a forest still has shares; that it explains nothing of unseen trials is what gives it away."""
    design, _ = drawn(200, "x", "y")
    found = fanova.importance(design, np.random.default_rng(5).normal(size=200).tolist())
    assert found.explained < 0.1


def test_an_axis_with_one_value_has_no_share():
    design, (x,) = drawn(50, "x")
    got = shares(fanova.importance(design | {"same": [3.0] * 50, "word": ["a"] * 50}, x.tolist(), trees=4))
    np.testing.assert_allclose([got["x",], got["same",], got["word",], got["x", "same"]], [1, 0, 0, 0], atol=1e-12)


def test_a_loss_of_zero_is_the_best_there_is():
    assert fanova.logs([0.0, 1.0, math.e]) == [0, 0, 1] and fanova.logs([0.0, 0.0]) == [0, 0]
    for wrong in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"losses hold {wrong}"):
            fanova.logs([1.0, wrong])


@pytest.mark.parametrize(
    "design, outcome, scales, words",
    [
        ({"x": [1, 2]}, [1.0], {}, "needs a value of each axis"),
        ({"x": [1, 2]}, [1.0, math.inf], {}, r"outcome\[1\] is not finite"),
        ({"x": [1, 2]}, [1.0, 1.0], {}, "nothing to divide"),
        ({"x": [0, 2]}, [1.0, 2.0], {"x": "log"}, "x=0: .*above 0"),
        ({"x": ["a", "b"]}, [1.0, 2.0], {"x": "log"}, "x is on a log scale"),
        ({"x": [1, 2]}, [1.0, 2.0], {"y": "log"}, r"scales\['y'\]: no such axis"),
    ],
)
def test_bad_designs_are_named(design, outcome, scales, words):
    with pytest.raises(ValueError, match=words):
        fanova.importance(design, outcome, scales)
