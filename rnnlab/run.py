"""The command line: `python -m rnnlab.run --exp=long_memory train.steps=500`."""

from __future__ import annotations

import signal

if __name__ == "__main__":  # Ctrl-C while the rest is imported ends the process without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import difflib
import functools
import shlex
import shutil
import sys
import time
from pathlib import Path

from absl import app, flags, logging

from rnnlab.training import layout

_LATE = layout.use_every_core()  # before anything below makes JAX start its backend

import jax

from rnnlab.clusters import engines
from rnnlab.clusters.driver import DRIVERS, HOSTS, check_flags, passed_on, run_elsewhere
from rnnlab.reports import (
    report,
    sweep_report,
)
from rnnlab.reports.html import glossary
from rnnlab.reports.tables import terminal
from rnnlab.runs import hosts
from rnnlab.runs.arms import check_names, gather, run_arms
from rnnlab.runs.console import Screen, one_line
from rnnlab.runs.files import read_json, write_json
from rnnlab.runs.folder import command, locked, slug
from rnnlab.runs.ledger import Ledger
from rnnlab.runs.predict import plan
from rnnlab.runs.progress import Progress, clock
from rnnlab.runs.recorder import write_pictures
from rnnlab.settings import errors, experiments, resolve
from rnnlab.settings.language import parse_sweep
from rnnlab.training.background import Interrupted, start, stop_on_signals, wait
from rnnlab.training.canary import check_jax
from rnnlab.training.spec import use_float64

FLAGS = flags.FLAGS
flags.DEFINE_string("exp", None, "the experiment: a file experiments/NAME.py here or shipped (see --list)")
flags.DEFINE_string("tier", "quick", "smoke (half a minute), quick (minutes) or paper (a day or two, predicted first)")
flags.DEFINE_string(
    "workdir", None, "the run's folder; left out, runs/EXP-TIER here (and -ARMS). The same command goes on in it"
)
flags.DEFINE_string("arms", None, "only the arms whose name matches this shell pattern, as in '*/LSTM*'")
flags.DEFINE_string(
    "sweep", None, "arms in place of the experiment's own, as in 'cell=LSTM,GRU task.length=100,500 seed=0:10'"
)
flags.DEFINE_string("shard", "1/1", "i/n: the i-th of n parts of the trials; all parts share one --workdir")
flags.DEFINE_enum("layout", "auto", layout.KINDS, "how trials that share a program lie on the devices")
flags.DEFINE_enum("engine", "local", engines.KINDS, "where trials run: in this process, or as shards on a cluster")
flags.DEFINE_integer("workers", 2, "how many shards a cluster runs", lower_bound=1)
flags.DEFINE_string("allot", "", "what each worker gets, in the engine's words: 'num_gpus=1', 'slurm_partition=long'")
flags.DEFINE_string("host", None, "i/n: this process is the i-th of n that train each trial together; or auto")
flags.DEFINE_string("coordinator", None, "address:port of the first of those hosts")
flags.DEFINE_bool("dry_run", False, "say what would run, how long and on how much disk, and stop")
flags.DEFINE_bool("list", False, "list the experiments with their questions, and stop")
OURS = ("exp", "tier", "workdir", "arms", "sweep", "shard", "layout", *DRIVERS, *HOSTS, "dry_run", "list")


@functools.partial(one_line, hint="; what was saved is whole, and the same command goes on from there")
def main(argv: list[str]) -> None:
    logging.set_verbosity(logging.ERROR)  # JAX's and Orbax's running commentary is not ours
    words, console = argv[1:], Screen()
    files = experiments.experiment_files()
    if FLAGS.list:
        for name, path in files.items():
            console.say(f"{name}: {experiments.question(path)}")
        return
    if FLAGS.exp is None:
        raise errors.SettingError(f"--exp is needed: one of {', '.join(sorted(files))} (--list tells what they ask)")
    module = experiments.load_experiment(FLAGS.exp)
    overrides = resolve.parse_overrides(words)
    swept = parse_sweep(FLAGS.sweep) if FLAGS.sweep is not None else None
    arms = resolve.resolve(module, FLAGS.tier, overrides, FLAGS.arms, swept)
    use_float64(arms.values())
    check_names(arms)
    given = {name: FLAGS[name].serialize() for name in OURS if FLAGS[name].present}
    shard, engine = _place(given)
    own = {"probes": module.probes} if hasattr(module, "probes") else {}
    if wrong := check_jax():
        raise errors.SettingError(wrong)
    hosts.check(arms)
    console.quiet = not hosts.first()
    own |= {"shard": shard, "inner": "sequential" if FLAGS.host else FLAGS.layout}
    if FLAGS.dry_run:
        _say_plan(arms, console, own)
        return
    config = {
        "experiment": FLAGS.exp,
        "tier": FLAGS.tier,
        "layout": own["inner"],
        "arms": {n: resolve.flat(s) for n, s in arms.items()},
    }
    chosen = f"-{slug(FLAGS.arms).replace('/', '-')}" if FLAGS.arms else ""
    chosen += "-sweep" if swept else ""
    workdir = Path(FLAGS.workdir or f"runs/{FLAGS.exp}-{FLAGS.tier}{chosen}")
    folder = hosts.begin(workdir, config, None if engine else shard)

    progress = Progress(console, {name: spec.seeds for name, spec in arms.items()})
    part = f", part {FLAGS.shard}" if shard[1] > 1 else ""
    where = f"{FLAGS.workers} workers of {FLAGS.engine}" if engine else layout.describe_devices()
    progress.say(f"{FLAGS.exp}, {FLAGS.tier} tier{part}, on {where}, in {workdir}")
    if _LATE:
        progress.warn(_LATE)
    if folder.changed:
        progress.warn(f"this run was begun in another environment ({', '.join(folder.changed)} differ): bits may too")
    stop = stop_on_signals()
    began = time.monotonic()
    ledger = Ledger(folder, progress.warn)
    reporting = locked(workdir / ".lock-report") if engine else None  # before a shard could make it
    try:
        if FLAGS.tier == "paper" and not engine:
            _say_how_long(arms, folder, progress, lambda: bool(stop), own)
        if engine:
            run_elsewhere(
                engine, FLAGS.workers, "rnnlab.run", passed_on(given, words), arms, ledger, progress, lambda: bool(stop)
            )
        elif not run_arms(arms, ledger, progress, lambda: bool(stop), **own):
            progress.say(f"part {FLAGS.shard} is done; whoever ends the last part makes the report in {workdir}")
            return
    except Interrupted:
        progress.stop()
        progress.say(f"stopped and saved in {workdir}; the same command goes on from there:\n  {command()}")
        hosts.leave(128 + stop[0], patience=10)  # an ordinary exit would wait for the window that is being computed
    finally:
        progress.stop()
    reporting = reporting or (hosts.first() and locked(workdir / ".lock-report"))
    if not reporting:
        progress.say(f"part {FLAGS.shard} is done; another process makes the report in {workdir}")
        return
    _report(module, arms, ledger, console)
    progress.say(f"\n{workdir / 'report.html'} after {clock(time.monotonic() - began)}")
    beside = Path(sys.executable).with_name("tensorboard")  # of an environment that need not be active
    program = "tensorboard" if shutil.which("tensorboard") or not beside.exists() else str(beside)
    progress.say(shlex.join([program, "--logdir", str(workdir / "tensorboard")]))


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


def _report(module, arms, ledger, console) -> None:
    """results.json and all that is made from it."""
    place = ledger.folder.path
    results = gather(module, FLAGS.exp, FLAGS.tier, arms, ledger)
    write_json(place / "results.json", results)  # first: a report that fails loses nothing
    verdict = report.asked(sweep_report if FLAGS.sweep else module, results, place)
    write_json(place / "results.json", results | {"verdict": verdict.sentence})
    write_pictures(ledger.folder, report.write(results, verdict, place))
    for table in verdict.tables:
        terminal(table, console)
    for line in (*glossary(verdict.tables, results["fraction"]), f"\n{verdict.sentence}"):
        console.say(line)


def _say_plan(arms, console, how) -> None:
    """What would run."""
    with console.status("") as status:
        found = plan(arms, status.update, **how)
    console.say(
        f"{len(arms)} arms, {found.trials} trials in {found.programs} programs on {layout.describe_devices()}: "
        f"at most about {clock(found.seconds)}, about {max(found.disk >> 20, 1)} MiB"
    )
    for name, spec in arms.items():
        console.say(f"  {name}: {spec.seeds} trials")


def _say_how_long(arms, folder, progress, stopping, how) -> None:
    """The prediction, made once a folder and part."""
    known = folder.path / f"prediction-{folder.shard}.json"
    if not known.exists():
        progress.say("timing a few updates of each program to predict how long this takes ...")
        write_json(known, wait(start(functools.partial(plan, arms, progress.say, **how)), stopping)._asdict())
    progress.say(f"at most about {clock(read_json(known)['seconds'])} on this machine; less where trials end early")


def parse(argv: list[str]) -> list[str]:
    """absl's flags; an unknown one is an error of one line that names the nearest of ours."""
    try:
        if any(word in ("--help", "-h", "-help", "--helpfull") for word in argv[1:]):
            sys.exit(print_help(argv))
        return FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        near = difflib.get_close_matches(error.flagname, OURS, n=1, cutoff=0.5)
        hint = f"the nearest is --{near[0]}" if near else f"there is {', '.join('--' + name for name in OURS)}"
        print(f"rnnlab: --{error.flagname}: no such flag; {hint}; settings are written path=value", file=sys.stderr)
    except flags.Error as error:
        print(f"rnnlab: {error}", file=sys.stderr)
    sys.exit(2)


@one_line
def print_help(argv: list[str]) -> None:
    words = [word for word in argv if word.lstrip("-") not in ("help", "h", "helpfull")]
    rest = FLAGS(words, known_only=True)
    lines = [
        "python -m rnnlab.run --exp=NAME [--tier=smoke|quick|paper] [--workdir=FOLDER] [--arms=PATTERN] [PATH=VALUE]"
    ]
    for name in OURS:
        default = FLAGS[name].default
        lines.append(f"  --{name}: {FLAGS[name].help}{f' (default {default})' if default else ''}")
    module = experiments.load_experiment(FLAGS.exp or "long_memory")
    overrides = resolve.parse_overrides(word for word in rest[1:] if not word.startswith("-"))
    lines += ["", resolve.help_text(module, FLAGS.tier, overrides, FLAGS.arms)]
    Screen().say("\n".join(lines))


def program() -> None:
    """The command line, with its exit status."""
    app.run(functools.partial(hosts.run, main), flags_parser=parse)


if __name__ == "__main__":
    program()
