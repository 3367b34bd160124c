"""What a program costs on this machine: compiled, and run for a few of its last updates."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from rnnlab.runs import hosts
from rnnlab.runs.measure import Probe, measure, own_measurements, own_probes
from rnnlab.settings.resolve import ArmSpec
from rnnlab.training.layout import Layout, stack
from rnnlab.training.state import initial_state
from rnnlab.training.updates import compile_windows, program_key

RESOLVED = 0.1  # seconds that updates must take to be told from an evaluation's own noise


class Cost(NamedTuple):
    """Seconds that one program takes, all its entries together."""

    compilation: float
    update: float
    evaluation: float
    probe: float
    own_probes: float
    weights: float  # drawing those of one trial, flossing included


def measured_cost(spec: ArmSpec, own: tuple[tuple[str, Probe], ...], where: Layout) -> Cost:
    """From windows of one and of several updates, so that updates and evaluations are told apart, and a probe."""
    drawn, state = timed(lambda: jax.device_get(initial_state(spec, 0)))
    state = stack([state] * where.trials_at_once)
    compilation = update = evaluation = cost = 0.0
    if steps := spec.train.steps:
        compilation, run = timed(lambda: compile_windows(program_key(spec), where))

        def window(left: int) -> tuple[float, int]:
            """Seconds of a window in which so many updates are left, then an evaluation; updates before trials ended.

            All hosts are given the first one's seconds, so that they go on together.
            """
            near = state._replace(step=np.full(where.trials_at_once, steps - left, np.int32))
            found = [timed(lambda: jax.block_until_ready(run(near))) for _ in range(2)]
            _, record = found[0][1]
            return hosts.agreed(min(seconds for seconds, _ in found)), int(np.max(jax.device_get(record["ran"])))

        several, limit = 1, min(spec.train.window, steps)
        one, ran = window(1)
        longer = one
        while several == ran < limit and longer - one < RESOLVED:
            several = min(4 * several, limit)
            longer, ran = window(several)
        update = max(longer - one, 1e-6) / (ran - 1) if ran > 1 else one
        evaluation = max(one - update, 0.0)
    first, later = (timed(lambda: measure(spec, where, state, [0]))[0] for _ in range(2))
    if own:
        run_own = own_probes(spec.task, spec.flow, own, where)
        before, cost = (timed(lambda: own_measurements(run_own, state, [0]))[0] for _ in range(2))
        compilation += before - cost
    return Cost(compilation + first - later, update, evaluation, later, cost, drawn)


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that it takes, and what it returns."""
    start = time.monotonic()
    found = function()
    return time.monotonic() - start, found
