"""A sweep's report says who learned and which setting mattered, and draws what a reader can tell apart."""

import math
import types

from rnnlab import settings, sweep_report
from rnnlab.cells import GRU, LSTM
from rnnlab.sweep_language import parse_sweep
from rnnlab.tasks import Adding


def results(text, loss=lambda spec: 0.1, learned_at=lambda spec: None, diverged=()):
    """A sweep's results as `results.json` holds them, its outcomes made from each arm's settings."""
    module = types.ModuleType("bench")
    module.config = lambda tier: {"task": Adding, "task.length": 50, "cell": LSTM, "cell.features": 8}
    module.arms = lambda tier: {}
    arms = settings.resolve(module, "quick", {}, sweep=parse_sweep(text))
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
        "fraction": 1e-3, "settings": {arm: settings.flat(spec) for arm, spec in arms.items()}, "trials": trials,
        "needed_lag": {name: task.needed_lag for name, task in tasks.items()},
        "rule": {name: "accuracy" for name in tasks}, "chance": {arm: 1 / 6 for arm in arms},
    }  # fmt: skip


def test_a_small_sweep_counts_who_learned_at_each_length():
    found = results(
        "cell=LSTM,GRU task.length=50,100 seed=0:3",
        learned_at=lambda spec: 40 if isinstance(spec.cell, GRU) or spec.task.length == 50 else None,
        diverged={("Adding 100/LSTM", 1)},
    )
    verdict = sweep_report.report(found)
    assert verdict.sentence == "Adding 50: learned by LSTM 3/3, GRU 3/3. Adding 100: learned by LSTM 0/3, GRU 3/3."
    assert set(verdict.figures) == {"flow", "learning", "solving", "reach", "success", "success_map"}


def test_of_many_arms_the_soonest_is_named_and_the_setting_that_decides_the_loss_has_most_of_its_variance():
    """The loss is a power of the learning rate alone; its logarithm is then linear in that of the rate."""
    found = results(
        "train.learning_rate=log(1e-4,1e-1) cell.forget_bias=uniform(0,5) random=40 seed=0:1",
        loss=lambda spec: spec.train.learning_rate**0.5,
        learned_at=lambda spec: round(1 / spec.train.learning_rate) if spec.train.learning_rate > 1e-2 else None,
    )
    verdict = sweep_report.report(found)
    rates = {arm: float(values["train.learning_rate"]) for arm, values in found["settings"].items()}
    fastest = max(rates, key=rates.__getitem__)
    learned = sum(rate > 1e-2 for rate in rates.values())
    sequences = f"{32 * round(1 / rates[fastest]):,}"
    assert verdict.sentence == (
        f"Adding 50: {learned} of 40 arms learned in most trials, soonest {fastest.partition('/')[2]} "
        f"({sequences} sequences)."
    )
    assert set(verdict.figures) == {"importance"}
    first = sweep_report.importances(found).effects[0]
    assert first.axes == ("train.learning_rate",) and first.share > 0.9


def test_what_diverged_at_once_was_trained():
    found = results("cell=LSTM,GRU seed=0:2")
    for trial in found["trials"]:
        trial |= {"steps": 0, "sequences": 0, "status": "diverged", "eval": {}, "budget": 3200}
        trial |= {"curve": {"step": [], "eval/loss": []}}
        trial["reach"].pop("trained")
    assert sweep_report.report(found).sentence == "Adding 50: learned by LSTM 0/2, GRU 0/2."


def test_importances_are_of_one_task_and_two_settings_at_least():
    assert sweep_report.importances(results("cell.forget_bias=0:30 seed=0:1")) is None  # one axis
    assert sweep_report.importances(results("cell=LSTM,GRU cell.features=4,8 seed=0:3")) is None  # twelve trials
    two = results(
        "cell=LSTM,GRU task=Adding,TemporalOrder cell.features=4,8 seed=0:9", loss=lambda spec: 1 / spec.cell.features
    )
    assert sweep_report.importances(two) is None  # losses of two tasks
