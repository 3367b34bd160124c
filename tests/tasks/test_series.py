"""The task Series: its parts keep apart, what is missing counts nowhere, and a network comes near the best forecast."""

import chz
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from rnnlab.cells import GRU
from rnnlab.forecasting.scaling import QUANTILES
from rnnlab.forecasting.scores import mean_score, values_of
from rnnlab.probes.forecasts import forecasts, windows_at
from rnnlab.specs.errors import UserError
from rnnlab.tasks import Series
from rnnlab.tasks.contract import check_task
from rnnlab.training.spec import TrainSpec, TrialSpec
from rnnlab.training.state import initial_state
from rnnlab.training.updates import window

PHI = 0.8


def ar1(n, seed=0):
    rng, u = np.random.default_rng(seed), np.zeros(n + 100)
    for t in range(1, n + 100):
        u[t] = PHI * u[t - 1] + rng.normal()
    return u[100:]


def written(file, values):
    file.write_text("\n".join(["n,y", *(f"a,{'' if np.isnan(v) else repr(float(v))}" for v in values)]))
    return str(file)


def trained(task, steps, **options):
    spec = TrialSpec(cell=GRU(features=8), task=task, train=TrainSpec(steps=steps, window=steps, **options))
    return jax.jit(lambda state: window(spec, state))(initial_state(spec, 0))


@pytest.mark.slow
@pytest.mark.parametrize("transform", ["auto", "changes"])
def test_no_number_of_the_test_part_reaches_training(transform, tmp_path):
    """Another test part: the same weights, held-out loss, chance and scaling, to the bit."""
    values = ar1(300)
    other = values.copy()
    other[-60:] = 7 - 3 * other[-60:]
    found = []
    for name, series in (("one", values), ("two", other)):
        task = Series(csv=written(tmp_path / f"{name}.csv", series), length=10, horizon=3, transform=transform)
        state, metrics = trained(task, 5, eval_size=16, batch_size=4)
        assert task.prepared().parts.validation == 240
        found.append((jax.tree.leaves(state.model), metrics["eval/loss"], task.chance, task.prepared().scaling))
    (weights, *rest), (again, *same) = found
    assert all(np.array_equal(a, b) for a, b in zip(weights, again, strict=True)) and rest == same
    windows = [
        windows_at(
            Series(csv=str(tmp_path / f"{name}.csv"), length=10, horizon=3, transform=transform), np.array([239, 290])
        )
        for name in ("one", "two")
    ]
    (before, after), (same_before, other_after) = (jnp.moveaxis(read, 1, 0) for read, _ in windows)
    assert np.array_equal(before, same_before) and not np.array_equal(after, other_after)


@pytest.mark.slow
def test_a_fold_knows_nothing_of_what_is_behind_its_block(tmp_path):
    """Other values behind it: its weights, forecasts and baselines are the same, to the bit."""
    values = ar1(300)
    other = values.copy()
    other[-30:] = 7 - 3 * other[-30:]
    found = []
    for name, series in (("one", values), ("two", other)):
        csv = written(tmp_path / f"{name}.csv", series)
        task = Series(csv=csv, length=10, horizon=3, transform="levels", fold=1, folds=2)
        assert task.prepared().parts == (195, 240, 270)
        state, _ = trained(task, 5, eval_size=16, batch_size=4)
        quantiles = forecasts(task)(state.model, None, None, None)["quantiles"]
        found.append((jax.tree.leaves(state.model), quantiles, task.baselines()["models"]))
    (weights, quantiles, models), (again, same, others) = found
    assert all(np.array_equal(a, b) for a, b in zip(weights, again, strict=True))
    assert np.array_equal(quantiles, same) and models == others


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["direct", "autoregressive"])
def test_windows_end_at_their_origins_and_targets_lie_in_their_part(mode, tmp_path):
    """A series that counts its rows tells where everything comes from."""
    task = Series(
        csv=written(tmp_path / "a.csv", np.arange(200.0)), length=10, horizon=3, mode=mode, transform="levels"
    )
    check_task(task)
    parts, scaling = task.prepared().parts, task.prepared().scaling
    for draw, start, stop in ((task.sample, 0, parts.training), (task.held_out, parts.training, parts.validation)):
        batch = draw(jax.random.key(0), 64)
        read = np.asarray(batch.inputs[..., 0]) * scaling.input_scale[0] + scaling.input_mean[0]
        answers = (
            np.asarray(batch.targets) * np.array(scaling.scale)[: task.steps] + np.array(scaling.mean)[: task.steps]
        )
        np.testing.assert_allclose(np.diff(read, axis=0), 1, rtol=1e-3)
        np.testing.assert_allclose(
            answers[-1] - read[-1][:, None], np.tile(np.arange(1, 1 + task.steps), (64, 1)), rtol=1e-3
        )
        counted = answers[-1] if batch.mask is None else answers[np.asarray(batch.mask)]
        assert counted.min() > start - 0.01 and counted.max() < stop - 0.99


def test_covariates_are_read_beside_the_series_and_are_not_forecast(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("\n".join(["y,x", *(f"{y},{3 * y}" for y in ar1(200))]))
    task = Series(csv=str(file), column="y", covariates=("x",), length=6, horizon=2, transform="levels")
    check_task(task)
    batch = task.sample(jax.random.key(0), 5)
    assert batch.inputs.shape == (6, 5, 2) and task.out_features == 14
    np.testing.assert_allclose(batch.inputs[..., 0], batch.inputs[..., 1], atol=1e-5)


@pytest.mark.slow
def test_what_was_not_observed_has_no_gradient_and_no_loss(tmp_path):
    values = ar1(200)
    values[50:70] = np.nan
    task = Series(csv=written(tmp_path / "a.csv", values), column="y", length=10, horizon=4)
    batch = task._windows(jnp.array([48, 53, 100]))
    outputs = jnp.zeros((1, 3, 28))
    gradient = jax.jacobian(lambda outputs: task.losses(outputs, batch))(outputs)
    there = np.asarray(jnp.abs(jnp.einsum("bnbk->bk", gradient)).reshape(3, 4, 7).sum(axis=-1) > 0)
    np.testing.assert_array_equal(there, [[True, False, False, False], [False] * 4, [True] * 4])
    assert task.losses(outputs, batch)[1] == 0 and np.isfinite(gradient).all()


@pytest.mark.slow
def test_a_network_comes_near_the_best_forecast_of_an_ar1(tmp_path):
    """Which is normal, of mean phi^j u_o and variance (1 - phi^2j) / (1 - phi^2)."""
    values = ar1(4000)
    task = Series(csv=written(tmp_path / "a.csv", values), length=8, horizon=3, transform="levels")
    state, _ = trained(task, 400, learning_rate=1e-2, schedule="cosine")
    found = np.asarray(forecasts(task)(state.model, None, None, 1)["quantiles"], np.float64)
    origins, steps = task.origins("test"), np.arange(1, 4)
    every = task.prepared().parts.origins("test", 8, 3)
    assert len(origins) == 40 and len(every) == 798
    spread = np.sqrt((1 - PHI ** (2 * steps)) / (1 - PHI**2))[:, None] * scipy.stats.norm.ppf(QUANTILES)
    best = values[origins][:, None, None] * PHI ** steps[:, None] + spread
    actual = values[origins[:, None] + steps]
    ours, theirs = (mean_score("CRPS", values_of("CRPS", actual, q)) for q in (found, best))
    constant = np.quantile(values[:2600], QUANTILES)
    memoryless = mean_score("CRPS", values_of("CRPS", actual, np.broadcast_to(constant, best.shape)))
    assert ours < 1.06 * theirs < 0.95 * memoryless
    assert np.sqrt(np.mean((found - best) ** 2)) < 0.3


def test_chance_is_the_loss_of_constant_quantiles(tmp_path):
    """Of a series without memory no forecast is better: chance is the quantile loss of its own quantiles."""
    values = np.random.default_rng(0).normal(size=6000)
    task = Series(csv=written(tmp_path / "a.csv", values), length=4, horizon=2, transform="levels")
    z = scipy.stats.norm.ppf(QUANTILES)
    np.testing.assert_allclose(task.chance, np.mean(scipy.stats.norm.pdf(z)), rtol=0.04)  # of level q: phi(z_q)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"series": "sp50"}, "series=sp50: no such series; the nearest is sp500"),
        ({"csv": "nowhere.csv"}, "csv=nowhere.csv: no such file"),
        ({"series": "sunspots", "length": 300}, "a series of 309 rows"),
        ({"series": "sunspots", "transform": "returns"}, "transform=returns: sunspots, .*: 0: needs values above 0"),
    ],
)
def test_what_cannot_be_had_is_told_when_it_is_asked_for(options, message):
    with pytest.raises(UserError, match=message):
        Series(**options).prepared()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"column": "close"}, "column=close: only of a file of one's own, csv=FILE"),
        ({"csv": "a.csv", "covariates": ("x",), "mode": "autoregressive"}, "mode=autoregressive: not with covariates"),
        ({"horizon": 0}, "horizon=0: must be at least 1"),
        ({"test": 0.0}, "test=0.0: must be above 0"),
        ({"fold": 3, "folds": 2}, "fold=3: at most folds = 2"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        chz.replace(Series(), **options)
