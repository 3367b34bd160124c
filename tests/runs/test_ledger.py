"""Every trial counts once, whatever was killed, cut short, edited or full in between, and the table is the same."""

import contextlib
import errno
import gc
import io
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from program import TINY, environment
from rich.console import Console

from rnnlab.reports.arm_tables import arms_table
from rnnlab.reports.tables import latex
from rnnlab.runs import files, program_group
from rnnlab.runs.arms import run_arms
from rnnlab.runs.files import Damaged, read_json
from rnnlab.runs.folder import RunFolder
from rnnlab.runs.gather_results import gather
from rnnlab.runs.job import Job
from rnnlab.runs.ledger import Ledger, all_trials
from rnnlab.runs.progress import Progress
from rnnlab.runs.results_file import results_from
from rnnlab.settings import experiments, resolve
from rnnlab.settings.errors import SettingError
from rnnlab.settings.resolve import parse_shard
from rnnlab.training.background import Interrupted
from rnnlab.training.checkpoint import Checkpoints
from rnnlab.training.layout import Layout

SMALL = {"seeds": "2", "train.steps": "8", "task.length": "6"}


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    """The experiment of test_run."""
    here = tmp_path_factory.mktemp("here")
    (here / "experiments").mkdir()
    (here / "experiments" / "tiny.py").write_text(TINY)
    with contextlib.chdir(here):
        return experiments.load_experiment("tiny")


@pytest.fixture(scope="module")
def arms(module):
    return resolve.resolve(module, "quick", SMALL)


def config(arms):
    return {"experiment": "tiny", "tier": "quick", "arms": {n: resolve.flat(s) for n, s in arms.items()}}


def sweep(place, arms, module, shard=(1, 1)):
    """One start of the sweep in this process: (whether all trials have ended, what was said)."""
    said = io.StringIO()
    progress = Progress(Console(file=said, width=200), {name: spec.seeds for name, spec in arms.items()})
    folder = RunFolder(place, config(arms), shard)
    ledger = Ledger(folder, progress.warn)
    try:
        return run_arms(arms, ledger, progress, lambda: False, module.probes, shard), said.getvalue()
    finally:  # as the end of a process does
        folder._lock.close()
        for claim in ledger._claims.values():
            claim.close()


def table(place, arms, module):
    """All that counts: what a report is made from, and the table of it."""
    ledger = Ledger(RunFolder.to_read(place))
    results = gather(Job("tiny", module, "quick", arms, False, place), ledger)
    trials = [(trial["arm"], trial["seed"]) for trial in results["trials"]]
    assert trials == [(trial.arm, trial.seed) for trial in all_trials(arms)]  # each once
    counted = json.dumps(results["trials"]), (place / "metrics.jsonl").read_bytes()
    return latex(arms_table(results_from(results)), "all"), *counted


@pytest.fixture(scope="module")
def whole(tmp_path_factory, arms, module):
    """A folder with the whole sweep, run at once."""
    place = tmp_path_factory.mktemp("whole") / "run"
    assert sweep(place, arms, module)[0]
    return place


@pytest.fixture(scope="module")
def wanted(whole, arms, module):
    return table(whole, arms, module)


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "copy")


KILLS = """
import os, random, shutil, signal, sys, time
from pathlib import Path
from rnnlab import run

def child():
    pid = os.fork()
    if pid:
        return pid
    with open("log", "a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    sys.argv = ["run", "--exp=tiny", "--workdir=run", "--arms=*LSTM", "seeds=4", "train.steps=16"]
    try:
        run.program()
    finally:
        os._exit(0)

def counted():
    names = ["table.csv", "table.tex", "trials.csv", "metrics.jsonl"]
    return [Path("run", name).read_bytes() for name in names]

def written():
    return sum(path.stat().st_size for path in Path("run").glob("trials/*/*/*/metrics.jsonl"))

os.waitpid(child(), 0)
want = counted()
shutil.rmtree("run")
random.seed(0)
kills = 0
while kills < 20:
    size, pid = written(), child()
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if written() > size:
            time.sleep(random.uniform(0, 0.5))
            os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.005)
    else:  # it got through: another sweep
        assert counted() == want
        shutil.rmtree("run")
        continue
    _, status = os.waitpid(pid, 0)
    kills += os.WIFSIGNALED(status)
os.waitpid(child(), 0)
assert counted() == want
print(kills, "kills")
"""


@pytest.mark.campaign
def test_a_sweep_killed_again_and_again_ends_in_the_same_bytes(tmp_path):
    """kill -9 of real processes. They are forked before JAX starts, so that each need not import everything again."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "tiny.py").write_text(TINY)
    known = environment(tmp_path / "compiled") | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLS], cwd=tmp_path, env=known, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:] + (tmp_path / "log").read_text()[-3000:]
    assert done.stdout == "20 kills\n", done.stdout


class Killed(BaseException):
    """What no handler of an Exception stops."""


# what is broken off leaves files to the garbage collector
@pytest.mark.campaign
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_sweep_broken_off_at_20_random_writes_ends_in_the_same_bytes(tmp_path, arms, module, wanted, monkeypatch):
    """Within one process, at a random one of the calls that bring a file to the disk or into its place.

    Unlike a kill this lets open files be closed; kill -9 is the test before this one.
    """
    random = np.random.default_rng(0)
    real = {"fsync": os.fsync, "replace": os.replace}
    left, broken, sweeps = [0], 0, 0

    def at_last(name):
        def call(*args):
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return real[name](*args)

        return call

    while broken < 20:
        left[0] = int(random.integers(1, 40))
        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(files.os, name, at_last(name))
            try:
                sweep(tmp_path / f"{sweeps}", arms, module)
            except Killed:
                broken += 1
                continue
        assert table(tmp_path / f"{sweeps}", arms, module) == wanted
        sweeps += 1
    assert sweep(tmp_path / f"{sweeps}", arms, module)[0]
    assert table(tmp_path / f"{sweeps}", arms, module) == wanted
    gc.collect()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_checkpoint_of_an_earlier_beginning_is_not_gone_on_from(tmp_path, arms, module, wanted, monkeypatch):
    """Broken off unsharded, begun anew as a shard and broken off earlier there, then unsharded again: the first
    checkpoint knows of more bytes than the files hold now."""
    place, real, left = tmp_path / "run", os.replace, [0]

    def at_last(*names):
        left[0] -= str(names[1]).endswith("result.json")
        if not left[0]:
            raise Killed
        real(*names)

    steps = []
    for shard, patience in (((1, 1), 1), ((1, 2), 1)):
        left[0] = patience
        with monkeypatch.context() as patch:
            patch.setattr(files.os, "replace", at_last)
            with pytest.raises(Killed):
                sweep(place, arms, module, shard)
        steps.append([int(p.name) for p in place.glob("checkpoints/1-of-1/**/*") if p.name.isdigit()])
    first = next(place.glob("trials/*/rnn/seed=0/metrics.jsonl"))
    first.write_bytes(first.read_bytes()[:10])  # as a process that had just begun would leave it
    (first.parent / ".begun").write_text("another")
    assert steps[0] and sweep(place, arms, module)[0]
    assert table(place, arms, module) == wanted


@pytest.mark.slow
def test_two_shards_of_one_folder_give_the_table_of_one_run(tmp_path, arms, module, wanted):
    place = tmp_path / "run"
    assert not sweep(place, arms, module, (2, 2))[0]
    with pytest.raises((Damaged, OSError)):  # there is nothing to gather yet
        table(place, arms, module)
    assert sweep(place, arms, module, (1, 2))[0]
    assert table(place, arms, module) == wanted


@pytest.mark.slow
def test_changing_n_between_starts_keeps_what_has_ended(tmp_path, arms, module, wanted):
    place = tmp_path / "run"
    assert not sweep(place, arms, module, (1, 3))[0]
    ended = {path: path.stat().st_mtime_ns for path in place.glob("trials/**/result.json")}
    assert len(ended) == 2
    assert not sweep(place, arms, module, (1, 2))[0]
    assert sweep(place, arms, module, (2, 2))[0]
    assert {path: path.stat().st_mtime_ns for path in ended} == ended
    assert table(place, arms, module) == wanted


def test_the_same_shard_twice_at_once_is_refused(tmp_path, arms):
    first = RunFolder(tmp_path / "run", config(arms), (1, 2))
    with pytest.raises(SettingError, match="another process is running in it at --shard=1/2"):
        RunFolder(tmp_path / "run", config(arms), (1, 2))
    second = RunFolder(tmp_path / "run", config(arms), (2, 2))
    assert (first.shard, second.shard) == ("1-of-2", "2-of-2")
    first._lock.close()
    RunFolder(tmp_path / "run", config(arms), (1, 2))._lock.close()
    second._lock.close()


def test_a_trial_belongs_to_one_process_at_a_time(tmp_path, arms):
    folder = RunFolder.to_read(tmp_path)
    trial = all_trials(arms)[0]
    one, two = Ledger(folder), Ledger(folder)
    assert one.claim(trial) and not two.claim(trial)
    one.release(trial)
    assert two.claim(trial)
    two.release(trial)


@pytest.mark.parametrize("text", ["3/2", "0/2", "1/0", "-1/2", "1", "1/2/3", "a/b", "1.5/2", ""])
def test_a_shard_outside_its_range_is_one_clear_line(text):
    with pytest.raises(SettingError, match=rf"^--shard={text}: ") as error:
        parse_shard(text)
    assert "\n" not in str(error.value)


def test_two_sweeps_in_one_folder_are_refused_and_nothing_of_the_first_is_touched(copy, arms, module, wanted):
    fewer = {name: spec for name, spec in arms.items() if "LSTM" in name}
    longer = resolve.resolve(module, "quick", SMALL | {"train.steps": "9"})
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    for others, message in ((fewer, "arms: 2 .*now 1 are asked for"), (longer, r"train.steps \(8 there, 9 now\)")):
        with pytest.raises(SettingError, match=message):
            RunFolder(copy, config(others))
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    assert table(copy, arms, module) == wanted


def edited(entry, other):
    """A better loss, by hand."""
    found = json.loads(entry.read_text())
    found["result"]["eval"]["loss"] = 0.0
    entry.write_text(json.dumps(found))


def cut(entry, other):
    entry.write_bytes(entry.read_bytes()[:300])


def emptied(entry, other):
    entry.write_bytes(b"")


def foreign(entry, other):
    """Another trial's entry, whole, copied over this one's."""
    shutil.copy(other, entry)


def something_else(entry, other):
    entry.write_text("[1, 2]")


@pytest.mark.slow
@pytest.mark.parametrize("damage", [edited, cut, emptied, foreign, something_else])
def test_a_damaged_entry_is_put_aside_and_its_trial_runs_again(copy, arms, module, wanted, damage):
    one, other = (copy / f"trials/adding-8/lstm/seed={seed}/result.json" for seed in (1, 0))
    good = one.read_bytes()
    damage(one, other)
    bad = one.read_bytes()
    complete, said = sweep(copy, arms, module)
    assert complete and "put aside as result.json.damaged, and the trial runs again" in said
    assert one.read_bytes() == good and one.with_name("result.json.damaged").read_bytes() == bad
    assert table(copy, arms, module) == wanted


def test_a_trial_that_has_ended_is_read_once_a_start(copy, arms, module, monkeypatch):
    """An entry holds whole curves, and a sweep may have thousands."""
    read, real = [], Ledger.result
    monkeypatch.setattr(Ledger, "result", lambda ledger, trial: read.append(str(trial)) or real(ledger, trial))
    assert sweep(copy, arms, module)[0]
    assert sorted(read) == sorted(map(str, all_trials(arms)))


@pytest.mark.slow
@pytest.mark.parametrize("call", [9, *(pytest.param(call, marks=pytest.mark.campaign) for call in (1, 4, 15, 22))])
def test_a_disk_that_fills_up_at_any_write_loses_and_counts_nothing(tmp_path, arms, module, wanted, monkeypatch, call):
    """The n-th write that is to reach the disk fails; later there is room again."""
    place, calls, real = tmp_path / "run", [], os.fsync

    def full(file):
        calls.append(file)
        if len(calls) >= call:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises((OSError, SettingError), match="No space left"):
            sweep(place, arms, module)
    assert not list(place.rglob("*.tmp"))
    ended = [path for path in place.glob("trials/**/result.json") if read_json(path)]
    assert len(ended) < len(all_trials(arms))
    assert sweep(place, arms, module)[0]
    assert table(place, arms, module) == wanted


@pytest.mark.slow
def test_clocks_that_run_backwards_or_stand_still_change_nothing(tmp_path, arms, module, wanted, monkeypatch):
    place = tmp_path / "run"
    clock = {"now": 1e9, "step": -7.0}

    def backwards():
        clock["now"] += clock["step"]
        return clock["now"]

    with monkeypatch.context() as patch:
        patch.setattr(time, "time", backwards)
        patch.setattr(time, "monotonic", backwards)
        assert not sweep(place, arms, module, (1, 2))[0]
        clock["step"] = 0.0
        assert sweep(place, arms, module, (2, 2))[0]
    assert table(place, arms, module) == wanted
    timings = [json.loads(line) for line in (place / "timings.jsonl").read_text().splitlines()]
    assert timings and np.isfinite([t["seconds"] for t in timings]).all() and min(t["seconds"] for t in timings) >= 0


@pytest.mark.slow
def test_a_signal_during_a_measurement_loses_no_update(tmp_path, arms, module, wanted, monkeypatch):
    """However it falls between windows, probes and last measurements: the same files, and no trial begins anew."""
    place, stops, beginnings = tmp_path / "run", 0, []
    begun = Ledger.begin
    real_ones = {name: getattr(program_group, name) for name in ("own_measurements", "measure", "guessing")}
    monkeypatch.setattr(Ledger, "begin", lambda ledger, trial: beginnings.append(trial) or begun(ledger, trial))
    for call in (3, 2, 3, 5, 2, 9):
        said, calls = io.StringIO(), []
        progress = Progress(Console(file=said, width=200), {name: spec.seeds for name, spec in arms.items()})
        folder = RunFolder(place, config(arms))
        ledger = Ledger(folder, progress.warn)
        for name, real in real_ones.items():
            counted = lambda *args, real=real, calls=calls: calls.append(real) or real(*args)  # noqa: E731
            monkeypatch.setattr(program_group, name, counted)
        try:
            run_arms(arms, ledger, progress, lambda calls=calls, call=call: len(calls) >= call, module.probes)
        except Interrupted:
            stops += 1
        finally:
            ledger.close()
            folder.release()
    assert stops >= 4
    moved, count = {trial for trial in beginnings if ledger.lines(trial, "metrics")}, len(beginnings)
    assert moved
    assert sweep(place, arms, module)[0]
    assert table(place, arms, module) == wanted
    assert not moved & set(beginnings[count:])  # what has made updates does not begin again


def test_a_trial_that_ended_before_its_first_checkpoint_says_so(tmp_path, arms, module, monkeypatch):
    first = all_trials(arms)[0]
    ledger = Ledger(RunFolder(tmp_path / "run", config(arms)))
    ledger.begin(first)
    ledger.folder.release()
    _, said = sweep(tmp_path / "run", arms, module)
    assert f"  {first}: begun before, but in no checkpoint: it starts over\n" in said
    assert said.count("starts over") == 1


def test_a_heat_map_that_cannot_be_drawn_loses_no_trial(tmp_path, arms, module, wanted, monkeypatch):
    def broken(*args):
        raise RuntimeError("Failed to process string with tex")

    monkeypatch.setattr("rnnlab.runs.tensorboard.heat_map_png", broken)
    ended, said = sweep(tmp_path / "run", arms, module)
    assert ended and table(tmp_path / "run", arms, module) == wanted
    lines = [line for line in said.splitlines() if line.startswith("warning: ")]
    told = "gradient norm by training step and lag could not be drawn: RuntimeError: Failed to process string with tex"
    assert lines == [f"warning: Adding 8/{cell}, seed 0: {told}" for cell in ("RNN", "LSTM")]


ONE, TWO, FOUR = Layout(1, 1, "mapped", 1), Layout(2, 1, "mapped", 1), Layout(1, 4, "batched", 1)


MORE = ((FOUR, ONE), (TWO, ONE, FOUR, TWO))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "layouts", [(TWO, ONE), (ONE, TWO), *(pytest.param(of, marks=pytest.mark.campaign) for of in MORE)]
)
def test_a_run_goes_on_with_any_number_of_devices(tmp_path, arms, module, wanted, monkeypatch, layouts):
    """A container's limit, a job that is queued again, another machine. No trial begins anew, none is lost; mapped, all
    bits are those of one that was not broken off.
    """
    place, begun = tmp_path / "run", Ledger.begin
    beginnings, saved = [], Checkpoints.save
    monkeypatch.setattr(Ledger, "begin", lambda ledger, trial: beginnings.append(trial) or begun(ledger, trial))
    for number, layout in enumerate(layouts):
        monkeypatch.setattr("rnnlab.runs.arms.layout", lambda *args, layout=layout: layout)
        with monkeypatch.context() as patch:

            def save(self, step, state, host):
                saved(self, step, state, host)
                if host:  # of trials under way, and not of one that has ended
                    raise Killed

            if number < len(layouts) - 1:
                patch.setattr(Checkpoints, "save", save)
                with pytest.raises(Killed):
                    sweep(place, arms, module)
            else:
                assert sweep(place, arms, module)[0]
    assert len(set(beginnings)) == len(beginnings)
    if FOUR in layouts:
        assert [t["seed"] for t in json.loads(table(place, arms, module)[1])] == [0, 1, 0, 1]
    else:
        assert table(place, arms, module) == wanted
    gc.collect()


def test_a_folder_is_a_runs_from_its_first_file_on(monkeypatch, tmp_path):
    """A process that is killed, or another that looks, between its first two files finds a run's folder."""
    monkeypatch.setattr("rnnlab.runs.folder.environment", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    config = {"experiment": "tiny", "tier": "smoke", "layout": "auto", "arms": {}}
    with pytest.raises(KeyboardInterrupt):
        RunFolder(tmp_path / "run", config)
    assert [file.name for file in (tmp_path / "run").iterdir() if file.name[0] != "."] == ["config.json"]
    monkeypatch.undo()
    RunFolder(tmp_path / "run", config).release()
    assert (tmp_path / "run" / "environment.json").exists()
