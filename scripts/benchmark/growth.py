"""How costs grow: a gradient with T, a program with its trials, and a run's folder with trials that have ended.

What is measured in seconds is the best of a few calls; what a folder costs, one.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import nnx

from rnnlab.cells import LSTM
from rnnlab.model import SequenceModel
from rnnlab.reports.finish_run import finish
from rnnlab.runs.arms import run_arms
from rnnlab.runs.changed_code import settle_code
from rnnlab.runs.console import Screen
from rnnlab.runs.folder import RunFolder
from rnnlab.runs.job import Job, make_job
from rnnlab.runs.ledger import Ledger, all_trials
from rnnlab.runs.progress import Progress
from rnnlab.tasks import Adding
from rnnlab.training.layout import layout, stack
from rnnlab.training.spec import TrainSpec, TrialSpec
from rnnlab.training.state import initial_state
from rnnlab.training.updates import compile_windows, program_key

LENGTHS = [10**2, 10**3, 10**4, 10**5, 10**6]
TRIALS = [1, 2, 4, 8, 16, 32, 64, 128, 256]
ENDED, SEEDS = [10, 100, 1000, 10_000], 10
UPDATES = 10


def length(steps: int) -> dict[str, float]:
    """Seconds and temporary MiB of the gradient of a loss at the last of T steps; B, D, H = 1, 2, 32, one device."""
    model = SequenceModel(LSTM(features=32), 2, 1, rngs=nnx.Rngs(0))
    xs = jax.random.normal(jax.random.key(1), (steps, 1, 2))
    compiled = jax.jit(jax.grad(lambda model, xs: jnp.mean(model(xs, answers=1) ** 2))).lower(model, xs).compile()
    calls = max(2, min(20, 10**5 // steps))
    seconds = [_seconds(lambda: jax.block_until_ready(compiled(model, xs))) for _ in range(calls)]
    return {"seconds": min(seconds), "MiB": compiled.memory_analysis().temp_size_in_bytes / 2**20}


def trials(count: int) -> dict[str, float]:
    """Seconds of UPDATES updates of so many trials that share a program, drawing their weights not counted."""
    where = layout(count, 32)
    train = TrainSpec(steps=UPDATES, window=UPDATES, batch_size=32, eval_size=32, stop_when_solved=False)
    spec = TrialSpec(cell=LSTM(features=32), task=Adding(length=100), train=train)
    run = compile_windows(program_key(spec), where)
    state = stack([jax.device_get(initial_state(spec, 0))] * where.trials_at_once)
    calls = range(-(-count // where.trials_at_once))
    jax.block_until_ready(run(state))
    return {"seconds": min(_seconds(lambda: jax.block_until_ready([run(state) for _ in calls])) for _ in range(3))}


def ended(count: int) -> dict[str, float]:
    """Of a sweep of so many trials, SEEDS an arm, that have all ended: seconds of what a start does before training,
    and of the report; and what a trial leaves: files and KiB. One trial really ran, the others are its copies."""
    with tempfile.TemporaryDirectory() as place:
        ran = _sweep(1, 1, Path(place) / "one")
        ledger, screen = Ledger(RunFolder(ran.workdir, ran.config("auto"))), Screen(file=io.StringIO())
        _pass(ran, ledger, screen)
        [pattern] = all_trials(ran.arms)
        job = _sweep(-(-count // SEEDS), min(SEEDS, count), Path(place) / "run")
        whole = Ledger(RunFolder(job.workdir, job.config("auto")))
        settle_code(job, whole, False, print)
        for trial in all_trials(job.arms):
            shutil.copytree(ledger.place(pattern), whole.place(trial))
            whole.finish(trial, ledger.result(pattern) | {"arm": trial.arm, "seed": trial.seed})
        files = [path for path in (job.workdir / "trials").rglob("*") if path.is_file()]
        return {
            "start": _seconds(lambda: _pass(job, whole, screen)),
            "report": _seconds(lambda: finish(job, whole, screen)),
            "files": len(files) / count,
            "KiB": sum(path.stat().st_size for path in files) / count / 2**10,
        }


def _sweep(arms: int, seeds: int, folder: Path) -> Job:
    """One over learning rates of a small LSTM on Adding."""
    rates = ",".join(f"{1e-3 * (1 + number / arms):.6g}" for number in range(arms))
    small = {"cell.features": "4", "train.steps": "4", "train.window": "2", "train.batch_size": "4"}
    swept = f"train.learning_rate={rates} seed=0:{seeds}"
    return make_job("long_memory", "smoke", small, None, swept, folder)


def _pass(job: Job, ledger: Ledger, screen: Screen) -> None:
    """What a start does with the trials of a folder: those that have ended are counted, others run."""
    settle_code(job, ledger, False, print)
    progress = Progress(screen, {arm: spec.seeds for arm, spec in job.arms.items()})
    assert run_arms(job.arms, ledger, progress, lambda: False, job.probes)


def _seconds(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


SIZES = {"length": LENGTHS, "trials": TRIALS, "ended": ENDED}
JOBS = {"length": length, "trials": trials, "ended": ended}


def growth(what: str, size: int) -> dict[str, float]:
    """What one size costs."""
    return JOBS[what](size)
