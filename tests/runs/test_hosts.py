"""One training over two hosts is the training of one: two processes share each batch and end with its parameters."""

import io
import os
import signal
import socket
import time
import zipfile
from contextlib import nullcontext

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils
from program import TINY, run, start, written

from rnnlab.runs import hosts
from rnnlab.runs.files import read_json
from rnnlab.runs.hosts import _packed
from rnnlab.settings import experiments, resolve
from rnnlab.settings.errors import SettingError
from rnnlab.training.checkpoint import Checkpoints
from rnnlab.training.state import initial_state

ONE = ("--exp=tiny", "--arms=*LSTM", "seeds=1")
LATE = """
import sys, time
from rnnlab.runs import hosts

if "--host=2/2" in sys.argv:
    check = hosts.check
    hosts.check = lambda arms: time.sleep(3) or check(arms)
"""
SLOW = """
import sys
from rnnlab.runs import cost, rough_cost

rough_cost.PATIENCE = 60.0  # seconds of timing: the first host's are fewer, the other's would be more
if "--host=2/2" in sys.argv:
    timed = cost.timed
    cost.timed = rough_cost.timed = lambda function: (lambda seconds, found: (1e6 * seconds, found))(*timed(function))
"""
TRIAL = "trials/adding-8/lstm/seed=0"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Compiled programs, shared by the processes that these tests start."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with an experiment of the user's own, whose programs compile fast."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "tiny.py").write_text(TINY)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    return tmp_path


def both(place, cache, *words):
    """Both processes of a run over two hosts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = f"--coordinator=127.0.0.1:{port}"
    return [start(place, cache, *ONE, where, f"--host={i}/2", *words) for i in (1, 2)]


def ended(processes):
    return [(process.communicate(timeout=100), process.returncode) for process in processes]


def parameters(place, folder):
    """Of the state in which the trial ended."""
    previous = os.getcwd()
    os.chdir(place)
    try:
        arms = resolve.resolve(experiments.load_experiment("tiny"), "quick", {"seeds": "1"}, "*LSTM")
    finally:
        os.chdir(previous)
    (spec,) = arms.values()
    with jax.enable_x64(False):
        like = jax.device_get(initial_state(spec, 0))
        found, _ = Checkpoints(place / folder / TRIAL / "state").restore(
            lambda host: like, pytest.fail, put_aside=False
        )
    assert int(found.step) == spec.train.steps
    return jax.tree.leaves(found.model)


@pytest.mark.campaign
def test_two_processes_killed_on_the_way_end_with_the_parameters_of_one(place, cache):
    """Also: its checkpoint reaches both, and only the first writes into the run's folder, which is complete."""
    code, _, err = run(place, cache, *ONE, "--workdir=one", "--layout=sequential")
    assert (code, err) == (0, "")
    first, second = both(place, cache, "--workdir=two")
    patience = time.monotonic() + 90
    while not written(place / "two") and first.poll() is None and time.monotonic() < patience:
        time.sleep(0.01)
    for process in (first, second):
        process.send_signal(signal.SIGTERM)
    stopped = ended((first, second))
    assert [code for _, code in stopped] == [128 + signal.SIGTERM] * 2, stopped
    assert "the same command resumes it" in stopped[0][0][0]
    assert list((place / "two").glob("checkpoints/**/state"))

    (said, code), (quiet, other) = ended(both(place, cache, "--workdir=two"))
    assert (code, other) == (0, 0), (said, quiet)
    assert "resuming: Adding 8/LSTM, seed 0 from update" in said[0] and "x cpu on 2 hosts" in said[0]
    assert "Tiny." in said[0] and "Tiny." not in quiet[0]
    for got, want in zip(parameters(place, "two"), parameters(place, "one"), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)
    names = [sorted(str(p.relative_to(place / f)) for p in (place / f).rglob("*.[jpt]*") if p.is_file()
                    and "state" not in p.parts) for f in ("one", "two")]  # fmt: skip
    assert names[0] == names[1] and "report.html" in {p.name for p in (place / "two").iterdir()}
    assert read_json(place / "two/environment.json")["devices"].endswith("x cpu on 2 hosts")
    assert not list((place / "tmp").glob("rnnlab-host-*"))  # the second's copy is gone


@pytest.mark.campaign
def test_a_batch_that_does_not_divide_over_the_devices_is_one_clear_line_on_both(place, cache):
    """Also on the one that comes to it seconds later, whom JAX would abort if its coordinator were gone."""
    with (place / "experiments" / "tiny.py").open("a") as file:
        file.write(LATE)
    for (_, err), code in ended(both(place, cache, "train.batch_size=3")):
        lines = [line for line in err.splitlines() if line.startswith("rnnlab: ")]
        assert code == 2 and len(lines) == 1, err
        assert "train.batch_size=3" in lines[0] and "must be a multiple of" in lines[0]
    assert not (place / "runs").exists()


@pytest.mark.campaign
def test_hosts_whose_clocks_differ_predict_the_same(place, cache):
    """How many windows are timed is the first one's to say: another that went on by itself would wait for ever."""
    with (place / "experiments" / "tiny.py").open("a") as file:
        file.write(SLOW)
    (first, code), (second, other) = ended(both(place, cache, "--tier=paper", "train.window=20"))
    assert (code, other) == (0, 0), (first, second)
    assert "on this machine; less where trials end early" in first[0]


@pytest.mark.campaign
def test_hosts_whose_clocks_differ_plan_the_same(place, cache):
    """Whether another layer is timed is the first one's to say as well."""
    with (place / "experiments" / "tiny.py").open("a") as file:
        file.write(SLOW)
    (first, code), (second, other) = ended(both(place, cache, "--dry_run", "--arms=*"))
    assert (code, other) == (0, 0), (first, second)
    assert "2 trials on 4 x cpu on 2 hosts" in first[0] and "2 trials in 2 programs" in first[0]
    assert "(2 of 2 kinds of layer timed: " in first[0]
    assert "programs" not in second[0]


def test_other_hosts_learn_how_trials_ended_but_not_their_files(tmp_path):
    ended_too = ("a/seed=0/result.json", "a/seed=0/metrics.jsonl")
    for name in ("config.json", "results.json", *ended_too, "a/seed=1/metrics.jsonl"):
        path = tmp_path / name if "/" not in name else tmp_path / "trials" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (tmp_path / "environment.json").write_text("{}")
    (tmp_path / ".lock-1-of-1").write_text("")
    with zipfile.ZipFile(io.BytesIO(_packed(tmp_path))) as file:
        assert sorted(file.namelist()) == ["config.json", "environment.json", "trials/a/seed=0/result.json",
                                           "trials/a/seed=1/metrics.jsonl"]  # fmt: skip


@pytest.mark.parametrize("others", [False, True])
def test_cpus_that_compute_other_bits_are_refused(monkeypatch, others):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost_utils, "process_allgather", lambda own: np.stack([own, own + others]))
    refused = pytest.raises(SettingError, match=r"hosts: this one has .*LSTM.*RNNLAB_KERNEL=off")
    with refused if others else nullcontext():
        hosts.check({})
