"""PyTorch's modules give the same outputs here, and these models there."""

import json
import random
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from rnnlab.cells import LSTM, AblatedLSTM, GRUResetBefore, VanillaRNN
from rnnlab.interop import from_torch, to_torch
from rnnlab.model import SequenceModel
from rnnlab.specs.errors import UserError

FILE = Path(__file__).with_name("torch_modules.safetensors")
with safe_open(FILE, "numpy") as file:
    CASES = json.loads(file.metadata()["cases"])


def fixture(case):
    """A state_dict, inputs and outputs, as PyTorch wrote them."""
    found = {name.split("/")[1]: tensor for name, tensor in load_file(FILE).items() if name.startswith(f"{case}/")}
    return found, found.pop("inputs"), found.pop("outputs")


@pytest.mark.parametrize("case", CASES)
def test_a_module_of_pytorch_has_the_same_outputs(case, tmp_path):
    state, xs, outputs = fixture(case)
    model = from_torch(state, nonlinearity=CASES[case].get("nonlinearity", "tanh"))
    np.testing.assert_allclose(jax.jit(lambda model, xs: model(xs))(model, xs), outputs, atol=1e-5)
    assert {leaf.dtype for leaf in jax.tree.leaves(model)} == {np.dtype("float32")}
    readout = "readout" if "readout.weight" in state else None
    written = to_torch(model, tmp_path / "it", readout=readout, bias=CASES[case].get("bias", True))
    assert {n: a.shape for n, a in written.items()} == {n: a.shape for n, a in state.items()}
    again = from_torch(tmp_path / "it", nonlinearity=CASES[case].get("nonlinearity", "tanh"))
    jax.tree.map(np.testing.assert_array_equal, again, model)
    for name in (name for name in state if "weight" in name):
        np.testing.assert_array_equal(written[name], state[name])


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_outputs_are_pytorchs_over_random_options(tmp_path):
    """With torch installed: any options, there and back through files that PyTorch writes and reads."""
    torch = pytest.importorskip("torch")
    from make_torch_fixtures import Network, draw
    from safetensors.torch import load_file, save_file

    options = random.Random(0)
    for _ in range(10):
        kind, width = options.choice(["LSTM", "GRU", "RNN"]), options.randint(2, 6)
        words = {"input_size": options.randint(1, 4), "hidden_size": width, "num_layers": options.randint(1, 3)}
        words |= {"bias": options.random() < 0.5, "bidirectional": options.random() < 0.5}
        words |= {"nonlinearity": options.choice(["tanh", "relu"])} if kind == "RNN" else {}
        words |= {"proj_size": options.randint(0, width - 1)} if kind == "LSTM" else {}
        network = Network(kind, readout=3, **words)
        draw(network, None)
        xs = torch.randn(5, 2, words["input_size"])
        save_file(network.state_dict(), tmp_path / "theirs")
        model = from_torch(tmp_path / "theirs", nonlinearity=words.get("nonlinearity", "tanh"))
        to_torch(model, tmp_path / "ours", bias=words["bias"])
        back = Network(kind, readout=3, **words)
        back.load_state_dict(load_file(tmp_path / "ours"))
        with torch.no_grad():
            want, got = network(xs).numpy(), back(xs).numpy()
        np.testing.assert_allclose(model(jnp.asarray(xs.numpy())), want, atol=1e-5 * max(1, np.abs(want).max()))
        np.testing.assert_allclose(got, want, atol=1e-5 * max(1, np.abs(want).max()))


def changed(state, **changes):
    """With tensors replaced, or left out where None, by name with `__` for a point."""
    new = state | {name.replace("__", "."): value for name, value in changes.items()}
    return {name: value for name, value in new.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rnn__weight_hh_l1": None}, r"a.safetensors: rnn.weight_hh_l1 is missing; expected \[4H, H\], "),
        ({"rnn__bias_hh_l0": None}, r"rnn.bias_hh_l0 is missing; expected \[16\]"),
        ({"rnn__weight_ih_l1": np.ones((16, 5))}, r"rnn.weight_ih_l1 has shape \[16, 5\]; expected \[16, 4\]"),
        ({"rnn__weight_hh_l0": np.ones((17, 4))}, r"rnn.weight_hh_l0 has shape \[17, 4\]; expected 4 \(LSTM\), 3 "),
        ({"rnn__weight_hh_l0": np.ones(16)}, r"rnn.weight_hh_l0 has shape \[16\]; expected 4 \(LSTM\), 3 "),
        ({"readout__weight": np.ones((2, 9))}, r"readout.weight has shape \[2, 9\]; expected \[K, 4\]"),
        (
            {"norm__running_mean": np.ones(4)},
            r"norm.running_mean \[4\] is extra; expected a LSTM of 2 layers and at most",
        ),
        ({"other__weight": np.ones((2, 4))}, r"other.weight \[2, 4\] is extra"),
        ({"other__weight_ih_l0": np.ones((2, 4))}, "expected one recurrent module"),
        ({"rnn__bias_hh_l0": np.ones(16, int)}, r"rnn.bias_hh_l0 \[16\] is of I64; expected F64, F32"),
    ],
)
def test_a_wrong_file_is_one_line(changes, message, tmp_path):
    state, _, _ = fixture("LSTM")
    save_file(changed(state, **changes), tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=message) as raised:
        from_torch(tmp_path / "a.safetensors")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_none_is_one_line(tmp_path):
    (tmp_path / "a").write_bytes(b"PK\x03\x04 a pickle of PyTorch's")
    for name, message in (("a", "no safetensors file"), ("b", "No such file")):
        with pytest.raises(UserError, match=f"{name}: .*{message}"):
            from_torch(tmp_path / name)
    with pytest.raises(UserError, match=r"mapping: weight_ih_l0 is missing|mapping: weight_hh_l0 is missing"):
        from_torch({})


@pytest.mark.parametrize(
    ("spec", "options", "written", "message"),
    [
        (AblatedLSTM, {}, {}, r"cells\[0\]: a AblatedLSTMCell has no counterpart in PyTorch; these specs have: LSTM, "),
        (GRUResetBefore, {}, {}, "GRUResetBeforeCell has no counterpart in PyTorch"),
        (
            lambda **words: VanillaRNN(activation="sigmoid", **words),
            {},
            {},
            "activation=sigmoid: an nn.RNN has tanh or",
        ),
        (LSTM, {"layer_norm": True}, {}, r"norms.0.bias \[4\] has no counterpart in PyTorch"),
        (LSTM, {"residual": True, "layers": 2}, {}, "residual=True has no counterpart in PyTorch"),
        (LSTM, {}, {"bias": False}, "bias=False: this model has biases, up to 1, that would be lost"),
    ],
)
def test_what_pytorch_has_not_is_refused(spec, options, written, message, tmp_path):
    model = SequenceModel(spec(features=4), 3, 2, **options, rngs=nnx.Rngs(0))
    with pytest.raises(UserError, match=message):
        to_torch(model, tmp_path / "it", **written)
    assert not list(tmp_path.iterdir())


def test_half_precision_is_read_as_float32_and_float64_stays(tmp_path):
    state, xs, outputs = fixture("GRU")
    save_file({name: tensor.astype(jnp.bfloat16) for name, tensor in state.items()}, tmp_path / "half")
    half = from_torch(tmp_path / "half")
    assert {leaf.dtype for leaf in jax.tree.leaves(half)} == {np.dtype("float32")}
    np.testing.assert_array_equal(half.cells[1].w_h[...], state["rnn.weight_hh_l1"].T.astype(jnp.bfloat16))
    double = from_torch({name: tensor.astype(float) for name, tensor in state.items()})
    np.testing.assert_allclose(double(jnp.asarray(xs, float)), outputs, atol=1e-6)
    assert {leaf.dtype for leaf in jax.tree.leaves(double)} == {np.dtype("float64")}


def test_a_missing_package_is_one_line_that_names_the_extra(monkeypatch, tmp_path):
    model = from_torch(fixture("RNN relu")[0])
    monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
    with pytest.raises(UserError, match=r"needs the package safetensors: pip install 'rnnlab\[interop\]'"):
        to_torch(model, tmp_path / "it")
