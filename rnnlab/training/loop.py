"""The host loop around the compiled windows of training; the device never waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from rnnlab.training.background import Interrupted, start, wait
from rnnlab.training.layout import replace
from rnnlab.training.spec import TrialSpec
from rnnlab.training.state import TrainState, unfinished
from rnnlab.training.updates import Program

FIRST = 2.0  # seconds until the first checkpoint, at most: what is killed before it begins anew


def fit(
    spec: TrialSpec,
    run: Program,
    state: TrainState,
    *,
    on_record: Callable[[dict[str, Any], TrainState], None],
    on_checkpoint: Callable[[TrainState], None],
    refill: Callable[[], Mapping[int, TrainState]] = dict,
    stopping: Callable[[], bool] = lambda: False,
) -> TrainState:
    """Runs windows until all of the program's trials have ended and `refill` has no more.

    Args:
      spec: what is trained; of its training only `steps` and `checkpoint_seconds` are read.
      run: the program from `compile_windows`.
      state: stacked states [S, ...] of the program's trials as NumPy arrays, fresh or restored.
      on_record: called with each window's record as NumPy arrays [S, ...] and the state after it; the next window
        is on the device by then, so that the device never waits for the host.
      on_checkpoint: called with the state every `checkpoint_seconds`, after all of its records.
      refill: called after each record; returns the states {index: state} of new trials, which replace trials that
        have ended.
      stopping: polled all the time; once true, the last complete state is saved, without waiting for the window
        that is being computed, and Interrupted is raised. So it is where `on_record` or `refill` raise it: then the
        state is that before the record, or after it.

    Returns:
      The last state, in which no trial has updates left.
    """
    saved = time.monotonic() - max(spec.train.checkpoint_seconds - FIRST, 0)
    fresh: Mapping[int, TrainState] = {}
    ahead = start(run, state)  # in a thread: on CPU a dispatch may wait until what it reads is computed
    while True:
        try:
            new, record = wait(ahead, stopping)
            new = replace(new, fresh)  # the window that has just run changed nothing of those replaced
            ahead = start(run, new)  # a window of trials that have all ended does nothing either
            record = wait(start(jax.device_get, record), stopping)
            on_record(record, new)
            state, fresh = new, {}
            under_way = bool(np.any(unfinished(spec, np.asarray(state.status), np.asarray(state.step))))
            if time.monotonic() - saved >= spec.train.checkpoint_seconds:
                on_checkpoint(jax.device_get(state))
                saved = time.monotonic()
            fresh = refill()
        except Interrupted:
            on_checkpoint(replace(jax.device_get(state), fresh))
            raise
        if not fresh and not under_way:
            return state
