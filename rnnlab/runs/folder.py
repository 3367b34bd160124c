"""The folder of a run: whose it is, what it was started with, and which bytes of its files count."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnlab.runs.environment import environment
from rnnlab.runs.files import Damaged, read_json, write_json
from rnnlab.settings.errors import SettingError, nearest

if os.name == "posix":
    import fcntl

ARM_EVENTS, TRIAL_EVENTS = "tensorboard", "tensorboard-trials"  # folders: a run an arm, and a run a trial
FREE = 50 * 2**20  # bytes that a small run writes, checkpoints and figures included


class RunFolder:
    """`config.json`, `environment.json`, `trials/`, `tensorboard-trials/`, `checkpoints/`; in the end also a report."""

    def __init__(
        self,
        path: Path,
        config: Mapping[str, Any],
        shard: tuple[int, int] | None = (1, 1),
        typed: str | None = None,
    ):
        """Takes a `shard` (which, of how many) of the folder for a run with this configuration: a new one, or one to
        go on in. None: this process has others run the shards. `typed` is the command that runs it again; left out,
        this process's own.

        Raises:
            SettingError: the folder is not a run's, is another configuration's (the differing paths are named),
                is in use, cannot be written or lies on a full disk. Nothing was written then.
        """
        self.path, self._typed = path, typed
        self.shard = "{}-of-{}".format(*shard) if shard else "driver"
        _check_place(path)
        known = path / "config.json"
        _check_whose(known, config)
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = locked(path / f".lock-{self.shard}")
            if self._lock is None:
                which = "" if shard in (None, (1, 1)) else f" at --shard={shard[0]}/{shard[1]}"
                raise SettingError(f"--workdir={path}: another process is running in it{which}")
            try:
                with waiting(path / ".lock-begin"):
                    self._begin(config)
            except BaseException:
                self._lock.close()
                raise
        except OSError as error:
            raise SettingError(f"--workdir={path}: {os.strerror(error.errno or errno.EIO)}") from error

    @classmethod
    def to_read(cls, path: Path, config: Mapping[str, Any] | None = None) -> RunFolder:
        """A run's folder that is only looked at. Raises SettingError where it holds no run with this configuration."""
        if config is not None:
            _check_whose(path / "config.json", config)
        folder = cls.__new__(cls)
        folder.path, folder.shard = path, "1-of-1"
        return folder

    def _begin(self, config) -> None:
        known = self.path / "config.json"
        _check_whose(known, config)  # again, now that nobody else can write
        if not known.exists():
            write_json(known, dict(config))  # first: by it a folder is a run's
        here = environment() | ({"command": self._typed} if self._typed else {})
        self.changed = _changed(self.path / "environment.json", here)
        _remember(self.path / "environment.json", here, self.changed)

    def add_sources(self, found: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
        """Keeps in config.json the code {digest: {file: digest}} that trials run from now on; all that is known."""
        with waiting(self.path / ".lock-begin"):
            config = read_json(self.path / "config.json")
            known = config.get("sources", {})
            if not set(found) <= set(known):
                known |= {name: dict(files) for name, files in found.items()}
                write_json(self.path / "config.json", config | {"sources": known})
        return known

    def sources(self) -> dict[str, dict[str, str]]:
        """What `add_sources` has kept."""
        config = self.path / "config.json"
        return read_json(config).get("sources", {}) if config.exists() else {}

    def release(self) -> None:
        """Lets another process, or a later call of this one, have the folder."""
        self._lock.close()

    def checkpoints(self, name: str) -> Path:
        return self.path / "checkpoints" / self.shard / slug(name)


def slug(name: str) -> str:
    """A name as a path: `Adding 200/LSTM bias 1` as `adding-200/lstm-bias-1`."""
    return "/".join(re.sub(r"[^a-z0-9.=]+", "-", part.lower()).strip("-") for part in name.split("/"))


def _changed(known: Path, here: Mapping[str, str]) -> list[str]:
    """What differs from the environment that the run was begun in; results are the same bits only within one."""
    if not known.exists():
        return []
    before = read_json(known)
    return [key for key in here if key != "command" and str(before.get(key)) != here[key]]


def _remember(known: Path, here: Mapping[str, str], changed: Sequence[str]) -> None:
    """The environment that the run was begun in, and behind it those in which it went on."""
    if not known.exists():
        write_json(known, dict(here))
    elif changed:
        before = read_json(known)
        write_json(known, before | {"went on in": [*before.get("went on in", []), {k: here[k] for k in changed}]})


def check_run(path: Path) -> None:
    """Raises SettingError for a folder that holds no run."""
    if not path.exists():
        there = [str(p) for p in path.parent.iterdir() if (p / "config.json").exists()] if path.parent.is_dir() else []
        raise SettingError(f"{path}: no such folder{nearest(str(path), there) if there else ''}")
    if not (path / "config.json").exists():
        raise SettingError(f"{path}: no run of rnnlab (it has no config.json)")


def _check_whose(known: Path, config: Mapping[str, Any]) -> None:
    """A folder must be free or hold this very run."""
    if known.exists():
        try:
            _check_same(known, config)
        except Damaged as error:
            raise SettingError(f"{error}; name another --workdir, or remove that folder") from error
    else:
        _check_free(known.parent)


def _check_free(path: Path) -> None:
    foreign = [p.name for p in path.iterdir() if not p.name.startswith(".")] if path.exists() else []
    if foreign:
        raise SettingError(f"--workdir={path}: not empty and no run of rnnlab (it has no config.json); name another")


def _check_place(path: Path) -> None:
    existing = next(p for p in [path.absolute(), *path.absolute().parents] if p.exists())
    if not existing.is_dir():
        raise SettingError(f"--workdir={path}: {existing} is a file; name a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise SettingError(f"--workdir={path}: {existing} cannot be written; name a folder of your own")
    usage = shutil.disk_usage(existing)
    if not getattr(usage, "total", 1):
        raise SettingError(f"--workdir={path}: {existing} is no place for files; name a folder of your own")
    free = usage.free
    if free < FREE:
        raise SettingError(
            f"--workdir={path}: the disk has {free >> 20} MiB left, a run needs {FREE >> 20}; make room or name another"
        )


def _check_same(known: Path, config: Mapping[str, Any]) -> None:
    found = read_json(known)
    try:
        found_flat, wanted = _flat(found), _flat(config)
    except (AttributeError, KeyError, TypeError) as error:
        raise SettingError(f"{known}: damaged (no configuration); name another --workdir, or remove it") from error
    there, here = (f"{flat.get('experiment')}, {flat.get('tier')} tier" for flat in (found_flat, wanted))
    if there != here:
        raise SettingError(f"--workdir={known.parent}: holds a run of {there}, not of {here}; name another")
    if set(found["arms"]) != set(config["arms"]):
        here, there = (len(c["arms"]) for c in (config, found))
        raise SettingError(
            f"--workdir={known.parent}: holds a run with other arms: {there} "
            f"({', '.join(list(found['arms'])[:3])}{', ...' * (there > 3)}), now {here} are asked for; "
            "name another --workdir, or remove that folder"
        )
    if set(found["arms"]) == set(config["arms"]) and list(found["arms"]) != list(config["arms"]):
        raise SettingError(f"--workdir={known.parent}: holds a run with the same arms in another order; name another")
    differing = [key for key in sorted({*found_flat, *wanted}) if found_flat.get(key) != wanted.get(key)]
    if differing:
        pairs = [(k.split(": ")[-1], found_flat.get(k, "absent"), wanted.get(k, "absent")) for k in differing]
        shown = [f"{path} ({there} there, {here} now)" for path, there, here in dict.fromkeys(pairs)]
        more = f" and {len(shown) - 4} more" if len(shown) > 4 else ""
        raise SettingError(
            f"--workdir={known.parent}: holds a run with another configuration: {'; '.join(shown[:4])}{more}; "
            "name another --workdir, or remove that folder"
        )


def _flat(config) -> dict[str, str]:
    flat = {key: str(value) for key, value in config.items() if key not in ("arms", "sources")}
    arms = config["arms"]
    return flat | {f"{arm}: {path}": str(value) for arm, settings in arms.items() for path, value in settings.items()}


def locked(path: Path):
    """An open file that only this process holds, for as long as it is open; None where another holds it."""
    file = open(path, "a")  # noqa: SIM115 (held until the process ends)
    if os.name == "posix":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
    return file


@contextlib.contextmanager
def waiting(path: Path):
    """Only one process at a time is within; others wait."""
    with open(path, "a") as file:
        if os.name == "posix":
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
