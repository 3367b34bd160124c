"""An arm's numbers are its own, whatever other arms run beside it."""

import jax
import pytest
from program import TINY

import rnnlab
from rnnlab.runs.files import read_json

pytestmark = pytest.mark.slow

ARMS = {"32": '{"cell": LSTM}', "64": '{"cell": LSTM, "cell.dtype": "float64", "cell.param_dtype": "float64"}'}
OURS = TINY[: TINY.index("def arms")] + "def arms(tier):\n    return {ARMS}\n\n\n" + TINY[TINY.index("def probes") :]


@pytest.mark.parametrize("order", [("32", "64"), ("64", "32")])
def test_an_arm_has_the_same_bits_alone_and_beside_float64(tmp_path, monkeypatch, order):
    """Float64 is enabled for the arm that needs it and for no other, and afterwards is what it was."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    arms = ", ".join(f'"Adding 8/{name}": {ARMS[name]}' for name in order)
    (tmp_path / "experiments" / "mixed.py").write_text(OURS.replace("{ARMS}", f"{{{arms}}}"))
    words = {"train.steps": 8, "seeds": 1}
    for enabled in (True, False):
        with jax.enable_x64(enabled):
            rnnlab.run("mixed", settings=words, arms="*/32", workdir=f"alone-{enabled}", quiet=True)
            assert jax.config.jax_enable_x64 is enabled
    rnnlab.run("mixed", settings=words, workdir="both", quiet=True)
    results = [read_json(tmp_path / name / "trials/adding-8/32/seed=0/result.json")["result"]
               for name in ("alone-True", "alone-False", "both")]  # fmt: skip
    assert results[0] == results[1] == results[2]
