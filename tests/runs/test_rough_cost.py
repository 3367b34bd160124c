"""What a dry run tells of a run's length, without compiling its programs."""

import io
import math

import chz
import pytest

from rnnlab.cells import GRU, LSTM
from rnnlab.runs import predict, rough_cost
from rnnlab.runs.console import Screen
from rnnlab.settings.resolve import ArmSpec
from rnnlab.tasks import Adding
from rnnlab.training.layout import layout

SPEC = ArmSpec(cell=LSTM(features=8), task=Adding(length=20))


def test_an_update_costs_its_products_at_the_rate_of_its_layer():
    cost, where = rough_cost.RoughCost(), layout(1, SPEC.train.batch_size)
    short = cost(SPEC, (), where)
    long = cost(chz.replace(SPEC, task=Adding(length=2000)), (), where)
    assert all(math.isfinite(seconds) and seconds >= 0 for seconds in short)
    assert long.update / short.update == pytest.approx(100, rel=0.05)  # the readout's one answer is the same
    assert long.evaluation / long.update == pytest.approx(SPEC.train.eval_size / SPEC.train.batch_size / 3)
    assert long.compilation == short.compilation  # of the same layer, timed once


def test_networks_beyond_its_patience_count_by_the_rates_before_them(monkeypatch):
    monkeypatch.setattr(rough_cost, "PATIENCE", 0)
    cost, where = rough_cost.RoughCost(), layout(1, SPEC.train.batch_size)
    one, other = cost(SPEC, (), where), cost(chz.replace(SPEC, cell=GRU(features=16)), (), where)
    assert len(cost.known) == 1 and one.compilation == other.compilation
    assert other.update > one.update


def test_a_plan_is_made_of_such_costs():
    """Four trials one after another take four times as long as one, but for what is compiled."""
    cost = rough_cost.Cost(10.0, 1e-3, 0.0, 0.0, 0.0, 0.0)
    train = chz.replace(SPEC.train, steps=1000)
    spec = chz.replace(SPEC, train=train, seeds=1)
    arms = {"one": {"a": spec}, "four": {"a": chz.replace(spec, seeds=4)}}
    how = {"inner": "sequential", "cost_of": lambda *_: cost}
    seconds = {name: predict.plan(of, **how).seconds - 10 for name, of in arms.items()}
    assert seconds["four"] == pytest.approx(4 * seconds["one"])
    assert seconds["one"] == pytest.approx(1 + predict.HOST)


def test_what_has_ended_is_no_part_of_a_plan():
    spec = chz.replace(SPEC, train=chz.replace(SPEC.train, steps=10), seeds=3)
    how = {"shard": (1, 1), "inner": "sequential", "probes": lambda spec: {}}
    plans = []
    for ended in ((), (1,), (0, 1, 2)):
        console = Screen(file=io.StringIO())
        predict.say_plan({"a": spec}, console, how, lambda trial, ended=ended: trial.seed in ended)
        plans.append(console.file.getvalue())
    assert "ended already" not in plans[0] and "\n3 trials in 1 program: roughly" in plans[0]
    assert "1 of them has ended already\n" in plans[1] and "\n2 trials in 1 program: roughly" in plans[1]
    assert plans[2] == "3 of them have ended already\n"
