"""How long a run will take on this machine, before it starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import chz
import jax

from rnnlab.measure import flow_probe, measure
from rnnlab.settings import ArmSpec
from rnnlab.train import compile_windows, initial_states


def predict_seconds(arms: Mapping[str, ArmSpec], say: Callable[[str], None] = lambda text: None) -> float:
    """About how long a run takes at most on this machine, from a few updates and a probe of each kind of arm.

    Two lengths of window are timed, so that updates and evaluations are told apart; their times grow with
    the length of the sequence, so long ones are timed at 500 steps and scaled. Compilation counts once an arm.
    `say` is told what is being timed.
    """
    measured: dict[Any, _Seconds] = {}
    total = 0.0
    for name, spec in arms.items():
        short = chz.replace(spec, task=chz.replace(spec.task, length=min(spec.task.length, 500)))
        kind = (type(spec.cell), spec.cell.features, spec.layers, short.task, spec.train, spec.seeds, spec.flow)
        if kind not in measured:
            say(f"  timing {name}")
            measured[kind] = _seconds(short)
        cost = measured[kind]
        updates = spec.train.steps * (cost.update + cost.evaluation / spec.train.window)
        total += cost.compilation + (updates + 2 * cost.probe) * spec.task.length / short.task.length
    return total


class _Seconds(NamedTuple):
    """What one kind of arm costs, all its trials together."""

    compilation: float
    update: float
    evaluation: float
    probe: float


def _seconds(spec: ArmSpec) -> _Seconds:
    taken = []
    compilation = 0.0
    for window in (1, 4):
        train = chz.replace(spec.train, window=window, steps=3 * window, stop_when_solved=False)
        short = chz.replace(spec, train=train)
        state = jax.device_get(initial_states(short, list(range(spec.seeds))))
        compilation, run = _timed(lambda short=short, state=state: compile_windows(short, state))
        state, _ = run(state)
        taken.append(_timed(lambda run=run, state=state: jax.block_until_ready(run(state)))[0])
    update = max(taken[1] - taken[0], 1e-6) / 3
    probe = flow_probe(spec.task, spec.flow, spec.layers, spec.seeds)
    first, later = (_timed(lambda: measure(spec, probe, state))[0] for _ in range(2))
    return _Seconds(compilation + first - later, update, max(taken[0] - update, 0.0), later)


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.monotonic()
    found = function()
    return time.monotonic() - start, found
