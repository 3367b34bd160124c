"""Runs an experiment: `python -m rnnlab.run --exp=long_memory train.steps=500`, or `rnnlab.run("long_memory")`."""

from __future__ import annotations

import signal
import sys

if __name__ == "__main__":  # Ctrl-C while the rest is imported ends the process without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)
if {"--dry_run", "-dry_run"} & set(sys.argv):  # what follows takes two seconds
    print("loading JAX and the experiment ...", file=sys.stderr, flush=True)

import contextlib
import functools
import os
import shlex
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from absl import logging

from rnnlab.training import layout

_LATE = layout.use_every_core()  # before anything below makes JAX start its backend

import jax

from rnnlab.clusters import engines
from rnnlab.clusters.driver import check_flags, passed_on, run_elsewhere
from rnnlab.flags import FLAGS, OURS, parse
from rnnlab.reports import listing, tables
from rnnlab.reports.arm_columns import chosen
from rnnlab.reports.check import check_job, check_own
from rnnlab.reports.finish_run import finish
from rnnlab.reports.opened_run import Run, open_run
from rnnlab.runs import hosts
from rnnlab.runs.arms import run_arms
from rnnlab.runs.callable_module import callable_as
from rnnlab.runs.changed_code import settle_code
from rnnlab.runs.changed_data import forget_programs_of_changed_data
from rnnlab.runs.console import Screen, one_line
from rnnlab.runs.environment import command
from rnnlab.runs.folder import RunFolder, locked, waiting
from rnnlab.runs.job import Job, make_job
from rnnlab.runs.ledger import Ledger, Trial
from rnnlab.runs.predict import say_how_long, say_plan, say_trials
from rnnlab.runs.progress import Progress, clock
from rnnlab.scan import compiler
from rnnlab.scan.lstm_kernel import SOURCE
from rnnlab.settings import resolve
from rnnlab.settings.errors import SettingError
from rnnlab.settings.experiments import experiment_files, is_shipped, question
from rnnlab.settings.language import how_many
from rnnlab.training.background import Interrupted, stop_on_signals
from rnnlab.training.canary import check_jax


def run(
    exp: str,
    *,
    tier: str = "quick",
    workdir: str | Path | None = None,
    arms: str | None = None,
    sweep: str | None = None,
    settings: Mapping[str, Any] | None = None,
    redo: bool = False,
    quiet: bool = False,
) -> Run:
    """Runs an experiment here, as the command does, and opens the finished run.

    Args:
      exp: the experiment's name: a file experiments/NAME.py here, or one that is shipped.
      tier: smoke (a minute or two), quick (minutes) or paper.
      workdir: the run's folder; left out, runs/EXP-TIER here. The same call resumes it, or opens it where it has ended.
      arms: only the arms whose name matches this shell pattern.
      sweep: arms in place of the experiment's own, as in "cell=LSTM,GRU task.length=100,500 seed=0:10".
      settings: values by dotted path, as in {"train.learning_rate": 1e-3}.
      redo: run trials again that were run by code which has changed since.
      quiet: say nothing.

    Returns:
      The run: its results, figures, tables and trained networks.

    Raises:
      SettingError: something cannot be run as given; one line names it and the nearest right answer.
      KeyboardInterrupt: what was trained until the last checkpoint is saved.
    """
    overrides = {path: resolve.as_text(value) for path, value in (settings or {}).items()}
    job = make_job(exp, tier, overrides, arms, sweep, workdir)
    if wrong := check_jax():
        raise SettingError(wrong)
    forget_programs_of_changed_data(spec.task for spec in job.arms.values())
    console = Screen(quiet=quiet)
    _check(job, console)
    given = {"exp": exp, "tier": tier, "workdir": workdir, "arms": arms, "sweep": sweep}
    words = [f"--{name}={value}" for name, value in given.items() if value is not None]
    words += [f"{path}={value}" for path, value in overrides.items()]
    folder = RunFolder(job.workdir, job.config("auto"), typed=shlex.join(["python", "-m", "rnnlab.run", *words]))
    ledger, progress = _ledger(job, folder, console)
    try:
        settle_code(job, ledger, redo, progress.warn)
        if not run_arms(job.arms, ledger, progress, lambda: False, job.probes):
            told = "another process trains some of its trials; the same call resumes it when that has ended"
            raise SettingError(f"workdir={job.workdir}: {told}")
        progress.stop()
        with waiting(job.workdir / ".lock-report"):
            finish(job, ledger, console)
    finally:
        progress.stop()
        ledger.close()
        folder.release()
    return open_run(job.workdir)


def _check(job: Job, console: Screen, dry_run: bool = False) -> None:
    """What is the user's own of a job; and its report: one that comes with rnnlab once, when its run begins, since that
    takes a second and more."""
    quickly = is_shipped(job.module) and (dry_run or (job.workdir / "config.json").exists())
    (check_own if quickly else check_job)(job, lambda text: console.say(f"warning: {text}"))


def _compile(console: Screen) -> None:
    """The LSTM layer, once on a machine: before programs are timed, and before a folder is locked."""
    if jax.default_backend() != "cpu":
        return
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        command = None
        with contextlib.suppress(ValueError):  # of a CXX that is no command, which `library` tells
            command = compiler.wanted()
        if command and not any(compiler.cache().glob("*.so")):
            console.say("compiling LSTM layers for this processor, once ...")
        compiler.library(SOURCE)
    for text in dict.fromkeys(str(warning.message) for warning in found):
        console.say(f"warning: {text}")
    if not found and not command and compiler.SWITCH not in os.environ:
        console.say("no C++ compiler: LSTM layers run in plain JAX, slower; pip install 'rnnlab[kernel]' brings one")


def _ended(job: Job, inner: str) -> Callable[[Trial], bool]:
    """Whether a trial has ended in the job's folder, if it is this job's; other hosts may not see it."""
    if jax.process_count() > 1:
        return lambda trial: False
    ledger = Ledger(RunFolder.to_read(job.workdir, job.config(inner)))
    return lambda trial: ledger.ended(trial) is not None


def _ledger(job: Job, folder: RunFolder, console: Screen) -> tuple[Ledger, Progress]:
    """What a run is written to and what is said of it; the first words."""
    without_rule = {name for name, spec in job.arms.items() if not (spec.task.has_stop_rule or spec.train.streak)}
    progress = Progress(console, {name: spec.seeds for name, spec in job.arms.items()}, without_rule)
    if _LATE:
        progress.warn(_LATE)
    if os.environ.get("JAX_ENABLE_X64", "0").lower() in ("1", "true", "on", "yes"):
        progress.warn(
            "JAX_ENABLE_X64: float64 is enabled where cell.dtype or cell.param_dtype asks for it, and only there"
        )
    if folder.changed:
        progress.warn(f"this run was begun in another environment ({', '.join(folder.changed)} differ): bits may too")
    return Ledger(folder, progress.warn), progress


@functools.partial(one_line, hint="; what was saved is whole, and the same command resumes it")
def main(argv: list[str]) -> None:
    logging.set_verbosity(logging.ERROR)  # JAX's and Orbax's running commentary is not ours
    words, console = argv[1:], Screen()
    files = experiment_files()
    if FLAGS.list or FLAGS.cells or FLAGS.tasks or FLAGS.markdown:
        return _say_lists(console)
    if FLAGS.exp is None:
        if named := [word for word in words if word in files]:
            raise SettingError(f"{named[0]}: an experiment is chosen by a flag; write --exp={named[0]}")
        raise SettingError(f"--exp is needed: one of {', '.join(sorted(files))} (--list tells what they ask)")
    columns = FLAGS.columns and list(chosen(FLAGS.columns))
    job = make_job(FLAGS.exp, FLAGS.tier, resolve.parse_overrides(words), FLAGS.arms, FLAGS.sweep, FLAGS.workdir)
    given = {name: FLAGS[name].serialize() for name in OURS if FLAGS[name].present}
    shard, engine = _place(given)
    if wrong := check_jax():
        raise SettingError(wrong)
    hosts.check(job.arms)
    console.quiet = not hosts.first()
    if FLAGS.dry_run:
        say_trials(job.arms, console, FLAGS.sweep and how_many(FLAGS.sweep))
    _check(job, console, FLAGS.dry_run)
    _compile(console)
    how = {"probes": job.probes, "shard": shard, "inner": "sequential" if FLAGS.host else FLAGS.layout}
    if FLAGS.dry_run:
        return say_plan(job.arms, console, how, _ended(job, how["inner"]))
    folder = hosts.begin(job.workdir, job.config(how["inner"]), None if engine else shard)
    part = f", part {FLAGS.shard}" if shard[1] > 1 else ""
    where = f"{FLAGS.workers} workers of {FLAGS.engine}" if engine else layout.describe_devices()
    console.say(f"{FLAGS.exp}, {FLAGS.tier} tier{part}, on {where}, in {job.workdir}")
    ledger, progress = _ledger(job, folder, console)
    stop = stop_on_signals()
    began = time.monotonic()
    settle_code(job, ledger, FLAGS.redo, progress.warn)
    reporting = locked(job.workdir / ".lock-report") if engine else None  # before a shard could make it
    try:
        if FLAGS.tier == "paper" and not engine:
            say_how_long(job.arms, folder, progress, lambda: bool(stop), how)
        if engine:
            passed = passed_on(given, words)
            run_elsewhere(engine, FLAGS.workers, "rnnlab.run", passed, job.arms, ledger, progress, lambda: bool(stop))
        elif not run_arms(job.arms, ledger, progress, lambda: bool(stop), **how):
            progress.say(f"part {FLAGS.shard} is done; whoever ends the last part makes the report in {job.workdir}")
            return
    except Interrupted:
        progress.stop()
        progress.say(f"stopped and saved in {job.workdir}; the same command resumes it:\n  {command()}")
        hosts.leave(128 + stop[0], patience=10)  # an ordinary exit would wait for the window that is being computed
    finally:
        progress.stop()
    reporting = reporting or (hosts.first() and locked(job.workdir / ".lock-report"))
    if not reporting:
        progress.say(f"part {FLAGS.shard} is done; another process makes the report in {job.workdir}")
        return
    finish(job, ledger, console, columns, FLAGS.tables == "all")
    progress.say(f"\n{job.workdir / 'report.html'} after {clock(time.monotonic() - began)}")
    beside = Path(sys.executable).with_name("tensorboard")  # of an environment that need not be active
    program = "tensorboard" if shutil.which("tensorboard") or not beside.exists() else str(beside)
    progress.say(shlex.join([program, "--logdir", str(job.workdir / "tensorboard")]))


def _say_lists(console: Screen) -> None:
    """The experiments with their questions, the cells, the tasks: what was asked for."""
    for name, path in experiment_files().items() if FLAGS.list else ():
        console.say(f"{name}: {question(path)}")
    if FLAGS.markdown and not (FLAGS.cells or FLAGS.tasks):
        raise SettingError("--markdown: only with --cells or --tasks")
    if FLAGS.cells or FLAGS.tasks:
        listing.load_own(FLAGS.exp, lambda text: console.say(f"warning: {text}"))
    asked = [listing.cells_table(listing.cells())] if FLAGS.cells else []
    asked += [listing.tasks_table(listing.tasks())] if FLAGS.tasks else []
    for table in asked:
        console.say(tables.markdown(table)) if FLAGS.markdown else tables.terminal(table, console)


def _place(given: dict[str, str]) -> tuple[tuple[int, int], engines.Engine | None]:
    """This process's shard, and the engine that runs the shards of others."""
    check_flags(given, FLAGS.engine)
    shard = resolve.parse_shard(FLAGS.shard)
    if FLAGS.host:
        hosts.join(FLAGS.host, FLAGS.coordinator)
    if FLAGS.engine == "local":
        return shard, None
    jax.config.update("jax_platforms", "cpu")  # the accelerators are for the workers
    return shard, engines.find_engine(FLAGS.engine, FLAGS.workers, engines.parse_allotment(FLAGS.allot))


def program() -> None:
    """The command line, with its exit status."""
    sys.exit(hosts.run(main, parse(sys.argv)))


callable_as(__name__, run)

if __name__ == "__main__":
    program()
