"""A sweep's figures show its numbers: points, steps, bars and boxes are where the results say."""

import itertools
import math

import numpy as np
import pytest
from made_results import read

from rnnlab.reports import sweep_axes, sweep_figures
from rnnlab.reports.style import rendered
from rnnlab.settings.errors import SettingError
from rnnlab.stats import estimates, fanova

CELLS, LENGTHS, RATES = ["LSTM", "GRU", "VanillaRNN"], [50, 200, 1000], [1e-3, 1e-2]
BUDGET = 6400 * 8


def sweep(seeds=5):
    """Results of cells x lengths x rates: longer is harder, a vanilla RNN learns the shortest at most."""
    rng, trials, settings = np.random.default_rng(0), [], {}
    for length, cell, rate in itertools.product(LENGTHS, CELLS, RATES):
        arm = f"Adding {length}/{cell} {rate:g}"
        settings[arm] = {"cell": cell, "task": "Adding", "task.length": str(length), "train.learning_rate": str(rate)}
        slow = length / 50 * (3 if cell == "VanillaRNN" else 1) * (0.5 if rate > 5e-3 else 1)
        for seed in range(seeds):
            solved = int(2 * slow * rng.gamma(6)) * 50
            status = "learned" if solved <= 1600 and solved else "not learned"
            if cell == "VanillaRNN" and rate == 1e-2 and length == 1000 and seed == 1:
                status = "diverged"
            steps = {"learned": solved, "not learned": 1600, "diverged": 250}[status]
            at = list(range(50, steps + 1, 50))
            loss = 0.167 * np.exp(-np.array(at) / (60 * slow)) + 1e-4 * rng.gamma(2)
            trials.append({
                "arm": arm, "seed": seed, "status": status, "steps": steps, "sequences": 32 * steps,
                "learned_at": steps if status == "learned" else -1, "eval": {"loss": float(loss[-1]), "accuracy": 0.5},
                "curve": {"step": at, "eval/loss": loss.tolist()},
            })  # fmt: skip
    return {"trials": trials, "settings": settings, "chance": dict.fromkeys(settings, 0.167)}


RESULTS = sweep()


def heat_map(results, across, up, outcome, name):
    return sweep_figures.heat_map(read(results), across=across, up=up, outcome=outcome, name=name)


def test_success_stands_beside_its_length():
    """Points are k/n with Wilson's bars, of one learning rate at one length, no further from it than the dodge."""
    results = RESULTS | {"trials": [t for t in RESULTS["trials"] if t["arm"].endswith(" 0.01")]}
    figure = sweep_figures.success(read(results))
    (panel,) = figure.axes
    for cell, container in zip(CELLS, panel.containers, strict=True):
        line, _, (bars,) = container
        for x, y, bar, length in zip(*line.get_data(), bars.get_segments(), LENGTHS, strict=True):
            trials = [t for t in results["trials"] if t["arm"].startswith(f"Adding {length}/{cell} ")]
            wanted = estimates.proportion(sum(t["status"] == "learned" for t in trials), 5)
            np.testing.assert_allclose((y, *bar[:, 1]), wanted[:3], atol=1e-12)
            assert abs(math.log(x / length)) < 0.1
    assert [t.get_text() for t in panel.get_xticklabels()] == [
        "50",
        "200",
        "1000",
    ] and "5 trials" in figure.get_label()
    assert "pooled" not in figure.get_label()


def test_trials_of_several_settings_have_no_one_rate():
    """Two learning rates at each point: the share stands there with no bar, and the caption names what is pooled."""
    figure = sweep_figures.success(read(RESULTS))
    for container in figure.axes[0].containers:
        line, _, (bars,) = container
        assert np.isfinite(line.get_ydata()).all()
        assert not any(np.isfinite(bar).any() for bar in bars.get_segments() if len(bar))
    assert "differ in learning rate too" in figure.get_label()
    share = lambda trials: float(np.mean([t.learned for t in trials]))  # noqa: E731
    assert "learning rate too" in heat_map(RESULTS, "cell", "task.length", share, "s").get_label()
    assert "pooled" not in heat_map(
        RESULTS | {"trials": [t for t in RESULTS["trials"] if t["arm"].endswith(" 0.01")]},
        "cell", "task.length", share, "share",
    ).get_label()  # fmt: skip


def test_categories_are_not_joined():
    figure = sweep_figures.success(read(RESULTS), across="cell", by="task.length")
    (panel,) = figure.axes
    assert [t.get_text() for t in panel.get_xticklabels()] == CELLS
    assert {container[0].get_linestyle() for container in panel.containers} == {"None"}
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[0] == "sequence length T 50"


def test_survival_falls_where_trials_solve():
    """Without censoring before the last solving a step falls by 1/n at each; ticks stand at the budget."""
    figure = sweep_figures.survival(read(RESULTS))
    assert [panel.get_title() for panel in figure.axes] == [f"Adding {length}" for length in LENGTHS]
    panel = figure.axes[0]
    times = sorted(t["sequences"] for t in RESULTS["trials"] if t["arm"] == "Adding 50/LSTM 0.001")
    at, share = panel.lines[0].get_data()
    np.testing.assert_allclose(at, np.unique([0, *times]))
    np.testing.assert_allclose(share, [np.mean(np.array(times) > t) for t in at], atol=1e-12)
    ticks = figure.axes[2].lines[1::2]
    assert all(tick.get_xdata().tolist() == [32 * 1600] for tick in ticks)  # the diverged trial too


def test_importances_are_bars_of_their_length():
    trials = [t for t in read(RESULTS).trials if not t.diverged]
    design = sweep_axes.design(read(RESULTS), trials, ["task.length", "cell", "train.learning_rate"])
    losses = [math.log10(t.held_out["loss"]) for t in trials]
    found = fanova.importance(design, losses, {"task.length": "levels", "train.learning_rate": "log"}, trees=20)
    figure = sweep_figures.importance(found, "log10 held-out loss", top=4)
    (panel,) = figure.axes
    assert [bar.get_width() for bar in panel.patches] == [effect.share for effect in found.effects[:4]]
    assert panel.get_yticklabels()[0].get_text() == "sequence length T"  # made so: it sets the time to learn
    assert [bool(bar.get_hatch()) for bar in panel.patches] == [len(effect.axes) == 2 for effect in found.effects[:4]]


def test_a_box_is_grey_where_nothing_is_known():
    results = RESULTS | {"trials": [t for t in RESULTS["trials"] if t["arm"] != "Adding 200/LSTM 0.01"]}
    results["trials"] = [t for t in results["trials"] if "LSTM" in t["arm"]]
    learned = lambda trials: float(np.mean([t.learned for t in trials]))  # noqa: E731
    panel = heat_map(results, "train.learning_rate", "task.length", learned, "share learned").axes[0]
    shown = panel.collections[0].get_array()
    assert shown.shape == (3, 2) and shown.mask.tolist() == [[False, False], [False, True], [False, False]]
    assert panel.texts[3].get_text() == "n/a" and float(panel.texts[0].get_text()) == shown[0, 0]


def test_profiles_fall_from_all_to_none():
    scores = {cell: [[-math.log10(t["eval"]["loss"]) for t in RESULTS["trials"] if cell in t["arm"]]] for cell in CELLS}
    (panel,) = sweep_figures.performance_profile(scores, "-log10 held-out loss").axes
    for line in panel.lines[:3]:
        assert (np.diff(line.get_ydata()) <= 0).all() and line.get_ydata()[-1] < 0.1 < 0.9 < line.get_ydata()[0]


@pytest.mark.slow
def test_figures_fit_their_frame(tmp_path):
    """Rendered with warnings as errors: a layout that collapses warns. Every figure has a caption."""
    results = sweep(seeds=2)
    scores = {"a": [[1.0, 2.0], [3.0]], "b": [[-math.inf, 2.5]]}
    found = fanova.Importance(
        [fanova.Effect(("cell",), 0.9, 0.1), fanova.Effect(("cell", "task.length"), 0.1, 0)], math.nan
    )
    share = lambda trials: float(len(trials))  # noqa: E731
    for figure in [
        sweep_figures.success(read(results)), sweep_figures.survival(read(results)),
        sweep_figures.importance(found, "loss"), sweep_figures.performance_profile(scores, "score"),
        heat_map(results, "cell", "task.length", share, "trials"),
    ]:  # fmt: skip
        assert rendered(figure)["png"].startswith(b"\x89PNG") and "nan" not in figure.get_label()


def test_a_grid_is_of_levels_and_draws_are_of_a_measure():
    rng = np.random.default_rng(0)
    rates, biases = 10 ** rng.uniform(-4, -1, 40), rng.uniform(1, 5, 40)
    design = {"rate": rates.tolist(), "bias": biases.tolist(), "width": [8, 128] * 20, "cell": ["a", "b"] * 20}
    assert sweep_axes.scales(design) == {"rate": "log", "width": "levels"}
    assert sweep_axes.apart({"rate": design["rate"], "bias": design["bias"]})[1] == {}  # draws: all values differ
    zipped = design | {"twice": (2 * rates).tolist()}
    assert sweep_axes.apart(zipped)[1] == {"twice": "rate", "cell": "width"}
    crossed = {"a": [1, 1, 2, 2, 3, 3], "b": [1, 2] * 3, "c": [5, 5, 5, 5, 6, 6]}
    assert sweep_axes.apart(crossed) == ({"a": crossed["a"], "b": crossed["b"]}, {"c": "a"})  # a leaves c no choice


def test_settings_are_read_back_as_values():
    """Numbers where every arm has one; a setting that only some arms have is a category."""
    settings = {"a": {"n": "10", "r": "1e-3", "f": "1.0"}, "b": {"n": "9", "r": "0.1"}}
    trial = {"seed": 0, "status": "not learned", "steps": 1, "sequences": 1, "learned_at": -1}
    results = read({"settings": settings, "trials": [trial | {"arm": arm} for arm in ("a", "b", "a")]})
    assert sweep_axes.axis(results, "n") == {"a": 10, "b": 9} and sweep_axes.axis(results, "r") == {"a": 1e-3, "b": 0.1}
    assert sweep_axes.axis(results, "f") == {"a": "1.0", "b": "n/a"}
    assert sweep_axes.design(results, results.trials[1:]) == {"n": [10, 9], "r": [1e-3, 0.1]}
    assert {key: len(trials) for key, trials in sweep_axes.grouped(results, "n", "f").items()} == {
        (9, "n/a"): 1,
        (10, "1.0"): 2,
    }
    with pytest.raises(SettingError, match="rr: no arm has such a setting; the nearest is r"):
        sweep_axes.axis(results, "rr")
