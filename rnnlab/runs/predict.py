"""How long a run will take on this machine, before it starts."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from rnnlab.runs import hosts
from rnnlab.runs.arms import Probes, by_program, group_name
from rnnlab.runs.files import read_json, write_json
from rnnlab.runs.ledger import all_trials
from rnnlab.runs.measure import Probe, measure, own_measurements, own_probes
from rnnlab.runs.progress import clock
from rnnlab.settings.resolve import ArmSpec
from rnnlab.training.background import start, wait
from rnnlab.training.layout import Layout, describe_devices, layout, stack
from rnnlab.training.spec import precision_of
from rnnlab.training.state import initial_state
from rnnlab.training.updates import compile_windows, program_key

BYTES_A_TRIAL = 120_000  # its results, events, figures' share and last state, in a small run
HOST = 0.3  # seconds that a trial's files and pictures take
RESOLVED = 0.1  # seconds that updates must take to be told from an evaluation's own noise
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
    """How many trials and programs, and about how long at most: from the last few updates and a probe of each program.

    Windows of one and of several updates are timed, so that updates and evaluations are told apart. `say` is told what
    is being timed.
    """
    trials, programs, seconds, disk = 0, 0, 0.0, 0
    for members, mine in by_program(all_trials(arms), probes, shard):
        if not mine:
            continue
        spec = mine[0].spec
        trials += len(mine)
        programs += 1
        say(f"  timing {group_name(members)}")
        where = layout(len(members), spec.train.batch_size, inner, spec.layer_bytes)
        with precision_of(spec):
            cost = _seconds(spec, tuple(probes(spec).items()), where)
        rounds = math.ceil(len(mine) / where.trials_at_once)
        updates = spec.train.steps * (cost.update + cost.evaluation / spec.train.window)
        own = 2 + (spec.train.steps // spec.probe_every if spec.probe_every else 0)
        probes_a_trial = (2 if spec.train.steps else 1) * cost.probe + own * cost.own_probes
        seconds += cost.compilation + rounds * updates + len(mine) * (cost.weights + probes_a_trial + HOST)
        disk += len(mine) * (BYTES_A_TRIAL + LINE * math.ceil(spec.train.steps / spec.train.window))
        disk += 2 * len(mine) * spec.flow.examples * spec.task.length * 8 * 4
    return Plan(trials, programs, seconds, disk)


def say_plan(arms, console, how) -> None:
    """What would run, at once; then how long, for which every program is compiled and timed."""
    trials = sum(spec.seeds for spec in arms.values())
    console.say(f"{len(arms)} arms, {trials} trials on {describe_devices()}:")
    for name, spec in arms.items():
        console.say(f"  {name}: {spec.seeds} trials")
    console.say("timing a few updates of each program to predict how long this takes ...")
    with console.status("") as status:
        found = plan(arms, status.update if console.is_terminal else console.say, **how)
    console.say(
        f"{found.trials} trials in {found.programs} programs: at most about {clock(found.seconds)}, "
        f"about {max(found.disk >> 20, 1)} MiB"
    )


def say_how_long(arms, folder, progress, stopping, how) -> None:
    """The prediction, made once a folder and part."""
    known = folder.path / f"prediction-{folder.shard}.json"
    if not known.exists():
        progress.say("timing a few updates of each program to predict how long this takes ...")
        write_json(known, wait(start(functools.partial(plan, arms, progress.say, **how)), stopping)._asdict())
    progress.say(f"at most about {clock(read_json(known)['seconds'])} on this machine; less where trials end early")


class _Seconds(NamedTuple):
    """What one program costs, all its entries together."""

    compilation: float
    update: float
    evaluation: float
    probe: float
    own_probes: float
    weights: float  # drawing those of one trial, flossing included


def _seconds(spec: ArmSpec, own: tuple[tuple[str, Probe], ...], where: Layout) -> _Seconds:
    drawn, state = _timed(lambda: jax.device_get(initial_state(spec, 0)))
    state = stack([state] * where.trials_at_once)
    compilation = update = evaluation = cost = 0.0
    if steps := spec.train.steps:
        compilation, run = _timed(lambda: compile_windows(program_key(spec), where))

        def window(left: int) -> tuple[float, int]:
            """Seconds of a window in which so many updates are left, then an evaluation; updates before trials ended.

            All hosts are given the first one's seconds, so that they go on together.
            """
            near = state._replace(step=np.full(where.trials_at_once, steps - left, np.int32))
            found = [_timed(lambda: jax.block_until_ready(run(near))) for _ in range(2)]
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
    first, later = (_timed(lambda: measure(spec, where, state, [0]))[0] for _ in range(2))
    if own:
        run_own = own_probes(spec.task, spec.flow, own, where)
        before, cost = (_timed(lambda: own_measurements(run_own, state, [0]))[0] for _ in range(2))
        compilation += before - cost
    return _Seconds(compilation + first - later, update, evaluation, later, cost, drawn)


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.monotonic()
    found = function()
    return time.monotonic() - start, found
