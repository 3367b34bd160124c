"""Worker processes that take turns, and what their times say, with its spread."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
BUSY = 0.1  # a turn is disturbed if others took more than this share of the cores


class Worker:
    """A framework in its own process; between its turns it sleeps on its standard input."""

    def __init__(self, name: str, python: str, accelerator: bool = False):
        script = Path(__file__).with_name(f"on_{name}.py")
        self.name = name
        own = {"BENCH_ACCELERATOR": "1"} if accelerator else {"JAX_PLATFORMS": "cpu"}
        self.process = subprocess.Popen(
            [python, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
            env=os.environ | own,
        )  # fmt: skip

    def send(self, verb: str, **request: Any) -> None:
        self.process.stdin.write(json.dumps({"verb": verb, **request}) + "\n")

    def receive(self) -> Any:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the {self.name} worker ended: exit code {self.process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise RuntimeError(f"the {self.name} worker failed:\n{reply['error']}")
        return reply["answer"]

    def ask(self, verb: str, **request: Any) -> Any:
        self.send(verb, **request)
        return self.receive()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


class Timed(NamedTuple):
    """One job, measured over rounds: the best time of each turn, and the share of the cores others took in it."""

    seconds: list[float]
    others: list[float]

    @property
    def typical(self) -> float:
        return statistics.median(self.seconds)


class Spread(NamedTuple):
    """A median with its quartiles, over `count` rounds."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
        return cls(middle, low, high, len(values))


def ratio(numerator: Timed, denominator: Timed) -> Spread:
    """The paired ratios of the rounds in which neither turn was disturbed; of all, where those are under three."""
    rounds = list(zip(numerator.seconds, denominator.seconds, numerator.others, denominator.others, strict=True))
    quiet = [n / d for n, d, *others in rounds if max(others) <= BUSY]
    return Spread.of(quiet if len(quiet) >= 3 else [n / d for n, d, *_ in rounds])


class Pace(NamedTuple):
    """How long is measured: rounds of turns, in each turn so many seconds and at least so many calls."""

    rounds: int
    seconds: float
    calls: int
    patience: float  # seconds, for each set of turns, of waiting for others to leave the cores alone


def take_turns(jobs: dict[str, tuple[Worker, str]], pace: Pace) -> dict[str, Timed]:
    """Every job (a worker and its name there) once a round; who begins moves on from round to round.

    A disturbed round is measured again, for as long as patience allows.
    """
    timed = {name: Timed([], []) for name in jobs}
    names = list(jobs)
    quiet = number = 0
    deadline = time.perf_counter() + pace.patience
    while number < pace.rounds or (quiet < pace.rounds and time.perf_counter() < deadline):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            worker, job = jobs[name]
            _wait_for_quiet(deadline)
            wall, busy = time.perf_counter(), _busy_seconds()
            answer = worker.ask("time", job=job, seconds=pace.seconds, calls=pace.calls)
            others = _busy_seconds() - busy - answer["cpu"]
            timed[name].seconds.append(min(answer["times"]))
            timed[name].others.append(max(0.0, others / (time.perf_counter() - wall) / CORES))
        number += 1
        quiet += max(times.others[-1] for times in timed.values()) <= BUSY
    return timed


def _wait_for_quiet(deadline: float) -> None:
    while time.perf_counter() < deadline:
        wall, busy = time.perf_counter(), _busy_seconds()
        time.sleep(0.1)
        if (_busy_seconds() - busy) / (time.perf_counter() - wall) / CORES <= BUSY:
            return


def _busy_seconds() -> float:
    """CPU seconds that all processes of the machine have taken, this one's waiting excluded; 0 where unknown."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return 0.0
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
