"""A cell of Flax, or a user's own, in settings and experiments: names, text, errors, and a run to its report."""

import json

import pytest
from flax import nnx
from program import TINY, here

import rnnlab
from rnnlab.cells.flax_cell import FlaxCell
from rnnlab.reports.check import check_job
from rnnlab.runs.job import make_job
from rnnlab.runs.load_network import load
from rnnlab.runs.sources import sources
from rnnlab.settings.errors import SettingError
from rnnlab.settings.experiments import load_experiment
from rnnlab.settings.resolve import ArmSpec, flat, from_flat

pytestmark = pytest.mark.slow


def test_a_spec_is_text_and_comes_back():
    by_class, by_name = (ArmSpec(cell=FlaxCell(module=module)) for module in (nnx.GRUCell, "GRUCell"))
    assert by_class == by_name and hash(by_class) == hash(by_name)
    assert flat(by_class)["cell.module"] == "GRUCell" and from_flat(json.loads(json.dumps(flat(by_class)))) == by_name


def test_settings_name_it_and_a_wrong_one_is_one_line():
    job = make_job("long_memory", "smoke", {}, sweep="cell=FlaxCell cell.module=GRUCell,SimpleCell")
    assert list(job.arms) == [f"Adding 30/FlaxCell module={name}" for name in ("GRUCell", "SimpleCell")]
    for overrides, sweep, told in (
        ({}, "cell=FlaxCell cell.module=GRUCel", r"cell.module=GRUCel: no such class .*; the nearest is GRUCell$"),
        ({}, "cell=GRUCell", r"cell=GRUCell: a cell of Flax's kind; write cell=FlaxCell cell.module=GRUCell$"),
        ({"cell": "FlaxCell"}, None, r"cell.forget_bias=0.0: no such setting of cell=FlaxCell; the nearest is "),
    ):
        with pytest.raises(SettingError, match=told):
            make_job("forget_bias", "smoke", overrides, sweep=sweep)


OWN = """
from flax import nnx
from rnnlab.cells import FlaxCell
from rnnlab.probes.gradients.paths import mean_shares


class Mine(nnx.RNNCellBase):
    def __init__(self, in_features, features, *, rngs):
        self.features, self.act = features, lambda z: jnp.tanh(z)
        self.z = nnx.Linear(in_features + features, features, rngs=rngs)

    def __call__(self, carry, x):
        h = self.act(self.z(jnp.concatenate([x, carry], axis=-1)))
        return h, h

    def initialize_carry(self, input_shape, rngs):
        return jnp.zeros((*input_shape[:-1], self.features))


def config"""


def test_an_experiment_runs_it_to_its_report_and_the_network_is_loaded(place, monkeypatch, capsys):
    """Arms by class and by name, a probe that is not defined for them, the table, the results, the trained network."""
    arms = '{"Adding 8/RNN": {"cell": VanillaRNN}, "Adding 8/LSTM": {"cell": LSTM}}'
    own = '{"Adding 8/mine": {"cell": FlaxCell, "cell.module": Mine}}'
    text = TINY.replace("\n\ndef config", OWN, 1).replace(arms, own)
    text = text.replace('{"state": state}', '{"state": state, "paths": mean_shares}')
    (place / "experiments" / "foreign.py").write_text(text)
    monkeypatch.chdir(place)
    folder = rnnlab.run("foreign", settings={"train.steps": 4, "seeds": 2, "probe_every": None}).folder
    out, err = capsys.readouterr()
    assert err == "" and "Probe paths: not defined for the cell of Adding 8/mine." in out and "Tiny." in out
    trials = json.loads((folder / "results.json").read_text())["trials"]
    assert [sorted(found) for found in trials[0]["probes"]] == [["state", "step"]] * 2
    assert sorted(trials[0]["reach"]["init"]) == ["h"] and (folder / "tensorboard" / "1 mine").exists()
    model, spec, *_ = load(folder, "Adding 8/mine", seed=1)
    assert type(model.cells[0].module).__name__ == "Mine" == spec.cell.module
    job = make_job("foreign", "quick", {}, sweep="cell=FlaxCell cell.module=Mine,GRUCell")
    assert list(job.arms) == ["Adding 8/FlaxCell module=Mine", "Adding 8/FlaxCell module=GRUCell"]
    check_job(job)
    mine, theirs = (sources(spec, load_experiment("foreign")) for spec in job.arms.values())
    key = next(name for name in mine if name.endswith("foreign.py"))
    assert mine[key] != theirs[key] and "rnnlab/cells/flax_cell.py" in theirs  # the class counts where it is the cell


def test_a_users_own_that_does_not_fit_is_told_before_anything_is_trained(place, monkeypatch, capsys):
    text = TINY.replace("\n\ndef config", OWN.replace("return h, h", "return h, x"), 1)
    (place / "experiments" / "bent.py").write_text(
        text.replace('{"cell": LSTM}', '{"cell": FlaxCell, "cell.module": Mine}')
    )
    code, out, err = here(place, ["--exp=bent"], monkeypatch, capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "experiments/bent.py, line " in err and "in Mine.__call__: gave y float32[3, 2], where [B, H] = " in err
