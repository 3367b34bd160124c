"""One training over several hosts: every process runs the same loop on the same program, and the first one writes.

The others write into a copy of the run's folder, which goes when they end: so a restored checkpoint and the list of
trials that have ended are everybody's, and the hosts need not share a disk.
"""

from __future__ import annotations

import atexit
import hashlib
import io
import os
import shutil
import sys
import tempfile
import threading
import traceback
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from rnnlab.runs.folder import TRIAL_EVENTS, RunFolder
from rnnlab.scan import compiler
from rnnlab.scan.lstm_kernel import SOURCE
from rnnlab.scan.processor import processor_name
from rnnlab.settings.errors import SettingError
from rnnlab.settings.resolve import ArmSpec, parse_shard

PATIENCE = 30.0  # seconds that a host which has failed waits for the others to fail as well
_COPIES: list[Path] = []  # of the run's folder, which go with this process


def join(host: str, coordinator: str | None) -> None:
    """Connects this process with those of the other hosts, before JAX starts.

    `host` is i/n, with the `coordinator` (address:port of the first); or "auto" where JAX knows the cluster (Slurm,
    MPI, TPU pods). Raises SettingError.
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if host == "auto":
        where: dict[str, Any] = {"coordinator_address": coordinator}
    else:
        i, n = parse_shard(host, "--host")
        if not coordinator or not coordinator.rpartition(":")[2].isdigit():
            given = f"--coordinator={coordinator}" if coordinator else f"--host={host}"
            raise SettingError(f"{given}: name the first host and a free port, as in --coordinator=node1:29500")
        where = {"coordinator_address": coordinator, "num_processes": n, "process_id": i - 1}
    try:
        jax.distributed.initialize(**where)
    except (RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())[:300]
        instead = "; or write --host=i/n --coordinator=address:port" if host == "auto" else ""
        raise SettingError(f"--host={host}: JAX cannot join the others ({why}){instead}") from error


def check(arms: Mapping[str, ArmSpec]) -> None:
    """Over several hosts a batch must divide over all devices, and CPUs must compute the same bits."""
    devices = jax.device_count()
    for arm, spec in arms.items():
        size = spec.train.batch_size
        if jax.process_count() > 1 and size % devices:
            raise SettingError(
                f"{arm}: train.batch_size={size}: {describe()} share a batch, so it must be a multiple of {devices}; "
                f"the nearest is {max(round(size / devices), 1) * devices}"
            )
    if jax.process_count() > 1 and jax.default_backend() == "cpu":
        own = f"{processor_name()}, an LSTM {compiler.describe(SOURCE)}"
        digest = np.frombuffer(hashlib.sha256(own.encode()).digest(), np.uint32)
        if (multihost_utils.process_allgather(digest) != digest).any():
            raise SettingError(
                f"hosts: this one has {own}, another has not, and their weights would drift apart by rounding; take "
                f"hosts of one kind, or {compiler.SWITCH}=off on all where compilers alone differ"
            )


def describe() -> str:
    """As in `4 devices of 2 hosts`."""
    return f"{jax.device_count()} devices of {jax.process_count()} hosts"


def first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return jax.process_index() == 0


def begin(workdir: Path, config: Mapping[str, Any], shard: tuple[int, int] | None) -> RunFolder:
    """The run's folder; in all processes but the first a copy of what they must know of it."""
    if jax.process_count() == 1:
        return RunFolder(workdir, config, shard)
    if first():
        try:
            folder = RunFolder(workdir, config, shard)
        except BaseException:
            _broadcast(b"")
            raise
        _broadcast(_packed(workdir))
        return folder
    packed = _broadcast(b"")
    if not packed:
        raise SettingError("the first host could not begin; its message says why")
    copy = Path(tempfile.mkdtemp(prefix="rnnlab-host-"))
    _COPIES.append(copy)
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    with zipfile.ZipFile(io.BytesIO(packed)) as file:
        file.extractall(copy)
    return RunFolder(copy, config, shard)


def run(main: Callable[[list[str]], int], argv: list[str]) -> int:
    """A program's exit status; of several hosts one that fails goes soon: JAX would wait minutes for the others."""
    try:
        status = main(argv)
    except Exception:
        if not jax.distributed.is_initialized():
            raise
        traceback.print_exc()
        status = 1
    if status and jax.distributed.is_initialized():
        leave(status, PATIENCE)
    return status


def leave(status: int, patience: float) -> NoReturn:
    """Ends the process at once; one of several hosts when the others have come as far, or patience has ended.

    The first host must not go while another still starts: JAX aborts a process whose coordinator is gone, and what
    that process had to say of the same mistake would be lost.
    """
    if jax.distributed.is_initialized():
        for copy in _COPIES:
            shutil.rmtree(copy, ignore_errors=True)
        leaving = threading.Thread(target=jax.distributed.shutdown, daemon=True)
        leaving.start()
        leaving.join(1)
        if leaving.is_alive():
            print(f"waiting up to {patience:.0f} s for the other hosts", file=sys.stderr, flush=True)
            leaving.join(patience)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def agreed(value: float) -> float:
    """The first host's value, on all of them."""
    return value if jax.process_count() == 1 else float(multihost_utils.broadcast_one_to_all(np.float32(value)))


def _broadcast(data: bytes) -> bytes:
    """The first process's bytes, in every one."""
    size = int(multihost_utils.broadcast_one_to_all(np.asarray(len(data), np.int32)))
    own = np.frombuffer(data, np.uint8) if first() else np.zeros(size, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(own)).tobytes() if size else b""


def _packed(folder: Path) -> bytes:
    """What the loop reads of a run's folder: how trials ended, and all of those that have not."""
    found = [folder / "config.json", folder / "environment.json", *folder.glob("prediction-*.json")]
    found += (folder / "checkpoints").rglob("*")
    for place in (folder / "trials").glob("**/seed=*"):
        events = folder / TRIAL_EVENTS / place.relative_to(folder / "trials")
        ended = place / "result.json"
        found += [ended] if ended.exists() else [*place.rglob("*"), *events.rglob("*")]
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as file:
        for path in found:
            if path.is_file() and not path.name.startswith(".lock"):
                file.write(path, path.relative_to(folder))
    return into.getvalue()
