"""What `import rnnlab` and the command `rnnlab` give a user, and how they answer what is wrong."""

import asyncio
import contextlib
import inspect
import io
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from program import ROOT, environment

import rnnlab
from rnnlab import __main__ as command
from rnnlab.settings.errors import SettingError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A small run, made from Python."""
    here = tmp_path_factory.mktemp("here")
    words = {"train.steps": 4, "train.window": 2, "cell.features": 4, "seeds": 2, "flow.examples": 2}
    with contextlib.chdir(here):
        run = rnnlab.run("long_memory", tier="smoke", arms="Adding*/LSTM*", settings=words, quiet=True)
        folder = here / run.folder
    return rnnlab.open_run(folder)


def test_importing_it_imports_nothing_else():
    """So that a program's --help stays fast; every name of __all__ is there when it is asked for, and documented."""
    code = "import sys, rnnlab\nassert not {'jax', 'flax', 'numpy', 'matplotlib'} & set(sys.modules)\n"
    code += "for name in rnnlab.__all__: assert getattr(rnnlab, name).__doc__, name\nassert callable(rnnlab.run)\n"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert rnnlab.__all__ == sorted(rnnlab.__all__, key=lambda name: (name.islower(), name)) and "run" in dir(rnnlab)
    with pytest.raises(AttributeError, match="has no attribute 'unrol'; it has "):
        rnnlab.unrol  # noqa: B018


def test_a_call_is_described_as_the_function_it_is():
    assert list(inspect.signature(rnnlab.run).parameters)[:3] == ["exp", "tier", "workdir"]
    assert "Args:" in rnnlab.run.__doc__ and set(dir(rnnlab)) >= set(rnnlab.__all__)
    assert not {"Any", "importlib"} & set(dir(rnnlab))


def test_a_run_is_objects(opened):
    assert list(opened.arms) == ["Adding 30/LSTM", "Adding 30/LSTM chrono"] and len(opened.trials) == 4
    arm = opened.arms["Adding 30/LSTM"]
    assert (arm.task, arm.label, arm.length, arm.needed_lag) == ("Adding 30", "LSTM", 30, 15)
    profile = arm.trials[0].profile("init", "c cell path")
    assert profile.relative[0] == 0 and len(profile.lag) == 30
    assert arm.decay_rate().n == 2 and "mean nothing" in opened.verdict and "2 arms" in repr(opened)
    with pytest.raises(SettingError, match=r"cell.featurs: .* nearest is cell.features"):
        arm.value("cell.featurs")


def test_a_figure_is_drawn_again_with_other_arms_and_axes(opened):
    figure = opened.figure("flow", arms="*chrono", x="log", width="column")
    assert figure._repr_png_().startswith(b"\x89PNG")  # a notebook shows it
    file = io.BytesIO()
    figure.savefig(file, format="pdf")
    assert b"/Type3" not in file.getvalue()
    alone, every = (opened.figure("flow", arms=arms).legends[0] for arms in ("*chrono", None))
    colour = {text.get_text(): line.get_color() for text, line in zip(every.texts, every.get_lines(), strict=True)}
    assert alone.get_lines()[0].get_color() == colour["LSTM chrono"]  # as among all arms
    assert figure.get_figwidth() == 3.3 and figure.axes[0].get_xscale() == "symlog"
    assert len(opened.table(columns=["learned", "loss"], arms=["Adding 30/LSTM"]).rows) == 1
    for call, message in (
        (lambda: opened.figure("flwo"), "nearest is flow"),
        (lambda: opened.figure("flow", arms="x"), "matches no arm"),
        (lambda: opened.figure("flow", y="log"), "unexpected keyword argument 'y'"),
        (lambda: opened.figure("flow", x="lg"), "x=lg: no such choice; the nearest is log"),
        (lambda: opened.figure("flow", width="colum"), "width=colum: no such choice; the nearest is column"),
        (lambda: opened.table(columns=["lerned"]), "nearest is learned"),
    ):
        with pytest.raises(SettingError, match=message):
            call()


def test_a_trained_network_is_loaded_in_the_state_in_which_it_ended(opened):
    """Its held-out loss is that of the results, to the rounding of its type."""
    from rnnlab.training.spec import HELD_OUT, stream

    model, spec, seed, steps = rnnlab.load(opened.folder, "Adding 30/LSTM", seed=1)
    assert (seed, steps) == (1, 4) and opened.load("Adding 30/LSTM").seed == 0
    batch = spec.task.held_out(stream(seed, HELD_OUT), spec.train.eval_size)
    found = spec.task.metrics(model(batch.inputs, answers=1), batch)
    expected = opened.arms["Adding 30/LSTM"].trials[1].held_out["loss"]
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)
    assert jax.tree.leaves(model)[0].dtype == np.float32
    for arm, seed, message in (("Adding 30/LSMT", 0, "nearest is Adding 30/LSTM"), ("Adding 30/LSTM", 7, "no seed 7")):
        with pytest.raises(SettingError, match=message):
            rnnlab.load(opened.folder, arm, seed)
    with pytest.raises(SettingError, match="no run of rnnlab"):
        rnnlab.load(opened.folder / "trials", "Adding 30/LSTM")


def test_a_trained_network_is_loaded_at_its_best_evaluation_too(opened):
    end, best = opened.load("*/LSTM", seed=1), opened.load("Adding 30/LSTM", 1, at="best")
    losses = end.history["eval/loss"]
    assert (end.at, best.at, end.steps) == ("end", "best", 4) and end.history["step"].tolist() == [2, 4]
    assert (
        best.steps == [2, 4][int(np.argmin(losses))]
        and best.metrics["loss"] == losses.min() == end.best.metrics["loss"]
    )
    assert end.metrics["loss"] == losses[-1] and end.task is end.spec.task and end.outcome == "not learned"
    from rnnlab.training.spec import HELD_OUT, stream

    batch = best.task.held_out(stream(1, HELD_OUT), best.train.eval_size)
    found = best.task.metrics(best.model(batch.inputs, answers=1), batch)
    np.testing.assert_allclose(found["loss"], best.metrics["loss"], rtol=1e-5)
    for call, message in (
        (lambda: opened.load(), "2 arms; name one of Adding 30/LSTM, Adding 30/LSTM chrono"),
        (lambda: opened.load("Adding*"), r"2 arms match Adding\*; name one of"),
        (lambda: opened.load("Adding 3*/LSMT"), "no arm Adding 3.*; the nearest is Adding 30/LSTM"),
        (lambda: opened.load("*/LSTM", at="bset"), "at=bset: no such choice; the nearest is best"),
    ):
        with pytest.raises(SettingError, match=message):
            call()


def test_a_run_from_before_the_best_network_was_kept_is_loaded_at_its_end(opened, tmp_path):
    from rnnlab.runs.folder import RunFolder
    from rnnlab.runs.ledger import Ledger, Trial
    from rnnlab.runs.load_network import last_state, read_arms
    from rnnlab.training.spec import precision_of

    folder = shutil.copytree(opened.folder, tmp_path / "old")
    arm = "Adding 30/LSTM"
    ledger, trial = Ledger(RunFolder.to_read(folder)), Trial(arm, 0, read_arms(folder)[arm])
    with precision_of(trial.spec):
        state = last_state(ledger, trial)
    shutil.rmtree(ledger.place(trial) / "state")
    ledger.last_state(trial).save(4, state._replace(best=None), {})
    trained = rnnlab.load(folder, arm, 0)
    assert trained.best is None and trained.steps == 4
    with pytest.raises(SettingError, match=r"best evaluation \(rnnlab did not keep it then\); at='end'"):
        rnnlab.load(folder, arm, 0, at="best")


def test_a_run_works_where_an_event_loop_runs_already(opened):
    """As in a notebook's kernel."""

    async def cell():
        return rnnlab.load(opened.folder, "*/LSTM", seed=1).steps

    assert asyncio.run(cell()) == 4


def test_a_call_that_is_interrupted_can_be_made_again_in_the_same_process(tmp_path, monkeypatch):
    """Ctrl-C in a notebook: nothing stays locked, and the command that is kept is one that runs it again."""
    from rnnlab.runs import program_group

    words = {"train.steps": 4, "train.window": 2, "cell.features": 4, "seeds": 2, "flow.examples": 2}

    def call():
        return rnnlab.run("long_memory", tier="smoke", arms="Adding*/LSTM", settings=words, quiet=True)

    def interrupted(*args):
        raise KeyboardInterrupt

    with contextlib.chdir(tmp_path):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(program_group, "measure", interrupted)
            call()
        found = call()
        assert len(found.trials) == 2 and found.results.command == (
            "python -m rnnlab.run --exp=long_memory --tier=smoke '--arms=Adding*/LSTM' train.steps=4 train.window=2 "
            "cell.features=4 seeds=2 flow.examples=2"
        )


def test_a_wrong_call_is_one_clear_line(tmp_path):
    with contextlib.chdir(tmp_path):
        for call in ({"exp": "long_memroy"}, {"exp": "long_memory", "settings": {"train.stepz": 3}}):
            with pytest.raises(SettingError, match="nearest is"):
                rnnlab.run(**call)
        with pytest.raises(SettingError, match="no run of rnnlab"):
            rnnlab.open_run(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_is_one_word_and_the_rest(cache, tmp_path, monkeypatch, capsys):
    words = [sys.executable, "-m", "rnnlab", "list"]
    done = subprocess.run(words, cwd=tmp_path, env=environment(cache), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "long_memory: How far back" in done.stdout
    monkeypatch.setattr(sys, "argv", ["rnnlab"])
    command.main()
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        f"rnnlab {name}"
        for name in (
            "run",
            "list",
            "cells",
            "tasks",
            "compare",
            "forecast",
            "generate",
            "postmortem",
            "publish",
            "transcribe",
            "translate",
        )
    ]
    monkeypatch.setattr(sys, "argv", ["rnnlab", "comapre"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2 and "nearest is compare" in capsys.readouterr().err
