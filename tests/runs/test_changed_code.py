"""Results are of the code that ran them: what has changed since is said, refused, or run again."""

import importlib
import os

import numpy as np
import pytest
from program import TINY, WITH_MY_CELL

import rnnlab
from rnnlab.cells import GRU, MinLSTM
from rnnlab.runs.files import read_json, write_json
from rnnlab.runs.job import make_job
from rnnlab.runs.sources import changed, sources
from rnnlab.settings.errors import SettingError
from rnnlab.settings.experiments import load_experiment
from rnnlab.settings.resolve import ArmSpec, resolve

pytestmark = pytest.mark.slow

EXPERIMENT = WITH_MY_CELL.replace('"cell": LSTM', '"cell": MyCell').replace('"seeds": 2', '"seeds": 1')


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Runs an experiment of this text in the same folder each time; (the run, losses by arm)."""
    (tmp_path / "experiments").mkdir()
    monkeypatch.chdir(tmp_path)

    def run(text, **how):
        (tmp_path / "experiments" / "own.py").write_text(text)
        found = rnnlab.run("own", settings={"train.steps": 4}, quiet=True, **how)
        return found, {name: arm.trials[0].held_out["loss"] for name, arm in found.arms.items()}

    return run


def test_a_changed_cell_is_said_and_its_trials_alone_run_again(call):
    first, losses = call(EXPERIMENT)
    page = first.folder / "report.html"
    assert not first.results.changed_since and "other code" not in page.read_text()
    edited = EXPERIMENT.replace("FACTOR = 2", "FACTOR = 3")
    found, again = call(edited)
    assert found.results.changed_since == ("experiments/own.py",) and again == losses
    assert "run by other code" in page.read_text()
    kept = (first.folder / "trials/adding-8/rnn/seed=0/result.json").stat().st_mtime_ns
    found, redone = call(edited, redo=True)
    assert not found.results.changed_since and "other code" not in page.read_text()
    assert redone["Adding 8/RNN"] == losses["Adding 8/RNN"] and redone["Adding 8/LSTM"] != losses["Adding 8/LSTM"]
    assert (first.folder / "trials/adding-8/rnn/seed=0/result.json").stat().st_mtime_ns == kept


def test_what_changes_no_number_is_no_change(call):
    """The report, docstrings, comments."""
    _, losses = call(EXPERIMENT)
    text = EXPERIMENT
    for before, after in [("def report(results):", "def report(results):\n    len(results.arms)"),
                          ("h_t = tanh(z_t) / 2.", "Half of tanh."), ("FACTOR = 2", "FACTOR = 2  # why not"),
                          ("Does a tiny", "Does any tiny")]:  # fmt: skip
        assert before in text
        text = text.replace(before, after)
    found, again = call(text)
    assert again == losses and not found.results.changed_since


def test_a_run_that_has_not_ended_is_not_resumed_by_other_code(call):
    found, _ = call(EXPERIMENT)
    (found.folder / "trials/adding-8/rnn/seed=0/result.json").unlink()
    edited = EXPERIMENT.replace("jnp.linalg.norm(model(inputs))", "2 * jnp.linalg.norm(model(inputs))")
    with pytest.raises(SettingError, match=r"own-quick: experiments/own.py changed since 2 of its trials .*--redo"):
        call(edited)
    found, _ = call(edited, redo=True)
    assert not found.results.changed_since and len(read_json(found.folder / "config.json")["sources"]) == 4


def test_a_run_of_before_such_digests_is_resumed(call):
    found, losses = call(EXPERIMENT)
    config = read_json(found.folder / "config.json")
    write_json(found.folder / "config.json", {name: value for name, value in config.items() if name != "sources"})
    found, again = call(EXPERIMENT.replace("FACTOR = 2", "FACTOR = 3"))
    assert again == losses and not found.results.changed_since


def test_code_of_ones_own_counts_wherever_it_stands(tmp_path, monkeypatch):
    """In a helper that a helper imports, below `if` and `try`, in a function's own import, beside a probe."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "deeper.py").write_text("FACTOR = 2\n")
    (tmp_path / "helper.py").write_text("from deeper import FACTOR\n\n\ndef half(x):\n    return x / FACTOR\n")
    (tmp_path / "inside.py").write_text("def more(x):\n    return x\n")
    text = EXPERIMENT.replace(
        "def probes(spec):",
        "try:\n    LIMIT = 3\nexcept ValueError:\n    LIMIT = 4\n\n\ndef probes(spec):\n    from inside import more",
    )
    text = text.replace('{"norm": jnp', '{"half": helper.half(LIMIT), "norm": jnp').replace(
        "import jax.numpy", "import helper\nimport jax.numpy"
    )

    def found(text):
        (tmp_path / "experiments" / "spread.py").write_text(text)
        module = load_experiment("spread")
        importlib.import_module("inside")
        (spec, *_) = resolve(module, "quick", {}).values()
        return sources(spec, module)

    before = found(text)
    assert {name.rpartition("/")[2] for name in before} >= {"spread.py", "helper.py", "deeper.py", "inside.py"}
    assert "rnnlab/cells/vanilla_rnn.py" in before and "rnnlab/cells/gru.py" not in before
    assert changed(before, found(text.replace("LIMIT = 3", "LIMIT = 5")))
    assert not changed(before, found(text.replace("def report(results):", "def report(results):\n    pass")))
    assert not changed(before, found(text.replace('"seeds": 1', '"seeds": 3')))
    assert changed(before | {"python": "2.7"}, {}) == []


def test_a_file_of_data_that_changes_is_named(place, monkeypatch):
    data = place / "series.csv"
    data.write_text("1\n2\n")
    with_data = TINY.replace(
        "def config",
        f"""import chz


@chz.chz
class Read(Adding):
    files = property(lambda self: ({str(data)!r},))


def config""",
        1,
    ).replace('"task": Adding', '"task": Read')
    (place / "experiments" / "tiny.py").write_text(with_data)
    monkeypatch.chdir(place)
    job = make_job("tiny", "quick", {})
    spec = next(iter(job.arms.values()))
    before = sources(spec, job.module)
    assert changed(before, sources(spec, job.module)) == []
    data.write_text("1\n3\n")
    os.utime(data, (1, 1))
    assert changed(before, sources(spec, job.module)) == [str(data)]


def test_what_a_cell_or_task_imports_of_another_is_read_too():
    """MinLSTM's candidate is minGRU's, and its recurrence that of all linear cells."""
    spec = ArmSpec(cell=MinLSTM())
    found = sources(spec, load_experiment("long_memory"))
    assert {f"rnnlab/cells/{name}.py" for name in ("min_lstm", "min_gru", "linear_recurrence")} <= set(found)
    assert {f"rnnlab/training/{name}.py" for name in ("truncated", "updates")} <= set(found)
    assert "rnnlab/cells/lstm.py" not in sources(ArmSpec(cell=GRU()), load_experiment("lyapunov"))


def test_a_file_that_changes_within_a_process_is_read_again(tmp_path, monkeypatch):
    """Programs that are kept between runs hold a series as constants."""
    monkeypatch.chdir(tmp_path)
    how = {"tier": "smoke", "settings": {"task.csv": "own.csv", "task.length": 4, "task.horizon": 2, "train.steps": 2},
           "arms": "*/VanillaRNN", "quiet": True}  # fmt: skip
    losses = []
    for number in (0, 1):
        values = np.random.default_rng(number).normal(size=200).cumsum()
        (tmp_path / "own.csv").write_text("value\n" + "\n".join(f"{value:.6f}" for value in values))
        run = rnnlab.run("forecasting", workdir=tmp_path / str(number), **how)
        losses.append(run.results.trials[0].held_out["loss"])
        actual = next(iter(run.results.arms.values())).baselines["actual"]
        np.testing.assert_allclose(actual[-1][-1], values[-1], rtol=1e-5)
    again = rnnlab.run("forecasting", workdir=tmp_path / "again", **how)
    assert losses[0] != losses[1] == again.results.trials[0].held_out["loss"]
