"""How long a run will take on this machine, before it starts."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rnnlab.runs.arms import Probes, by_program, group_name
from rnnlab.runs.cost import Cost, measured_cost
from rnnlab.runs.files import read_json, write_json
from rnnlab.runs.ledger import Trial, all_trials, of_shard
from rnnlab.runs.progress import clock, counted
from rnnlab.runs.rough_cost import RoughCost
from rnnlab.settings.resolve import ArmSpec
from rnnlab.training.background import start, wait
from rnnlab.training.layout import Layout, describe_devices, layout
from rnnlab.training.spec import precision_of

BYTES_A_TRIAL = 120_000  # its results, events, figures' share and last state, in a small run
HOST = 0.3  # seconds that a trial's files and pictures take
LINE = 4_000  # bytes that a window writes, in metrics and TensorBoard


class Plan(NamedTuple):
    """What a run will do."""

    trials: int
    programs: int  # that will be compiled for training and measuring
    seconds: float  # on this machine, if no trial ends early
    disk: int  # bytes of its folder, about


def plan(
    arms: Mapping[str, ArmSpec],
    say: Callable[[str], None] = lambda text: None,
    probes: Probes = lambda spec: {},
    shard: tuple[int, int] = (1, 1),
    inner: str = "auto",
    cost_of: Callable[[ArmSpec, tuple[Any, ...], Layout], Cost] = measured_cost,
    ended: Callable[[Trial], bool] = lambda trial: False,
) -> Plan:
    """How many trials and programs, and about how long if none ends early. `say` is told what is being timed."""
    trials, programs, seconds, disk = 0, 0, 0.0, 0
    for members, shards in by_program(all_trials(arms), probes, shard):
        mine = [trial for trial in shards if not ended(trial)]
        if not mine:
            continue
        spec = mine[0].spec
        trials += len(mine)
        programs += 1
        say(f"  timing {group_name(members)}")
        where = layout(len(members), spec.train.batch_size, inner, spec.layer_bytes)
        with precision_of(spec):
            cost = cost_of(spec, tuple(probes(spec).items()), where)
        rounds = math.ceil(len(mine) / where.trials_at_once)
        updates = spec.train.steps * (cost.update + cost.evaluation / spec.train.window)
        own = 2 + (spec.train.steps // spec.probe_every if spec.probe_every else 0)
        probes_a_trial = (2 if spec.train.steps else 1) * cost.probe + own * cost.own_probes
        seconds += cost.compilation + rounds * updates + len(mine) * (cost.weights + probes_a_trial + HOST)
        disk += len(mine) * (BYTES_A_TRIAL + LINE * math.ceil(spec.train.steps / spec.train.window))
        disk += 2 * len(mine) * spec.flow.examples * spec.task.length * 8 * 4
    return Plan(trials, programs, seconds, disk)


def say_trials(arms, console, swept: str | None) -> None:
    """What would run; `swept` is how a typed sweep counts its arms."""
    if swept:
        console.say(f"{swept}:")
    trials = sum(spec.seeds for spec in arms.values())
    console.say(f"{counted(len(arms), 'arm')}, {counted(trials, 'trial')} on {describe_devices()}:")
    for name, spec in arms.items():
        console.say(f"  {name}: {counted(spec.seeds, 'trial')}")


def say_plan(arms, console, how, ended: Callable[[Trial], bool] = lambda trial: False) -> None:
    """How many programs, and roughly how long and on how much disk: seconds later."""
    trials = of_shard(all_trials(arms), how["shard"])
    there = {trial for trial in trials if ended(trial)}  # each result is read once
    if there:
        console.say(f"{len(there)} of them ha{'s' if len(there) == 1 else 've'} ended already")
    if len(there) == len(trials):
        return
    console.say("timing a step of each kind of layer ...")
    cost = RoughCost()
    found = plan(arms, cost_of=cost, ended=there.__contains__, **how)
    console.say(
        f"{counted(found.trials, 'trial')} in {counted(found.programs, 'program')}: "
        f"roughly {clock(found.seconds)} if none ends early "
        f"({len(cost.known)} of {len(cost.asked)} kinds of layer timed: it may be half of that or twice), "
        f"about {max(found.disk >> 20, 1)} MiB on disk"
    )


def say_how_long(arms, folder, progress, stopping, how) -> None:
    """The prediction, made once a folder and part."""
    known = folder.path / f"prediction-{folder.shard}.json"
    if not known.exists():
        progress.say("timing a few updates of each program to predict how long this takes ...")
        write_json(known, wait(start(functools.partial(plan, arms, progress.say, **how)), stopping)._asdict())
    progress.say(f"at most about {clock(read_json(known)['seconds'])} on this machine; less where trials end early")
