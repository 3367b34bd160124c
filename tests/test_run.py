"""The command line: what goes wrong is one clear line, and what is killed goes on."""

import json
import re
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import jax
import numpy as np
import pytest
from program import TINY, WITH_MY_CELL, contents, environment, here, run, start, written

from rnnlab.runs.files import read_json, read_jsonl
from rnnlab.settings import experiments, resolve

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, cache):
    """Where a run went to its end undisturbed, and its (exit status, output, errors)."""
    place = tmp_path_factory.mktemp("whole")
    (place / "experiments").mkdir()
    (place / "experiments" / "tiny.py").write_text(TINY)
    return place, run(place, cache, "--exp=tiny")


@pytest.fixture(scope="module")
def uninterrupted(whole):
    return contents(whole[0] / "runs" / "tiny-quick")


def test_a_run_is_a_folder_with_everything_in_it(whole, uninterrupted, cache):
    place, (code, out, err) = whole
    assert (code, err) == (0, "")
    folder = place / "runs" / "tiny-quick"
    for name in ("config.json", "environment.json", "metrics.jsonl", "results.json", "report.html",
                 "figures/flow.png", "figures/flow.pdf", "table.tex", "tensorboard",
                 "trials/adding-8/rnn/seed=0/state"):  # fmt: skip
        assert (folder / name).exists(), name
    assert "Tiny." in out and "Adding 8/LSTM" in out and "2 x cpu" in out
    assert out.index("horizon") < out.index("  decay: least-squares slope") < out.index("Tiny.")
    assert read_json(folder / "environment.json")["jax"]
    records = read_jsonl(folder / "metrics.jsonl")
    assert [(r["arm"], r["seed"], r["step"]) for r in records[:3]] == [
        ("Adding 8/RNN", 0, 4), ("Adding 8/RNN", 0, 8), ("Adding 8/RNN", 0, 12)]  # fmt: skip
    for trial in read_json(folder / "results.json")["trials"]:  # an experiment's own probe, every 8 updates
        assert [found["step"] for found in trial["probes"]] == [*range(0, trial["steps"], 8), trial["steps"]]
        assert trial["probes"][0]["state"]["norm"] > 0 and len(trial["probes"][0]["state"]["last"]) == 2
    assert run(place, cache, "--exp=tiny")[0] == 0  # again: everything is read, nothing is run
    assert contents(folder) == uninterrupted


@pytest.mark.campaign
@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_any_moment_it_goes_on_to_the_same_bits(place, cache, uninterrupted, seed):
    """kill -9 at random moments, until a run gets through: its metrics and points are the uninterrupted ones."""
    random = np.random.default_rng(seed)
    folder = place / "runs" / "tiny-quick"
    for _ in range(2):
        process = start(place, cache, "--exp=tiny")
        size = written(folder)
        patience = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < patience:  # until it has begun to write, then a moment
            if written(folder) > size:
                break
            time.sleep(0.005)
        time.sleep(float(random.uniform(0, 0.6)))
        process.kill()
        process.communicate()
    assert run(place, cache, "--exp=tiny")[0] == 0
    for got, want in zip(contents(folder), uninterrupted, strict=True):
        assert got == want


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.campaign)])
def test_a_signal_saves_and_exits_and_the_same_command_goes_on(place, cache, uninterrupted, number):
    process = start(place, cache, "--exp=tiny")
    while process.poll() is None and not written(place / "runs" / "tiny-quick"):
        time.sleep(0.01)
    process.send_signal(number)
    asked = time.monotonic()
    out, err = process.communicate(timeout=60)
    if process.returncode:  # it may just have got through
        assert process.returncode == 128 + number and "the same command resumes it" in out and err == ""
        assert time.monotonic() - asked < 10
    assert run(place, cache, "--exp=tiny")[0] == 0
    assert contents(place / "runs" / "tiny-quick") == uninterrupted


def snapshot(place):
    return sorted((str(p), p.stat().st_size) for p in place.rglob("*") if "__pycache__" not in str(p))


MISTAKES = {
    "old": ("report(results)", "report()"),
    "unread": ("def config(tier):", "def config(tier:"),
    "unnamed": ("import LSTM", "import LTSM"),
    "wrong": ('"cell": LSTM', '"cell": lstm'),
    "failing": ("    return {", "    open('absent.csv')\n    return {"),
    "silent": ('    return {"Adding', '    found = {"Adding'),
}


def bad_folders(place):
    (place / "foreign").mkdir()
    (place / "foreign" / "thesis.txt").write_text("mine")
    (place / "a_file").write_text("mine")
    (place / "experiments" / "others.py").write_text("class Elsewhere: ...")
    (place / "damaged").mkdir()
    (place / "damaged" / "config.json").write_text("{")
    (place / "other").mkdir()
    (place / "other" / "config.json").write_text('{"experiment": "tiny", "tier": "quick", "arms": {}}')
    (place / "experiments" / "broken.py").write_text('"""No arms here?"""\n')
    for name, (right, wrong) in MISTAKES.items():
        (place / "experiments" / f"{name}.py").write_text(TINY.replace(right, wrong, 1))
    (place / "mine.py").write_text(TINY)


BAD = [
    (["--exp=tinny"], "--exp=tinny: no such experiment; the nearest is tiny"),
    ([], "--exp is needed"),
    (["--exp=experiments/tiny.py"], "--exp=experiments/tiny.py: an experiment goes by its name; write --exp=tiny"),
    (["--exp=tiny.py"], "--exp=tiny.py: an experiment goes by its name; write --exp=tiny"),
    (["--exp=./experiments/tinny.py"], "no such experiment; the nearest is tiny"),
    (["--exp=mine.py"], "--exp=mine.py: experiments are found .* in ./experiments: move it there and write --exp=mine"),
    (["--exp=broken"], r"docstring.*; here is no config\(tier\), no arms\(tier\), no report\(results\)$"),
    (["--exp=old"], r"here is no report\(results\)$"),
    (["--exp=unread"], r"experiments/unread.py, line 14: "),
    (["--exp=unnamed"], r"experiments/unnamed.py, line 8: ImportError: cannot import name 'LTSM'"),
    (["--exp=wrong"], r"experiments/wrong.py, line 21, in arms: NameError: name 'lstm' is not defined$"),
    (["--exp=failing"], r"experiments/failing.py, line 15, in config: FileNotFoundError: .*absent.csv"),
    (["--exp=silent"], "experiments/silent.py: arms gave NoneType, where a dict of settings is needed"),
    (["--exp=wrong", "--help"], "in arms: NameError"),
    (["--exp=tinny", "--help"], "--exp=tinny: no such experiment; the nearest is tiny"),
    (["--exp=tiny", "--help", "--workers=many"], "flag --workers=many: "),
    (["--exp=tiny", "--tier=quik"], "--tier=quik: no such tier; the nearest is quick"),
    (["--exp=tiny", "--workdri=x"], "--workdri: no such flag; the nearest is --workdir"),
    (["--exp=tiny", "train.steps"], "train.steps: settings are written path=value"),
    (["--exp=tiny", "task.lenght=5"], "task.lenght=5: no such setting of task=Adding; the nearest is task.length"),
    (["--exp=tiny", "train.steps=many"], "train.steps=many: not a whole number"),
    (["--exp=tiny", "train.learning_rate=-1"], "train.learning_rate=-1.0: must be above 0"),
    (["--exp=tiny", "task.length=0"], "task.length=0: must be at least 1"),
    (["--exp=tiny", "cell.features=-3"], "cell.features=-3: must be at least 1"),
    (["--exp=tiny", "task.markers=0,.01,.5,1"], "task.length=8: markers=.* the shortest that fits is"),
    (["--exp=tiny", "task.markers=.2,.2,.5,1"], "task.markers=.*: must rise from 0 to 1"),
    (["--exp=tiny", "--arms=*LSTM", "cell.spectral_radius=1"], "no such setting of cell=LSTM"),
    (["--exp=tiny", "task=Ading"], "task=Ading: no such task; the nearest is Adding"),
    (["--exp=tiny", "train.optimizer=adm"], "train.optimizer=adm: no such choice; the nearest is adam"),
    (["--exp=tiny", "cell=LSTM"], r"cell=LSTM: the arms of this experiment set it \(LSTM, VanillaRNN\)"),
    (["--exp=tiny", "cell=LSTMM"], "cell=LSTMM: no such cell; the nearest is LSTM"),
    (["--exp=long_memory", "--sweep=cell=Elsewhere"], "experiments/others.py has one: write --exp=others"),
    (["--exp=tiny", "dropout=.2"], "dropout=.2: a group of settings; write dropout.NAME=VALUE"),
    (["--exp=tiny", "dropout.zoneout_c=.1", "--arms=*RNN"], "VanillaRNN has h alone: write dropout.zoneout_h"),
    (["--exp=tiny", "train.lr=0.1"], "train.lr=0.1: no such setting; the nearest is train.learning_rate"),
    (["--exp=tiny", "lr=0.1"], "lr=0.1: no such setting; the nearest is train.learning_rate"),
    (["--exp=tiny", "cell.hidden_size=8"], "no such setting of cell=VanillaRNN; the nearest is cell.features"),
    (["--exp=tiny", "batch=8"], "batch=8: no such setting; the nearest is train.batch_size"),
    (["--exp=tiny", "epochs=8"], "epochs=8: no such setting; the nearest is train.steps"),
    (["--exp=tiny", "T=8"], "T=8: no such setting; the nearest is task.length"),
    (["--exp=tiny", "zzz=8"], "zzz=8: no such setting; --help lists those that there are"),
    (["--exp=tiny", "cell.forget_bias=3"], "cell=VanillaRNN; Adding 8/LSTM can have it: choose them with --arms"),
    (["--exp=tiny", "train.learning_rate='1e-3'"], "train.learning_rate='1e-3': not a value; write it without quotes"),
    (["--exp=tiny", "first_seed=4294967296"], "first_seed=4294967296: must be at least 0 and at most 2147483648"),
    (["--exp=tiny", "--arms=LTSM"], "--arms=LTSM: matches no arm"),
    (["--exp=tiny", "--workdir=foreign"], "--workdir=foreign: not empty and no run of rnnlab"),
    (["--exp=tiny", "--workdir=a_file"], "--workdir=a_file: .*a_file is a file"),
    (["--exp=tiny", "--workdir=damaged"], "config.json: damaged"),
    (["--exp=tiny", "--workdir=other"], r"holds a run with other arms: 0 .*now 2 are asked for"),
    (["--exp=tiny", "--tier=smoke", "--workdir=other"], "holds a run of tiny, quick tier, not of tiny, smoke tier"),
    (["--exp=tiny", "--workdir=/proc/here"], "--workdir=/proc/here: "),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[" ".join(words) or "nothing" for words, _ in BAD])
def test_bad_input_is_one_clear_line_with_nothing_written(place, monkeypatch, capsys, words, message):
    bad_folders(place)
    before = snapshot(place)
    code, out, err = here(place, words, monkeypatch, capsys)
    assert code == 2 and out == "" and err.count("\n") == 1 and err.startswith("rnnlab: ")
    assert re.search(message, err), err
    assert snapshot(place) == before


def test_an_error_in_a_report_loses_nothing_and_the_same_command_makes_it_again(place, cache):
    words = ("--exp=tiny", "--arms=*LSTM", "seeds=1", "train.steps=4")
    file, folder = place / "experiments" / "tiny.py", place / "runs" / "tiny-quick-lstm"
    file.write_text(TINY.replace('"Tiny."', '"" if results.trials[0].steps == 20 else results.arms["nothing"]'))
    code, _, err = run(place, cache, *words)
    assert (code, err.count("\n")) == (2, 1)
    assert f"{file}, line 33, in report: KeyError: 'nothing'; the results are saved in runs/tiny-quick-lstm" in err
    kept = json.loads((folder / "results.json").read_text())
    file.write_text(TINY)
    code, out, err = run(place, cache, *words)
    assert (code, err) == (0, "") and "Tiny." in out and (folder / "report.html").exists()
    again = json.loads((folder / "results.json").read_text())
    assert again == kept | {"verdict": "Tiny.", "claims": []}  # the time in it too: nothing was run


def test_an_error_inside_a_traced_function_is_that_of_its_line(place, monkeypatch):
    """JAX calls what an experiment defines, and JAX's own code raises; no line of it is none of the experiment's."""
    file = place / "experiments" / "traced.py"
    file.write_text(TINY.replace("model(inputs)[-1, :, 0]", "model(inputs) @ jnp.ones(3)"))
    monkeypatch.chdir(place)
    module = experiments.load_experiment("traced")
    with pytest.raises(TypeError) as caught:
        jax.jit(lambda xs: module.state(lambda xs: xs, xs, None, None))(np.ones((4, 4)))
    found = experiments.own_error(caught.value)
    assert found.startswith(f"{file}, line 29, in state: TypeError: ") and "(raised in " in found
    assert experiments.own_error(ValueError("another")) is None


def test_a_fault_of_rnnlab_that_an_experiment_comes_upon_keeps_its_traceback(place, monkeypatch):
    """A note says from where it was called; an own helper's error is named with its caller."""
    file = place / "experiments" / "calling.py"
    own = TINY.replace(
        "import jax.numpy as jnp", "import jax.numpy as jnp; from rnnlab.runs.results_file import results_from"
    ).replace('"Tiny."', "results_from(results).verdict")
    file.write_text(f"{own}\n\ndef half(x):\n    return 1 / x\n\n\ndef halves():\n    return half(0)\n")
    monkeypatch.chdir(place)
    module = experiments.load_experiment("calling")
    with pytest.raises(KeyError) as caught:
        module.report({})
    assert experiments.own_error(caught.value) is None and experiments.own_error(caught.value) is None
    assert caught.value.__notes__ == [f"called in {file}, line 33, in report"]
    with pytest.raises(ZeroDivisionError) as caught:
        module.halves()
    said = experiments.own_error(caught.value)
    assert said == f"{file}, line 37, in half, called in line 41: ZeroDivisionError: division by zero"


def test_list_and_help(place, monkeypatch, capsys):
    code, out, err = here(place, ["--list"], monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert "tiny: Does a tiny network learn anything?" in out and "long_memory: How far back" in out
    code, out, err = here(place, ["--exp=tiny", "--help", "train.steps=7"], monkeypatch, capsys)
    assert (code, err) == (0, "")
    for part in ("--workdir", "train.steps", "7 (from command line)", "8 (from experiment", "updates at most"):
        assert part in " ".join(out.split()), part


def test_a_full_disk_is_one_clear_line(place, monkeypatch, capsys):
    """A disk of which nothing is left: refused before anything is written."""
    monkeypatch.setattr("shutil.disk_usage", lambda path: types.SimpleNamespace(free=1))
    code, _, err = here(place, ["--exp=tiny"], monkeypatch, capsys)
    assert code == 2 and "the disk has 0 MiB left" in err and err.count("\n") == 1
    assert not (place / "runs").exists()


@pytest.mark.campaign
def test_a_disk_that_fills_up_during_a_run_loses_nothing(place, cache, uninterrupted):
    """Writing fails at a checkpoint: one line, and the same command goes on to the same bits."""
    code = (
        "import errno, sys; from rnnlab import run; from rnnlab.training import checkpoint\n"
        "real = checkpoint.Checkpoints.save; calls = []\n"
        "def save(self, *args):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 3: raise OSError(errno.ENOSPC, 'No space left on device', str(self.folder))\n"
        "    return real(self, *args)\n"
        "checkpoint.Checkpoints.save = save\n"
        "sys.argv = ['run', '--exp=tiny']; run.program()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, env=environment(cache), capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 2 and "No space left on device" in done.stderr and done.stderr.count("\n") == 1
    assert run(place, cache, "--exp=tiny")[0] == 0
    assert contents(place / "runs" / "tiny-quick") == uninterrupted


def test_a_diverged_trial_is_named_and_its_last_update_can_be_replayed(place, cache):
    wild = ("train.optimizer=sgd", "train.learning_rate=1e30", "train.clip_norm=None", "--arms=*LSTM")
    code, out, err = run(place, cache, "--exp=tiny", "--workdir=wild", *wild)
    assert (code, err) == (0, "") and "not finite" in out and "at update" in out
    done = subprocess.run(
        [sys.executable, "-m", "rnnlab.postmortem", "wild"],
        cwd=place, env=environment(cache), capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "Adding 8/LSTM, seed 0, update" in done.stdout and "loss" in done.stdout


def test_two_processes_in_one_folder_are_refused(place, cache, monkeypatch, capsys):
    first = start(place, cache, "--exp=tiny")
    lock = place / "runs" / "tiny-quick" / "config.json"
    while first.poll() is None and not lock.exists():
        time.sleep(0.01)
    second = here(place, ["--exp=tiny"], monkeypatch, capsys)
    first.kill()
    first.communicate()
    assert second[0] == 2 and "another process is running in it" in second[2]


def test_a_cell_of_ones_own_runs_from_the_command_line(place, cache):
    """`cell=MyCell`, defined in the user's own experiment file, with nothing registered anywhere."""
    arms = '{"Adding 8/RNN": {"cell": VanillaRNN}, "Adding 8/LSTM": {"cell": LSTM}}'
    text = WITH_MY_CELL.replace(arms, '{"Adding 8/one": {}}')
    (place / "experiments" / "mine.py").write_text(text)
    code, _, err = run(place, cache, "--exp=mine", "cell=MyCell", "train.steps=4")
    assert (code, err) == (0, ""), err
    assert read_json(place / "runs" / "mine-quick" / "config.json")["arms"]["Adding 8/one"]["cell"] == "MyCell"


@pytest.mark.parametrize("name", sorted(p.stem for p in (ROOT / "experiments").glob("[!_]*.py")))
@pytest.mark.parametrize("tier", resolve.TIERS)
def test_every_experiment_resolves_at_every_tier(name, tier):
    """The battery over experiments: a question, arms that can be built, names that sort by task."""
    module = experiments.load_experiment(name)
    assert experiments.question(ROOT / "experiments" / f"{name}.py").endswith("?")
    arms = resolve.resolve(module, tier, {})
    assert arms and all(spec.task.length >= 1 for spec in arms.values())
    assert (ROOT / "experiments" / "README.md").read_text().count(name) >= 1
