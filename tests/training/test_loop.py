"""The host loop: windows do not change results, an interrupted training resumes, ended trials are replaced."""

import chz
import jax
import numpy as np
import pytest
from tiny_training import SPEC, TRAIN, assert_same, every, initial_states, run

from rnnlab.cells import LSTM
from rnnlab.probes.gradients.flow import FlowSpec
from rnnlab.runs.predict import plan
from rnnlab.settings.resolve import ArmSpec
from rnnlab.tasks import Adding
from rnnlab.training.background import Interrupted
from rnnlab.training.loop import fit
from rnnlab.training.state import RUNNING, initial_state
from rnnlab.training.updates import compile_windows, program_key

pytestmark = pytest.mark.slow


def test_the_length_of_a_window_changes_no_bit():
    """But of the best model, which is that of an evaluation: there is one a window."""
    short = chz.replace(SPEC, train=chz.replace(TRAIN, window=2))
    whole, other = (run(spec, [0, 1])[0]._replace(best=None) for spec in (SPEC, short))
    assert_same(whole, other)


def test_records_are_complete_and_the_last_window_may_be_short():
    spec = chz.replace(SPEC, train=chz.replace(TRAIN, steps=7))
    final, records, checkpoints = run(spec, [0, 1])
    assert [r["step"].tolist() for r in records if r["ran"].any()] == [[3, 3], [6, 6], [7, 7]]
    assert final.step.tolist() == [7, 7] and final.status.tolist() == [RUNNING] * 2
    assert not checkpoints  # not yet 20 seconds
    assert records[0]["taps"][0][1].shape == (2, 6)  # trials, T


def test_an_interrupted_training_resumes_bit_exactly():
    spec = chz.replace(SPEC, train=chz.replace(TRAIN, steps=12))
    whole, records, _ = run(spec, [0, 1])
    states = initial_states(spec, [0, 1], every(2))
    first, saved = [], []
    into = {"on_record": lambda r, _: first.append(r), "on_checkpoint": saved.append}
    with pytest.raises(Interrupted):
        fit(spec, compile_windows(program_key(spec), every(2)), states, stopping=lambda: len(first) == 2, **into)
    assert 0 < saved[-1].step[0] < 12
    final, rest, _ = run(spec, [0, 1], states=saved[-1])
    assert_same(final, whole)
    steps = [r["step"].tolist() for r in [*first, *rest] if r["ran"].any()]
    assert steps == [r["step"].tolist() for r in records if r["ran"].any()]


@pytest.mark.parametrize("where", ["on_record", "refill"])
def test_what_is_interrupted_on_the_host_resumes_bit_exactly_too(where):
    """A measurement takes long: the state before the record, or after it, is saved."""
    spec = chz.replace(SPEC, train=chz.replace(TRAIN, steps=12))
    whole, _, _ = run(spec, [0, 1])
    states, saved, calls = initial_states(spec, [0, 1], every(2)), [], []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 2:
            raise Interrupted
        return {}

    into = {"on_record": lambda r, _: None, "on_checkpoint": saved.append} | {where: interrupted}
    with pytest.raises(Interrupted):
        fit(spec, compile_windows(program_key(spec), every(2)), states, **into)
    assert saved[-1].step.tolist() == ([3, 3] if where == "on_record" else [6, 6])
    assert_same(run(spec, [0, 1], states=saved[-1])[0], whole)


def test_a_trial_that_replaces_one_that_has_ended_is_bit_exact_and_changes_no_other():
    """The first trial ends after one window; the trial that replaces it has the bits it has by itself."""
    spec = chz.replace(SPEC, train=chz.replace(TRAIN, steps=12))
    states = initial_states(spec, [0, 1], every(2))
    states = states._replace(step=np.asarray([9, 0], np.int32))  # three updates are left for the first
    other = jax.device_get(initial_state(spec, 7))
    waiting, records = [{0: other}], []
    final = fit(
        spec, compile_windows(program_key(spec), every(2)), states,
        on_record=lambda r, _: records.append(r), on_checkpoint=lambda state: None,
        refill=lambda: waiting.pop() if waiting else {},
    )  # fmt: skip
    final = jax.device_get(final)
    assert sum(r["ran"] for r in records).tolist() == [3 + 12, 12]
    alone, _, _ = run(spec, [7, 1])
    assert_same(jax.tree.map(lambda x: x[0], final), jax.tree.map(lambda x: x[0], alone))
    assert_same(jax.tree.map(lambda x: x[1], final), jax.tree.map(lambda x: x[1], alone))


def test_a_prediction_counts_every_arm():
    """Trials, programs, time and disk."""
    spec = ArmSpec(cell=LSTM(features=4), task=Adding(length=6), train=TRAIN, seeds=2, flow=FlowSpec(examples=2))
    long = chz.replace(spec, train=chz.replace(TRAIN, steps=10**6))
    one, two = plan({"a": spec}), plan({"a": long, "b": long})
    assert 0 < one.seconds < two.seconds and 0 < one.disk < two.disk
    assert (one.trials, one.programs, two.trials, two.programs) == (2, 1, 4, 1)
    assert plan({"a": long, "b": long}, shard=(2, 4)).trials == 1


def test_a_prediction_is_not_misled_by_a_trial_that_ends_at_once():
    """What it did not do is not counted as done fast: 10^6 updates take seconds at least."""
    train = chz.replace(TRAIN, steps=10**6, window=1000, bound=1e-30)
    spec = ArmSpec(cell=LSTM(features=4), task=Adding(length=6), train=train, seeds=2, flow=FlowSpec(examples=2))
    assert plan({"a": spec}).seconds > 10
