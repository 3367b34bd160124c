"""Has the trials of a sweep run by an engine's processes, and watches the ledger meanwhile.

What counts stands in the ledger and checkpoints resume: a part whose process dies is started again and loses nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rnnlab.clusters.engines import Engine, EngineError, Part, Process, carried
from rnnlab.runs.ledger import Ledger, Trial, all_trials, of_shard
from rnnlab.runs.progress import LINE_SECONDS, Progress
from rnnlab.settings.errors import SettingError
from rnnlab.settings.resolve import ArmSpec
from rnnlab.training.background import Interrupted

RETRIES = 3  # times that a part is started again with no trial ended in between
POLL = 0.5  # seconds between two looks at the processes
GRACE = 60.0  # seconds that processes which were told to stop have to save
DRIVERS = ("engine", "workers", "allot")  # flags of the process that drives
HOSTS = ("host", "coordinator")


def check_flags(given: Mapping[str, str], engine: str) -> None:
    """Flags that do not go together are an error; `given` holds those on the command line, {name: --name=value}."""
    wanted = {"workers": "--engine=ray or --engine=slurm", "allot": "--engine=ray or --engine=slurm"}
    for name, needed in (wanted if engine == "local" else {}).items():
        if name in given:
            raise SettingError(f"{given[name]}: only with {needed}")
    if "coordinator" in given and "host" not in given:
        raise SettingError(f"{given['coordinator']}: only with --host=i/n, for which of n hosts this is")
    clashes = {"host": ("shard", "layout")} if engine == "local" else {"engine": ("shard", "host")}
    for name, others in clashes.items():
        for other in others:
            if name in given and other in given:
                raise SettingError(f"{given[other]}: not with {given[name]}, which settles that itself")


def passed_on(given: Mapping[str, str], words: Sequence[str]) -> list[str]:
    """The words of a command that its shards get too: all but where and in how many parts it runs, and
    what has been done already."""
    own = ("workdir", "shard", "redo", *DRIVERS, *HOSTS)
    return [*itertools.chain(*(text.split("\n") for name, text in given.items() if name not in own)), *words]


def run_elsewhere(
    engine: Engine,
    workers: int,
    program: str,
    words: Sequence[str],
    arms: Mapping[str, ArmSpec],
    ledger: Ledger,
    progress: Progress,
    stopping: Callable[[], bool],
) -> None:
    """Runs `python -m program words` as so many shards, until the ledger holds every trial.

    `words` are the command's, but for --workdir and --shard. Raises EngineError when a part could not be brought to
    its end, Interrupted when `stopping()`, after the parts have saved.
    """
    trials = all_trials(arms)
    watch = _Watch(ledger, trials, progress)
    watch.look()
    place = ledger.folder.path.absolute()
    (place / "workers").mkdir(exist_ok=True)
    parts = {}
    for i in range(1, workers + 1):
        if any(trial in watch.left for trial in of_shard(trials, (i, workers))):
            log = str(place / "workers" / f"{i}-of-{workers}.log")
            mine = [f"--workdir={place}", *words, f"--shard={i}/{workers}"]
            parts[f"{i}/{workers}"] = Part(program, mine, log, str(Path.cwd()), carried())
    try:
        run_parts(engine, parts, watch.look, stopping, progress.warn)
    finally:
        engine.close()
    watch.look()
    if watch.left:
        some = ", ".join(map(str, list(watch.left)[:3]))
        raise EngineError(f"every part has ended, but {len(watch.left)} trials have not ({some}): start this again")


def run_parts(
    engine: Engine,
    parts: Mapping[str, Part],
    done: Callable[[], int],
    stopping: Callable[[], bool],
    warn: Callable[[str], None],
) -> None:
    """Runs every part to success, starting those again that died.

    `done` tells how many trials have ended: a part is given up when it died more than RETRIES times with none ended
    in between; the others go on.

    Raises:
      EngineError: parts were given up.
      Interrupted: `stopping()`; every part was told to save, and has ended or had GRACE seconds.
    """
    running: dict[str, Process] = {}
    try:
        for name, part in parts.items():
            running[name] = engine.start(part)
        lost = _watched(engine, parts, running, done, stopping, warn)
    except BaseException:  # whatever happens here, no process is left behind
        _stop(running)
        raise
    if lost:
        raise EngineError("; ".join(lost))


def _watched(engine, parts, running, done, stopping, warn) -> list[str]:
    """Until none is running: those that were given up, each with what it said last."""
    deaths, seen, lost = dict.fromkeys(parts, 0), dict.fromkeys(parts, 0), []
    while running:
        if stopping():
            raise Interrupted
        count = done()
        for name, how in {name: process.ended() for name, process in running.items()}.items():
            if how is None:
                continue
            del running[name]
            if how == "":
                continue
            deaths[name] = 1 if count > seen[name] else deaths[name] + 1
            seen[name] = count
            if deaths[name] > RETRIES:
                lost.append(f"part {name} ended {deaths[name]} times ({how}); {_last_words(Path(parts[name].log))}")
            else:
                warn(f"part {name}: {how}; it starts again")
                running[name] = engine.start(parts[name])
        time.sleep(POLL)
    return lost


def _stop(running: Mapping[str, Process]) -> None:
    for process in running.values():
        process.stop()
    patience = time.monotonic() + GRACE
    while time.monotonic() < patience and any(process.ended() is None for process in running.values()):
        time.sleep(0.1)


def _last_words(log: Path) -> str:
    with contextlib.suppress(OSError, IndexError):
        return f"its last line in {log}: {log.read_text(errors='replace').split(chr(10))[-2][:300]}"
    return f"it never got as far as {log}"


class _Watch:
    """The trials that the ledger lacks; what has ended is said."""

    def __init__(self, ledger: Ledger, trials: Sequence[Trial], progress: Progress):
        self._ledger, self._progress = ledger, progress
        self.left = dict.fromkeys(trials)
        self._all, self._said = len(trials), time.monotonic()

    def look(self) -> int:
        """How many trials have ended."""
        for trial in list(self.left):
            if result := self._ledger.ended(trial):
                del self.left[trial]
                self._progress.finished(result)
        done = self._all - len(self.left)
        if time.monotonic() - self._said >= LINE_SECONDS:
            self._said = time.monotonic()
            self._progress.say(f"  {done} of {self._all} trials")
        return done
