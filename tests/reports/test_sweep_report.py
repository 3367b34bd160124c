"""A sweep's report says who learned and which setting mattered, and draws what a reader can tell apart."""

import math
import types

from made_results import read

from rnnlab.cells import GRU, LSTM
from rnnlab.reports import sweep_report
from rnnlab.settings import resolve
from rnnlab.settings.language import parse_sweep
from rnnlab.tasks import Adding


def results(text, loss=lambda spec: 0.1, learned_at=lambda spec: None, diverged=()):
    """A sweep's results as `results.json` holds them, its outcomes made from each arm's settings."""
    module = types.ModuleType("bench")
    module.config = lambda tier: {"task": Adding, "task.length": 50, "cell": LSTM, "cell.features": 8}
    module.arms = lambda tier: {}
    arms = resolve.resolve(module, "quick", {}, sweep=parse_sweep(text))
    trials = []
    for arm, spec in arms.items():
        for seed in spec.trial_seeds():
            at = learned_at(spec)
            steps = at or 100
            lost = (arm, seed) in diverged
            status = "diverged" if lost else "learned" if at else "not learned"
            reach = {"decay_rate": -0.1, "half_life": 7.0, "horizon": 20, "censored": False}
            profile = {"lag": [0, 49], "h": [0.0, -2.0]}
            value = math.nan if lost else loss(spec) * (1 + 0.01 * seed)
            trials.append({
                "arm": arm, "seed": seed, "status": status, "steps": steps, "learned_at": at or -1, "reason": None,
                "sequences": 32 * steps, "eval": {"loss": value, "accuracy": 0.5},
                "curve": {"step": [10, steps], "eval/loss": [0.2, value]}, "reach": {"init": {"h": reach},
                "trained": {"h": reach}}, "profiles": {"init": profile, "trained": profile},
            })  # fmt: skip
    tasks = {arm.rpartition("/")[0]: spec.task for arm, spec in arms.items()}
    return {
        "fraction": 1e-3, "settings": {arm: resolve.flat(spec) for arm, spec in arms.items()}, "trials": trials,
        "needed_lag": {name: task.needed_lag for name, task in tasks.items()},
        "rule": {name: "accuracy" for name in tasks}, "chance": {arm: 1 / 6 for arm in arms},
    }  # fmt: skip


def test_a_small_sweep_counts_who_learned_at_each_length():
    found = results(
        "cell=LSTM,GRU task.length=50,100 seed=0:3",
        learned_at=lambda spec: 40 if isinstance(spec.cell, GRU) or spec.task.length == 50 else None,
        diverged={("Adding 100/LSTM", 1)},
    )
    verdict = sweep_report.report(read(found))
    assert verdict.answer == (
        "Adding 50, which needs a lag of 25 steps, was learned by LSTM (3/3) and GRU (3/3). "
        "Adding 100, which needs a lag of 50 steps, was learned by GRU (3/3), not by LSTM (0/3)."
    )
    assert set(verdict.figures) == {"flow", "learning", "solving", "horizons", "success", "success_map", "profile"}
    [means] = [table for table in verdict.tables if "tasks" in table.columns]
    assert means.rows[1] == ["GRU", "2", "6", "0.500 [0.500, 0.500]"]
    assert means.rows[0][3].startswith("0.500 [")  # of 0, .5, .5, .5, .5, .5: one of each end is left out
    assert sum("p (log-rank)" in table.columns for table in verdict.tables) == 2


def test_of_many_arms_the_soonest_is_named_and_the_setting_that_decides_the_loss_has_most_of_its_variance():
    """The loss is a power of the learning rate alone; its logarithm is then linear in that of the rate."""
    found = results(
        "train.learning_rate=log(1e-4,1e-1) cell.forget_bias=uniform(0,5) random=40 seed=0:1",
        loss=lambda spec: spec.train.learning_rate**0.5,
        learned_at=lambda spec: round(1 / spec.train.learning_rate) if spec.train.learning_rate > 1e-2 else None,
    )
    verdict = sweep_report.report(read(found))
    rates = {arm: float(values["train.learning_rate"]) for arm, values in found["settings"].items()}
    fastest = max(rates, key=rates.__getitem__)
    learned = sum(rate > 1e-2 for rate in rates.values())
    sequences = f"{32 * round(1 / rates[fastest]):,}"
    assert verdict.answer == (
        f"Adding 50 was learned in most trials by {learned} of 40 arms, soonest by {fastest.partition('/')[2]} "
        f"({sequences} sequences)."
    )
    assert set(verdict.figures) == {"losses", "importance"}
    assert len(verdict.figures["losses"](read(found)).axes) == 2
    assert not any("p (log-rank)" in table.columns for table in verdict.tables)  # the first draw is no baseline
    first = sweep_report.importances(read(found)).found.effects[0]
    assert first.axes == ("train.learning_rate",) and first.share > 0.9


def test_what_diverged_at_once_was_trained():
    found = results("cell=LSTM,GRU seed=0:2")
    for trial in found["trials"]:
        trial |= {"steps": 0, "sequences": 0, "status": "diverged", "eval": {}, "budget": 3200}
        trial |= {"curve": {"step": [], "eval/loss": []}}
        trial["reach"].pop("trained")
    assert sweep_report.report(read(found)).answer == (
        "Adding 50, which needs a lag of 25 steps, was learned by no arm in most trials."
    )


def test_an_accuracy_has_no_interval_beyond_its_bounds():
    table = sweep_report._means({"good": [[1.0, 0.2], [1.0, 0.9]], "one": [[0.5], [0.7]]})
    assert table.rows == [["good", "2", "4", "0.950 [0.000, 1.000]"], ["one", "2", "2", "0.600"]]


def test_one_seed_is_no_pair_to_test():
    tables = sweep_report.report(read(results("cell=LSTM,GRU seed=0:1"))).tables
    assert not any("p (log-rank)" in table.columns for table in tables)


def test_where_trials_stop_when_solved_the_outcome_is_how_soon():
    """Losses at the stop rule are all alike; the sequences until it fall with the rate, over the whole budget."""
    text = "train.learning_rate=1e-3,1e-2,1e-1 cell.forget_bias=0,1 seed=0:5"
    soon = lambda spec: round(0.05 / spec.train.learning_rate)  # noqa: E731
    found = sweep_report.importances(read(results(text, learned_at=soon)))
    assert found.outcome.startswith("log sequences to solve")
    assert found.found.effects[0].axes == ("train.learning_rate",) and found.found.effects[0].share > 0.99
    whole = sweep_report.importances(read(results(text, loss=lambda spec: spec.train.learning_rate)))
    assert whole.outcome == "log held-out loss"


def test_a_loss_of_zero_is_no_chance():
    """A setting that reaches exactly 0 is the best: it makes the variance, though a hundred times chance does not."""
    text = "train.learning_rate=1e-3,1e-2,1e-1 cell.forget_bias=0,1 seed=0:5"
    found = results(text, loss=lambda spec: {1e-3: 0.0, 1e-2: 1e-6, 1e-1: 1 / 6}[spec.train.learning_rate])
    trials = read(found).trials
    values = dict(zip((t.arm for t in trials), sweep_report._outcome(read(found), trials)[1], strict=True))
    by_loss = sorted(values, key=values.__getitem__)
    assert {found["settings"][arm]["train.learning_rate"] for arm in by_loss[:2]} == {"0.001"}


def test_settings_that_vary_together_are_one_axis_and_the_caption_says_so():
    found = results("cell.features=4,8,16 cell.forget_bias=0,1 seed=0:5", loss=lambda spec: 1 / spec.cell.features)
    for values in found["settings"].values():  # as zipped
        values["train.steps"] = str({"4": 100, "8": 300, "16": 200}[values["cell.features"]])
    shares = sweep_report.importances(read(found))
    assert shares.tied == {"train.steps": "cell.features"}
    assert {effect.axes for effect in shares.found.effects} == {
        ("cell.features",), ("cell.forget_bias",), ("cell.features", "cell.forget_bias")
    }  # fmt: skip
    caption = sweep_report.report(read(found)).figures["importance"](read(found)).get_label()
    assert caption.endswith("left out: steps with hidden units H.")


def test_importances_are_of_one_task_and_two_settings_at_least():
    assert sweep_report.importances(read(results("cell.forget_bias=0:30 seed=0:1"))) is None  # one axis
    assert sweep_report.importances(read(results("cell=LSTM,GRU cell.features=4,8 seed=0:3"))) is None  # twelve trials
    two = results(
        "cell=LSTM,GRU task=Adding,TemporalOrder cell.features=4,8 seed=0:9", loss=lambda spec: 1 / spec.cell.features
    )
    assert sweep_report.importances(read(two)) is None  # losses of two tasks


def test_more_arms_than_lines_can_tell_apart_are_a_row_each():
    cells = "AblatedLSTM,GRU,IRNN,IndRNN,LSTM,LSTM1997,LeakyRNN,MGU,VanillaRNN"
    found = read(results(f"cell={cells} task.length=50,100 seed=0:2", diverged={("Adding 100/LSTM", 1)}))
    report = sweep_report.report(found)
    figure = report.figures["arms"](found)
    losses = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in losses] == ["Adding 50", "Adding 100"]
    for axes in losses:
        assert [label.get_text() for label in axes.get_yticklabels()] == cells.split(",")
        drawn = [len(line.get_xdata()) for line in axes.lines[:9]]
        lost = axes.get_title() == "Adding 100"
        assert drawn == [2 - (lost and cell == "LSTM") for cell in cells.split(",")]
        assert [text.get_text() for text in axes.texts] == ["1 \N{RIGHTWARDS ARROW}"] * lost
