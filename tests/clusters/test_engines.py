"""A sweep on a cluster is the sweep: workers may die, and the table is that of one process, byte for byte."""

import importlib
import os
import re
import signal
import socket
import sys
import time

import pytest
from program import TINY, here, run, start

from rnnlab.clusters import driver, engines
from rnnlab.clusters.driver import RETRIES, run_parts
from rnnlab.clusters.engines import EngineError, Part
from rnnlab.runs.files import read_json
from rnnlab.runs.folder import RunFolder
from rnnlab.settings.errors import SettingError
from rnnlab.training.background import Interrupted

FEW = ("--exp=tiny", "--arms=*LSTM", "seeds=4")  # trials of one program
ENGINES = {"ray": ("--engine=ray",), "submitit": ("--engine=slurm", "--allot=cluster=local")}
TABLES = ("table.csv", "table.md", "table.tex", "trials.csv", "metrics.jsonl")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Compiled programs, shared by the processes that these tests start."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an experiment of the user's own, whose programs compile fast."""
    for name in ENGINES:
        importlib.import_module(name)  # before a test's own streams stand in for ours, which both keep for their logs
    folder = tmp_path_factory.mktemp("place")
    (folder / "experiments").mkdir()
    (folder / "experiments" / "tiny.py").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        patch.delenv("RAY_ADDRESS", raising=False)
        yield folder


@pytest.fixture(scope="module")
def one_process(place, cache):
    """What the sweep gives without a cluster."""
    assert run(place, cache, *FEW, "--workdir=whole")[::2] == (0, "")
    return outcome(place / "whole")


def outcome(folder):
    return [(folder / name).read_bytes() for name in TABLES], read_json(folder / "results.json")["trials"]


def workers(folder):
    """The process of each log line that a worker began with."""
    logs = sorted(folder.glob("workers/*-of-*.log"))
    return [int(number) for log in logs for number in re.findall(r"^process (\d+) on", log.read_text(), re.MULTILINE)]


def written(folder):
    """Bytes of metrics, by trial."""
    return {path.parent.name: path.stat().st_size for path in folder.glob("trials/*/*/*/metrics.jsonl")}


def until(condition, seconds=300):
    patience = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < patience
        time.sleep(0.02)


def alive(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.campaign
@pytest.mark.parametrize("name", ENGINES)
def test_a_worker_that_is_killed_and_a_driver_that_is_stopped_lose_nothing(place, cache, one_process, name):
    """kill -9 of one of two workers: it starts again. SIGTERM to the driver: all stop. The same command: the table."""
    folder = place / name
    words = (*FEW, *ENGINES[name], "--workers=2", f"--workdir={name}")
    first = start(place, cache, *words)
    until(lambda: first.poll() is not None or len([size for size in written(folder).values() if size]) >= 2)
    assert first.poll() is None, first.communicate()
    (killed, _) = before = workers(folder)
    os.kill(killed, signal.SIGKILL)
    until(lambda: len(workers(folder)) == 3 or first.poll() is not None)
    first.send_signal(signal.SIGTERM)
    out, err = first.communicate(timeout=60)
    err = err if name == "ray" else ""  # submitit's local controller ends by KeyboardInterrupt, and says so
    assert (first.returncode, err) == (128 + signal.SIGTERM, ""), out + err
    assert "part 1/2: " in out and "starts again" in out and "the same command resumes it" in out
    assert len(workers(folder)) == 3 and set(before) < set(workers(folder))
    until(lambda: not any(map(alive, workers(folder))), 20)
    assert not (folder / "results.json").exists()

    code, out, err = run(place, cache, *words)
    assert (code, err) == (0, ""), out
    assert "Tiny." in out and "Adding 8/LSTM: learned in" in out and "table" not in err
    assert outcome(folder) == one_process
    assert read_json(folder / "environment.json")["command"].endswith(f"--workdir={name}")


def test_two_drivers_of_one_folder_are_refused_while_shards_beside_one_are_not(tmp_path):
    config = {"experiment": "tiny", "tier": "quick", "arms": {}}
    first = RunFolder(tmp_path / "run", config, None)
    with pytest.raises(SettingError, match=r"another process is running in it$"):
        RunFolder(tmp_path / "run", config, None)
    shard = RunFolder(tmp_path / "run", config, (1, 2))
    assert (first.shard, shard.shard) == ("driver", "1-of-2")
    first._lock.close()
    shard._lock.close()


class Scripted:
    """An engine whose processes end as a script says: None, "" or how they died, one a look."""

    def __init__(self, script):
        self.script = {name: list(looks) for name, looks in script.items()}
        self.started, self.stopped = [], []

    def start(self, part):
        name = part.words[0]
        self.started.append(name)
        return ScriptedProcess(self, name)

    def close(self):
        pass


class ScriptedProcess:
    def __init__(self, engine, name):
        self.engine, self.name = engine, name

    def ended(self):
        if self.name in self.engine.stopped:
            return "stopped"
        return self.engine.script[self.name].pop(0)

    def stop(self):
        self.engine.stopped.append(self.name)


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(driver, "POLL", 0.0)


def parts(tmp_path, *names):
    return {name: Part("rnnlab.run", [name], str(tmp_path / f"{name}.log"), "", {}) for name in names}


def test_a_part_that_dies_again_and_again_is_given_up_and_the_others_go_on(tmp_path, at_once):
    engine = Scripted({"1/2": ["killed"] * 9, "2/2": [None] * 20 + [""]})
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "2.log").write_text("rnnlab: the disk is full\n")
    with pytest.raises(EngineError, match=r"part 1/2 ended 4 times \(killed\).*the disk is full"):
        run_parts(engine, parts(tmp_path, "1/2", "2/2"), lambda: 0, lambda: False, lambda text: None)
    assert engine.started.count("1/2") == 1 + RETRIES and engine.script["2/2"] == []


def test_a_part_may_die_as_often_as_it_likes_while_trials_end(tmp_path, at_once):
    engine = Scripted({"1/1": ["preempted"] * 30 + [""]})
    ended = iter(range(100))
    run_parts(engine, parts(tmp_path, "1/1"), lambda: next(ended), lambda: False, lambda text: None)
    assert engine.started.count("1/1") == 31


def test_when_the_driver_is_to_stop_every_part_is_told(tmp_path, at_once):
    engine = Scripted({"1/2": [None] * 9, "2/2": [None] * 9})
    asked = iter([False, False, True])
    with pytest.raises(Interrupted):
        run_parts(engine, parts(tmp_path, "1/2", "2/2"), lambda: 0, lambda: next(asked), lambda text: None)
    assert engine.stopped == ["1/2", "2/2"] and len(engine.started) == 2


def test_an_allotment_is_words_with_numbers_as_numbers():
    assert engines.parse_allotment("num_gpus=1 mem_gb=0.5 slurm_partition=long") == {
        "num_gpus": 1, "mem_gb": 0.5, "slurm_partition": "long"}  # fmt: skip
    assert engines.parse_allotment("") == {}


BAD = [
    (["--workers=2"], r"--workers=2: only with --engine=ray or --engine=slurm"),
    (["--allot=num_gpus=1"], r"--allot=num_gpus=1: only with --engine"),
    (["--engine=rya"], "engine"),
    (["--engine=ray", "--workers=0"], "workers"),
    (["--engine=ray", "--shard=1/2"], r"--shard=1/2: not with --engine=ray"),
    (["--engine=ray", "--host=1/2"], r"--host=1/2: not with --engine=ray"),
    (["--engine=ray", "--allot=gpus"], r"--allot=gpus: write NAME=VALUE"),
    (["--engine=ray", "--allot=num_gpsu=1"], r"--allot: .*num_gpsu"),
    (["--engine=slurm", "--allot=slurm_partition=x"], r"--engine=slurm: no sbatch here"),
    (["--engine=ray", "task.lenght=5"], r"task.lenght=5: no such setting"),
    (["--coordinator=a:1"], r"--coordinator=a:1: only with --host"),
    (["--host=1/2"], r"--host=1/2: name the first host and a free port"),
    (["--host=1/2", "--coordinator=node1"], r"--coordinator=node1: name the first host and a free port"),
    (["--host=3/2", "--coordinator=a:1"], r"--host=3/2: must be from 1/2 to 2/2"),
    (["--host=first", "--coordinator=a:1"], r"--host=first: write --host=i/n"),
    (["--host=1/2", "--coordinator=a:1", "--shard=1/2"], r"--shard=1/2: not with --host=1/2"),
    (["--host=1/2", "--coordinator=a:1", "--layout=mapped"], r"--layout=mapped: not with --host=1/2"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_is_one_clear_line_before_any_worker_starts(place, monkeypatch, capsys, words, message):
    monkeypatch.setenv("PATH", "")  # no sbatch
    before = sorted(place.iterdir())
    code, out, err = here(place, ["--exp=tiny", *words], monkeypatch, capsys)
    assert code == 2 and out == "" and err.count("\n") == 1 and err.startswith("rnnlab: ")
    assert re.search(message, err), err
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize(("extra", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_extra_is_named_with_how_to_install_it(monkeypatch, extra, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EngineError, match=rf"{package} is not installed; pip install 'rnnlab\[{extra}\]'"):
        engines.find_engine(extra, 1, {})


def test_a_worker_carries_what_its_programs_depend_on(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("SECRET", "x")
    assert engines.carried()["JAX_PLATFORMS"] == "cpu" and "SECRET" not in engines.carried()


def test_a_worker_that_no_node_could_hold_is_refused_rather_than_waited_for():
    nodes = [{"CPU": 4.0, "memory": 1e9}, {"CPU": 16.0, "GPU": 2.0, "big": 1.0}]
    assert engines._wanting({"num_cpus": 16, "num_gpus": 2, "resources": {"big": 1}}, nodes) is None
    assert engines._wanting({"num_gpus": 1}, nodes[:1]) == "num_gpus=1: no node of this Ray has more than 0"
    assert engines._wanting({"num_cpus": 32}, nodes) == "num_cpus=32: no node of this Ray has more than 16"
    assert engines._wanting({"resources": {"huge": 1}}, nodes) == "huge=1: no node of this Ray has more than 0"


def test_a_cluster_that_does_not_answer_is_one_line_at_once():
    with socket.socket() as taken:  # bound and not listening: nobody answers
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            engines.EngineError, match=rf"RAY_ADDRESS={address}: nobody answers there \(Connection refused"
        ):
            engines._check_reachable(address)
    engines._check_reachable("")
    engines._check_reachable("ray://head:10001")
