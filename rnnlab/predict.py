"""How long a run will take on this machine, before it starts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import chz
import jax

from rnnlab.experiment import Probes, group_name, groups
from rnnlab.ledger import all_trials
from rnnlab.measure import Probe, measure, own_measurements, own_probes
from rnnlab.settings import ArmSpec
from rnnlab.train import compile_windows, initial_state, kind
from rnnlab.trials import Layout, layout, stack

BYTES_A_TRIAL = 120_000  # its results, events, figures' share and last state, in a small run
LINE = 4_000  # bytes that a window writes, in metrics and TensorBoard


class Plan(NamedTuple):
    """What a run will do."""

    trials: int
    programs: int  # that will be compiled for training and measuring
    seconds: float  # at most, on this machine
    disk: int  # bytes of its folder, about


def plan(
    arms: Mapping[str, ArmSpec],
    say: Callable[[str], None] = lambda text: None,
    probes: Probes = lambda spec: {},
    shard: tuple[int, int] = (1, 1),
    inner: str = "auto",
) -> Plan:
    """How many trials and programs, and about how long at most: from a few updates and probes of each program.

    Two lengths of window are timed, so that updates and evaluations are told apart; their times grow with the length
    of the sequence, so long ones are timed at 500 steps and scaled. `say` is told what is being timed.
    """
    trials = all_trials(arms)
    mine = set(trials[shard[0] - 1 :: shard[1]])
    seconds, disk, programs = 0.0, 0, 0
    for members in groups(trials, probes).values():
        here = [trial for trial in members if trial in mine]
        if not here:
            continue
        spec = here[0].spec
        programs += 1
        say(f"  timing {group_name(members)}")
        where = layout(len(members), spec.train.batch_size, inner)
        short = chz.replace(spec, task=chz.replace(spec.task, length=min(spec.task.length, 500)))
        cost = _seconds(short, tuple(probes(short).items()), where)
        rounds = math.ceil(len(here) / where.slots)
        updates = spec.train.steps * (cost.update + cost.evaluation / spec.train.window)
        own = 2 + (spec.train.steps // spec.probe_every if spec.probe_every else 0)
        steps = updates + 2 * cost.probe + own * cost.own_probes
        long = spec.task.length / short.task.length
        seconds += cost.compilation + len(here) * cost.weights + rounds * steps * long
        disk += len(here) * (BYTES_A_TRIAL + LINE * math.ceil(spec.train.steps / spec.train.window))
        disk += 2 * len(here) * spec.flow.examples * spec.task.length * 8 * 4
    return Plan(len(mine), programs, seconds, disk)


class _Seconds(NamedTuple):
    """What one program costs, all its slots together."""

    compilation: float
    update: float
    evaluation: float
    probe: float
    own_probes: float
    weights: float  # drawing those of one trial, flossing included


def _seconds(spec: ArmSpec, own: tuple[tuple[str, Probe], ...], where: Layout) -> _Seconds:
    taken = []
    compilation = 0.0
    drawn, state = _timed(lambda: jax.device_get(initial_state(spec, 0)))
    state = stack([state] * where.slots)
    for window in (1, 4):
        train = chz.replace(spec.train, window=window, steps=3 * window, stop_when_solved=False)
        short = chz.replace(spec, train=train)
        compilation, run = _timed(lambda short=short: compile_windows(kind(short), where))
        after, _ = run(state)
        taken.append(_timed(lambda run=run, after=after: jax.block_until_ready(run(after)))[0])
    update = max(taken[1] - taken[0], 1e-6) / 3
    first, later = (_timed(lambda: measure(spec, where, state, [0]))[0] for _ in range(2))
    cost = 0.0
    if own:
        run = own_probes(spec.task, spec.flow, own, where)
        _, cost = (_timed(lambda: own_measurements(run, state, [0]))[0] for _ in range(2))
    return _Seconds(compilation + first - later, update, max(taken[0] - update, 0.0), later, cost, drawn)


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.monotonic()
    found = function()
    return time.monotonic() - start, found
