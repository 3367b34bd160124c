"""Which trials of a sweep have ended, and how: a folder a trial, so that any number of processes can share a sweep.

A trial counts when its `result.json` stands, which appears whole or not at all; it is named by the trial and carries a
digest of what it holds. So each counts once, whatever was killed when, and no clock is asked.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnnlab.runs.files import Damaged, as_read, read_json, read_jsonl, write_line, write_whole
from rnnlab.runs.folder import ARM_EVENTS, TRIAL_EVENTS, RunFolder, locked, slug
from rnnlab.settings.resolve import ArmSpec
from rnnlab.training.checkpoint import Checkpoints

LINES = ("metrics", "timings", "probes")  # a trial's files NAME.jsonl; a run's hold those of all trials


class Trial(NamedTuple):
    """An arm with one seed."""

    arm: str
    seed: int
    spec: ArmSpec

    def __str__(self) -> str:
        return f"{self.arm}, seed {self.seed}"

    def __hash__(self) -> int:  # that of a spec goes through all its settings
        return hash((self.arm, self.seed))


def all_trials(arms: Mapping[str, ArmSpec]) -> list[Trial]:
    """Every arm with each of its seeds, in order."""
    return [Trial(arm, seed, spec) for arm, spec in arms.items() for seed in spec.trial_seeds()]


def of_shard(trials: Sequence[Trial], shard: tuple[int, int]) -> Sequence[Trial]:
    """The trials of shard (i, n): every n-th from the i-th."""
    return trials[shard[0] - 1 :: shard[1]]


class Ledger:
    """What stands in a run's folder of its trials."""

    def __init__(self, folder: RunFolder, warn: Callable[[str], None] = lambda text: None):
        self.folder = folder
        self._warn = warn
        self._claims: dict[tuple[str, int], Any] = {}
        self.sources: Mapping[str, str] = {}  # by arm, the digest of the code that its trials run by now

    def place(self, trial: Trial) -> Path:
        """The trial's own folder."""
        return self.folder.path / "trials" / slug(trial.arm) / f"seed={trial.seed}"

    def events(self, trial: Trial) -> Path:
        """Where the trial's TensorBoard events stand: live while it is trained."""
        place = Path(slug(trial.arm), f"seed={trial.seed}", "events.out.tfevents.0")
        before = self.folder.path / ARM_EVENTS / place  # of a run that was begun when trials stood there
        return before if before.exists() else self.folder.path / TRIAL_EVENTS / place

    def claim(self, trial: Trial) -> bool:
        """Takes the trial for this process; False where another process has it, or where it has ended meanwhile.

        An entry that is not what was written is put aside, and the trial is to run again.
        """
        place = self.place(trial)
        place.mkdir(parents=True, exist_ok=True)
        lock = locked(place / ".lock")
        if lock is None:
            return False
        file = place / "result.json"
        if file.exists():
            try:
                self.result(trial)
                lock.close()
                return False
            except Damaged as error:
                other = file.with_name("result.json.damaged")
                os.replace(file, other)
                self._warn(f"{error}: put aside as {other.name}, and the trial runs again")
        self._claims[trial.arm, trial.seed] = lock
        return True

    def begin(self, trial: Trial) -> str:
        """A claimed trial begins anew, whatever was there of it; a token of this beginning, for `begun`."""
        shutil.rmtree(self.place(trial) / "state", ignore_errors=True)
        token = f"{uuid.uuid4().hex} {self.sources.get(trial.arm, '')}"
        write_whole(self.place(trial) / ".begun", token.encode())
        return token

    def begun(self, trial: Trial) -> str | None:
        """The token of the trial's last beginning: a checkpoint of another one does not belong to its files."""
        file = self.place(trial) / ".begun"
        return file.read_text() if file.exists() else None

    def ran_by(self, trial: Trial) -> str | None:
        """The digest of the code that the trial was run, or begun, by; None where that is not known."""
        if result := self.ended(trial):
            return result.get("sources")
        return (self.begun(trial) or "").partition(" ")[2] or None

    def forget(self, trial: Trial, code: str | None) -> bool:
        """The trial, if it was run by this code, is to run again; False where another process has it now."""
        lock = locked(self.place(trial) / ".lock")
        if lock is None:
            return False
        with lock:
            if self.ran_by(trial) == code:
                for name in ("result.json", ".begun"):
                    (self.place(trial) / name).unlink(missing_ok=True)
        return True

    def release(self, trial: Trial) -> None:
        """Lets another process have the trial."""
        self._claims.pop((trial.arm, trial.seed)).close()

    def close(self) -> None:
        """Lets other processes, or a later call of this one, have all trials that this ledger has claimed."""
        while self._claims:
            self._claims.popitem()[1].close()

    def ended(self, trial: Trial) -> dict[str, Any] | None:
        """The result of a trial that counts; None without an entry, or by one that is not what was written."""
        try:
            return self.result(trial)
        except (FileNotFoundError, Damaged):  # see `claim`
            return None

    def result(self, trial: Trial) -> dict[str, Any]:
        """What `finish` was given.

        Raises:
          FileNotFoundError: it has not ended.
          Damaged: the entry is cut short, edited, or another trial's.
        """
        file = self.place(trial) / "result.json"
        found = read_json(file)
        if not isinstance(found, dict) or set(found) != {"digest", "result"} or found["digest"] != _digest(found):
            raise Damaged(f"{file}: damaged (its digest is not that of what it holds)")
        if (found["result"]["arm"], found["result"]["seed"]) != (trial.arm, trial.seed):
            raise Damaged(f"{file}: damaged (it is that of {found['result']['arm']}, seed {found['result']['seed']})")
        return found["result"]

    def finish(self, trial: Trial, result: Mapping[str, Any]) -> None:
        """The trial has ended and counts from now on."""
        code = {"sources": self.sources[trial.arm]} if trial.arm in self.sources else {}
        entry = {"result": as_read(dict(result) | code)}
        write_line(self.place(trial) / "result.json", {"digest": _digest(entry)} | entry)

    def keep_flow(self, trial: Trial, when: str, logs: Mapping[str, np.ndarray]) -> None:
        """A measured gradient flow: log10 norms [T, B] by name."""
        file = io.BytesIO()
        np.savez(file, **{name.replace("/", "|"): log10 for name, log10 in logs.items()})
        write_whole(self.place(trial) / f"flow_{when}.npz", file.getvalue())

    def flow(self, trial: Trial, when: str) -> dict[str, np.ndarray] | None:
        """What `keep_flow` was given; None where it was not."""
        file = self.place(trial) / f"flow_{when}.npz"
        if not file.exists():
            return None
        try:
            with np.load(file, allow_pickle=False) as found:
                return {name.replace("|", "/"): found[name] for name in found.files}
        except (ValueError, OSError, EOFError) as error:
            raise Damaged(f"{file}: damaged ({error})") from error

    def last_state(self, trial: Trial) -> Checkpoints:
        """Where the state stands in which the trial ended."""
        return Checkpoints(self.place(trial) / "state", keep=1)

    def lines(self, trial: Trial, kind: str) -> list[dict[str, Any]]:
        """A trial's records of one of LINES."""
        return read_jsonl(self.place(trial) / f"{kind}.jsonl")

    def collect(self, trials: Sequence[Trial]) -> None:
        """The run's own files of LINES: those of its trials one after another, each byte for byte."""
        for kind in LINES:
            files = [self.place(trial) / f"{kind}.jsonl" for trial in trials]
            write_whole(self.folder.path / f"{kind}.jsonl", b"".join(f.read_bytes() for f in files if f.exists()))


def _digest(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry["result"], sort_keys=True).encode()).hexdigest()
