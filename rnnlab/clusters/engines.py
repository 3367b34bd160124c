"""Where the parts of a sweep run. An engine starts processes on some machines and says how they ended.

A part is `python -m PROGRAM ... --shard=i/n`, in a process that an engine starts and that ends with it. Nothing here
imports JAX: a worker reads this file before it has its environment.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import shlex
import shutil
import socket
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from rnnlab.specs.errors import UserError

KINDS = ("local", "ray", "slurm")
CONNECT = 5.0  # seconds that a cluster's head has to answer
CARRIED = ("JAX_", "XLA_", "RNNLAB_")  # what begins like this in the environment goes with a part


class EngineError(UserError):
    """A sweep cannot be run elsewhere, or a part of it could not be brought to its end. One line."""


class Part(NamedTuple):
    """One process to run: what `work` takes."""

    program: str  # a module whose `program` is called, as `python -m` would run it
    words: list[str]  # behind it
    log: str  # the file for what it prints
    home: str  # the folder to stand in
    environment: dict[str, str]


@runtime_checkable
class Process(Protocol):
    """A part under way."""

    def ended(self) -> str | None:
        """None while it runs, "" after success, else how it ended."""

    def stop(self) -> None:
        """Tells it to save and stop."""


@runtime_checkable
class Engine(Protocol):
    """Some machines."""

    def start(self, part: Part) -> Process: ...

    def close(self) -> None: ...


def work(program: str, words: list[str], log: str, home: str, environment: Mapping[str, str]) -> int:
    """What a worker does: the command in its own process, so that they end together. The exit status."""
    os.chdir(home)
    os.environ.update(environment)
    sys.stdout = sys.stderr = open(log, "a", buffering=1)  # noqa: SIM115 (as long as the process)
    for number in (1, 2):
        os.dup2(sys.stdout.fileno(), number)
    print(f"process {os.getpid()} on {socket.gethostname()}: {program} {shlex.join(words)}")
    sys.argv = [program, *words]
    try:
        importlib.import_module(program).program()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def carried() -> dict[str, str]:
    """The part of this process's environment that every part must share."""
    return {name: value for name, value in os.environ.items() if name.startswith(CARRIED)}


def parse_allotment(text: str) -> dict[str, Any]:
    """`num_gpus=1 slurm_partition=long` as a dict; numbers are numbers."""
    found = {}
    for word in shlex.split(text):
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise EngineError(f"--allot={text}: write NAME=VALUE words, as in --allot='num_gpus=1'")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def find_engine(kind: str, workers: int, allotment: Mapping[str, Any]) -> Engine:
    """The engine of this kind, ready to start so many workers that get this each, in the engine's own words.

    To be called before JAX starts, since Ray forks. Raises EngineError.
    """
    return {"ray": RayEngine, "slurm": SlurmEngine}[kind](workers, dict(allotment))


def _imported(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        message = f"--engine={extra}: {name} is not installed; pip install 'rnnlab[{extra}]'"
        raise EngineError(message) from error


def _one_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class RayEngine:
    """Ray: the cluster at RAY_ADDRESS, or else one of this machine's own that ends with this process."""

    def __init__(self, workers: int, allotment: dict[str, Any]):
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._ray = _imported("ray", "ray")
        how = {"scheduling_strategy": "SPREAD", "max_calls": 1, "max_retries": 0} | allotment  # a process a part
        try:
            self._task = self._ray.remote(**how)(work)
        except (TypeError, ValueError) as error:
            raise EngineError(f"--allot: {_one_line(error)}") from error
        here = {
            "address": "local",  # left out, Ray would join whatever was last begun on this machine
            "num_cpus": workers * allotment.get("num_cpus", 1),
            "include_dashboard": False,
            "object_store_memory": 100 * 2**20,  # nothing but words and exit codes goes through it
            "_node_ip_address": "127.0.0.1",
        }
        where = {"address": "auto"} if os.environ.get("RAY_ADDRESS") else here
        _check_reachable(os.environ.get("RAY_ADDRESS", ""))
        try:
            self._ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise EngineError(f"--engine=ray: {_one_line(error)}") from error
        if wanting := _wanting(allotment, [node["Resources"] for node in self._ray.nodes() if node["Alive"]]):
            if where is here:
                self._ray.shutdown()
                raise EngineError(f"--allot: {wanting}")
            print(f"warning: --allot: {wanting} yet; workers wait until a node that has it joins", file=sys.stderr)

    def start(self, part: Part) -> RayProcess:
        return RayProcess(self._ray, self._task.remote(*part))

    def close(self) -> None:
        self._ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ray would try for minutes, and say what it does in its own words. Raises EngineError."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or "/" in address:
        return  # `auto`, or a Ray client's address: Ray knows where that is
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT).close()
    except OSError as error:
        why = error.strerror or _one_line(error)
        raise EngineError(f"RAY_ADDRESS={address}: nobody answers there ({why}); is its head node up?") from error


def _wanting(allotment: Mapping[str, Any], nodes: Sequence[Mapping[str, float]]) -> str | None:
    """What no node has enough of, so that a worker would wait for ever; None where one has it all."""
    names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
    asked = {names[name]: (name, value) for name, value in allotment.items() if name in names}
    asked |= {name: (name, value) for name, value in allotment.get("resources", {}).items()}
    for resource, (name, value) in asked.items():
        most = max((node.get(resource, 0) for node in nodes), default=0)
        if value > most:
            return f"{name}={value}: no node of this Ray has more than {most:g}"
    return None


class RayProcess:
    def __init__(self, ray: Any, task: Any):
        self._ray, self._task = ray, task

    def ended(self) -> str | None:
        if not self._ray.wait([self._task], timeout=0)[0]:
            return None
        try:
            code = self._ray.get(self._task)
        except self._ray.exceptions.RayError as error:
            return _one_line(error)
        return f"exit status {code}" if code else ""

    def stop(self) -> None:
        self._ray.cancel(self._task, force=False)  # as Ctrl-C would


class SlurmEngine:
    """Slurm, through submitit. `cluster=local` in the allotment: processes of this machine, to try it out."""

    def __init__(self, workers: int, allotment: dict[str, Any]):
        self._submitit = _imported("submitit", "slurm")
        self._cluster = allotment.pop("cluster", "slurm")
        self._allotment = {"name": "rnnlab", "timeout_min": 24 * 60} | allotment
        if self._cluster == "slurm" and not shutil.which("sbatch"):
            raise EngineError("--engine=slurm: no sbatch here; start this on a machine that submits to Slurm")

    def start(self, part: Part) -> SlurmProcess:
        try:
            executor = self._submitit.AutoExecutor(folder=Path(part.log).parent, cluster=self._cluster)
            executor.update_parameters(**self._allotment)
        except (AssertionError, NameError, RuntimeError, ValueError) as error:
            raise EngineError(f"--allot: {_one_line(error)}") from error
        try:
            return SlurmProcess(executor.submit(work, *part))
        except self._submitit.core.utils.FailedJobError as error:
            raise EngineError(f"--engine=slurm: {_one_line(error)}") from error

    def close(self) -> None:
        pass


class SlurmProcess:
    def __init__(self, job: Any):
        self._job = job

    def ended(self) -> str | None:
        if not self._job.done():
            return None
        if self._job.exception() is not None:
            return f"its job {self._job.job_id} is {self._job.state}"
        code = self._job.result()
        return f"exit status {code}" if code else ""

    def stop(self) -> None:
        self._job.cancel(check=False)
