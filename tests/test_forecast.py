"""`rnnlab forecast`: on from a series' end with a network of a run, to files and from Python."""

import csv
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import rnnlab
from rnnlab import forecast as command
from rnnlab.settings.errors import SettingError
from rnnlab.specs.errors import UserError

pytestmark = pytest.mark.slow

SMALL = {"task.length": 8, "task.horizon": 4, "cell.features": 4, "train.steps": 4, "train.window": 2, "seeds": 2,
         "flow.examples": 2, "train.eval_size": 8}  # fmt: skip


def written(file, count, start=0):
    days = np.datetime64("2024-01-01") + np.arange(count)
    values = 50 + 10 * np.sin(2 * np.pi * (np.arange(count) + start) / 7)
    file.write_text("\n".join(["day,sales", *(f"{day},{value}" for day, value in zip(days, values, strict=True))]))
    return file


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    here = tmp_path_factory.mktemp("here")
    written(here / "sales.csv", 100)
    found = {"csv": here / "sales.csv"}
    for mode in ("direct", "autoregressive"):
        settings = SMALL | {"task.csv": here / "sales.csv", "task.mode": mode}
        rnnlab.run("forecasting", tier="smoke", workdir=here / mode, arms="*/VanillaRNN", settings=settings, quiet=True)
        found[mode] = here / mode
    return found


def test_a_file_of_ones_own_is_one_series_with_each_cell(runs):
    from rnnlab.settings.experiments import load_experiment

    module = load_experiment("forecasting")
    assert list(module.arms("quick", {"task.csv": "data/sales.csv"})) == [f"sales/{cell}" for cell in module.CELLS]
    assert all(arm["task.horizon"] == 11 for arm in module.arms("quick", {"task.series": "sunspots"}).values())
    assert not any("task.horizon" in arm for arm in module.arms("quick", {"task.horizon": "5"}).values())
    run = rnnlab.open_run(runs["direct"])
    assert list(run.arms) == ["sales/VanillaRNN"] and run.arms["sales/VanillaRNN"].card.rows == 100


def test_three_lines_of_python_continue_the_index(runs):
    found = rnnlab.forecast(runs["direct"], steps=3)
    assert [str(day)[:10] for day in found.time] == ["2024-04-10", "2024-04-11", "2024-04-12"]
    assert found.quantiles.shape == (3, 7) and (np.diff(found.quantiles) >= 0).all()
    np.testing.assert_array_equal(found.median, found.quantiles[:, 3])


def test_a_forecast_is_that_of_the_network_on_the_last_window(runs):
    """The best network of the lowest held-out loss, read by hand."""
    found = rnnlab.forecast(runs["direct"])
    trained = rnnlab.load(runs["direct"], "sales/VanillaRNN", found.seed, at="best")
    lowest = {t.seed: np.min(t.curve["eval/loss"]) for t in rnnlab.open_run(runs["direct"]).trials}
    assert found.seed == min(lowest, key=lowest.get)
    series, _, scaling, inputs, _ = trained.task.prepared()
    outputs = np.asarray(trained.model(jnp.asarray(inputs[-8:, None]), answers=1)).reshape(4, 7)
    moved = outputs * np.array(scaling.scale)[:, None] + np.array(scaling.mean)[:, None]
    expected = moved + (scaling.transform != "levels") * series.values[-1]
    if scaling.transform == "returns":
        expected = series.values[-1] * np.exp(moved)
    np.testing.assert_allclose(found.quantiles, np.sort(expected, axis=-1), rtol=1e-4)


def test_a_newer_file_is_gone_on_from_with_the_same_scaling(runs, tmp_path):
    """100 rows more of the same: an end at the same phase gives the same forecast."""
    newer = written(tmp_path / "newer.csv", 107)
    one, two = rnnlab.forecast(runs["direct"]), rnnlab.forecast(runs["direct"], csv=newer)
    np.testing.assert_allclose(one.quantiles, two.quantiles, rtol=1e-4)
    assert str(two.time[0])[:10] == "2024-04-17"


def test_step_by_step_it_goes_as_far_as_one_likes(runs):
    found = rnnlab.forecast(runs["autoregressive"], steps=30)
    assert found.quantiles.shape == (30, 7) and np.isfinite(found.quantiles).all()
    again = rnnlab.forecast(runs["autoregressive"], steps=30)
    np.testing.assert_array_equal(found.quantiles, again.quantiles)


def test_the_command_writes_a_table_and_a_picture(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["forecast", str(runs["autoregressive"]), "--steps=20", f"--out={tmp_path / 'out'}"]
    )
    with pytest.raises(SystemExit) as ended:
        command.program()
    assert not ended.value.code
    rows = list(csv.DictReader((tmp_path / "out" / "forecast.csv").read_text().splitlines()))
    assert len(rows) == 20 and rows[0]["time"] == "2024-04-10" and rows[0]["forecast"] == rows[0]["q0.5"]
    assert (tmp_path / "out" / "forecast.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    assert "2024-04-10" in said and "and 8 steps more" in said


def test_what_cannot_be_forecast_is_one_line_with_the_ways_out(runs, tmp_path):
    direct = runs["direct"]
    with pytest.raises(
        SettingError, match=r"4 steps at once: ask for 4 at most, or .* task.horizon=9 or task.mode=auto"
    ):
        rnnlab.forecast(direct, steps=9)
    with pytest.raises(
        SettingError, match=r"arm=sales/VanillaRNNU: no such arm of Series; the nearest is sales/VanillaRNN"
    ):
        rnnlab.forecast(direct, arm="sales/VanillaRNNU")
    with pytest.raises(SettingError, match="seed=7: no such trial; there are 0 to 1"):
        rnnlab.forecast(direct, seed=7)
    with pytest.raises(UserError, match="no such file"):
        rnnlab.forecast(direct, csv=tmp_path / "none.csv")
    short = tmp_path / "hours.csv"
    short.write_text("\n".join(["day,sales", *(f"2024-01-01 {h:02d}:00,{h}" for h in range(24))]))
    with pytest.raises(SettingError, match="steps of one hour: sales/VanillaRNN was trained on steps of one day"):
        rnnlab.forecast(direct, csv=short)
    with pytest.raises((SettingError, OSError), match=str(tmp_path)):
        rnnlab.forecast(tmp_path)
