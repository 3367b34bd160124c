"""How long a run will take on this machine, before it starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import chz
import jax

from rnnlab.measure import Probe, flow_probe, measure, own_measurements, own_probes
from rnnlab.settings import ArmSpec
from rnnlab.train import compile_windows, initial_states


def predict_seconds(
    arms: Mapping[str, ArmSpec],
    say: Callable[[str], None] = lambda text: None,
    probes: Callable[[ArmSpec], Mapping[str, Probe]] = lambda spec: {},
) -> float:
    """About how long a run takes at most on this machine, from a few updates and probes of each kind of arm.

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
            measured[kind] = _seconds(short, tuple(probes(short).items()))
        cost = measured[kind]
        updates = spec.train.steps * (cost.update + cost.evaluation / spec.train.window)
        rounds = 2 + (spec.train.steps // spec.probe_every if spec.probe_every else 0)
        steps = updates + 2 * cost.probe + rounds * cost.own_probes
        total += cost.compilation + cost.weights + steps * spec.task.length / short.task.length
    return total


class _Seconds(NamedTuple):
    """What one kind of arm costs, all its trials together."""

    compilation: float
    update: float
    evaluation: float
    probe: float
    own_probes: float
    weights: float  # drawing them, flossing included


def _seconds(spec: ArmSpec, own: tuple[tuple[str, Probe], ...]) -> _Seconds:
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
    weights, _ = _timed(lambda: initial_states(spec, list(range(spec.seeds))))
    cost = 0.0
    if own:
        run = own_probes(spec.task, spec.flow, own, spec.seeds)
        _, cost = (_timed(lambda: own_measurements(run, state, spec.seeds))[0] for _ in range(2))
    return _Seconds(compilation + first - later, update, max(taken[0] - update, 0.0), later, cost, weights)


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.monotonic()
    found = function()
    return time.monotonic() - start, found
