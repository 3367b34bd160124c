"""An exported model is the model, at any length and batch size, in a process that has no rnnlab model."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from program import environment

from rnnlab.cells import GRU, LSTM
from rnnlab.interop import export, load_exported
from rnnlab.model import SequenceModel
from rnnlab.specs.errors import UserError

SHAPES = [(3, 1), (7, 2)]  # T, B
MODELS = {  # spec, options of the model, answers
    "stacked": (LSTM, {"layers": 2, "residual": True, "layer_norm": True}, None),
    "last steps": (GRU, {}, 3),
    "both ways": (GRU, {"layers": 2, "bidirectional": True, "residual": True}, 2),
    "both ends": (GRU, {"layers": 2, "bidirectional": True, "residual": True}, 1),
    "tokens": (GRU, {"embedding": 3}, 1),
}
READ = """
import sys
import numpy as np
from rnnlab.interop import load_exported
file, found = sys.argv[1], {}
runs = {name: load_exported(f"{file}/{name}") for name in sys.argv[2:]}
with np.load(f"{file}/inputs.npz") as inputs:
    for case in inputs:
        found[case] = runs[case.split("/")[0]](inputs[case])
np.savez(f"{file}/outputs.npz", **found)
assert "rnnlab.cells.lstm1997" in sys.modules  # specs are imported, of which the program needs none
"""


@pytest.fixture(scope="module")
def models():
    made = {}
    for name, (spec, options, _) in MODELS.items():
        made[name] = SequenceModel(spec(features=4), 5, 2, **options, rngs=nnx.Rngs(0))
    return made


@pytest.mark.slow
def test_a_fresh_process_gives_the_models_outputs_for_any_length_and_batch(models, tmp_path, cache):
    inputs = {}
    for name, model in models.items():
        export(model, tmp_path / name, answers=MODELS[name][2])
        for length, batch in SHAPES:
            key = jax.random.key(length)
            tokens = jax.random.randint(key, (length, batch), 0, 5, jnp.int32)
            numbers = jax.random.normal(key, (length, batch, 5), jnp.float32)
            inputs[f"{name}/{length}"] = np.asarray(tokens if name == "tokens" else numbers)
    np.savez(tmp_path / "inputs.npz", **inputs)
    code = [sys.executable, "-c", READ, str(tmp_path), *models]
    done = subprocess.run(code, env=environment(cache), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(tmp_path / "outputs.npz") as file:
        found = dict(file)
    for case, xs in inputs.items():
        name = case.split("/")[0]
        want = jax.jit(lambda model, xs, answers=MODELS[name][2]: model(xs, answers=answers))(models[name], xs)
        assert found[case].dtype == want.dtype == np.float32
        np.testing.assert_allclose(found[case], want, atol=1e-6, err_msg=case)


def test_tokens_without_an_embedding_and_the_wrong_kind_of_inputs(models, tmp_path):
    model, tokens = models["last steps"], jnp.array([[0, 1], [4, 2], [3, 0]], jnp.int32)
    export(model, tmp_path / "it", tokens=True)
    run = load_exported(tmp_path / "it")
    np.testing.assert_allclose(run(tokens), model(tokens), atol=1e-6)
    with pytest.raises(UserError, match=r"inputs are float32\[3, 2, 5\], where int32\[T, B\] is needed; see tokens="):
        run(jnp.zeros((3, 2, 5), jnp.float32))


def test_a_program_for_other_platforms_is_one_file(models, tmp_path):
    export(models["last steps"], tmp_path / "it", answers=1, platforms=("cpu", "cuda"))
    program = jax.export.deserialize(bytearray((tmp_path / "it").read_bytes()))
    assert program.platforms == ("cpu", "cuda") and str(program.in_avals[0].shape) == "(T, B, 5)"


def test_what_cannot_be_run_is_one_line(models, tmp_path, monkeypatch):
    export(models["last steps"], tmp_path / "it", answers=3)
    with pytest.raises(UserError, match="it: 2 steps, where it gives outputs at the last 3"):
        load_exported(tmp_path / "it")(jnp.zeros((2, 1, 5), jnp.float32))
    (tmp_path / "bad").write_bytes(b"no program" * 9)
    for name, message in (("bad", "no exported program"), ("none", "No such file")):
        with pytest.raises(UserError, match=f"{name}: .*{message}"):
            load_exported(tmp_path / name)
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    for call in (lambda: export(models["last steps"], tmp_path / "it"), lambda: load_exported(tmp_path / "it")):
        with pytest.raises(UserError, match=r"needs the package flatbuffers: pip install 'rnnlab\[interop\]'"):
            call()
