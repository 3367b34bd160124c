"""A tiny training for the tests, and its run to the end."""

import jax
import numpy as np

from rnnlab.cells import LSTM
from rnnlab.tasks import Adding
from rnnlab.training.layout import layout, stack
from rnnlab.training.loop import fit
from rnnlab.training.spec import TrainSpec, TrialSpec
from rnnlab.training.state import SOLVED, initial_state
from rnnlab.training.updates import compile_windows, program_key

TRAIN = TrainSpec(steps=6, window=3, batch_size=4, eval_size=8, learning_rate=1e-2, clip_norm=0.1)
SPEC = TrialSpec(cell=LSTM(features=4), task=Adding(length=6), train=TRAIN)


def initial_states(spec, seeds, where):
    """One for each trial of the program; those beyond the seeds have ended."""
    size = where.trials_at_once
    states = stack([jax.device_get(initial_state(spec, seed)) for seed in [*seeds, *seeds[-1:]][:size]])
    return states._replace(status=np.where(np.arange(size) < len(seeds), states.status, SOLVED).astype(np.int32))


def every(trials, batch=TRAIN.batch_size):
    """A layout that runs all trials at once, mapped within two devices."""
    where = layout(trials, batch)
    return where._replace(each=-(-trials // where.over_trials))


def run(spec, seeds, states=None, stopping=lambda: False, where=None):
    """(final states, records, checkpoints)."""
    where = where or every(len(seeds))
    states = initial_states(spec, seeds, where) if states is None else states
    records, checkpoints = [], []
    program = compile_windows(program_key(spec), where)
    into = {"on_record": lambda r, _: records.append(r), "on_checkpoint": checkpoints.append, "stopping": stopping}
    final = fit(spec, program, states, **into)
    return jax.device_get(final), records, checkpoints


def assert_same(a, b):
    for one, two in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(one, two)
