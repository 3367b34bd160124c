"""Keras's layers give the same outputs here, and these models there."""

import os

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rnnlab.interop import from_keras, to_keras
from rnnlab.specs.errors import UserError

BOTH, NO_BIAS = {"both": True}, {"use_bias": False}
STACKS = {  # layer by layer: the class of Keras and its options
    "LSTM": [("LSTM", 4, {"unit_forget_bias": False}), ("LSTM", 3, NO_BIAS)],
    "GRU": [("GRU", 3, BOTH), ("GRU", 4, BOTH)],
    "GRU reset before": [("GRU", 4, {"reset_after": False}), ("GRU", 4, {"reset_after": False})],
    "SimpleRNN": [("SimpleRNN", 4, {"activation": "relu"})],
    "mixed": [("LSTM", 4, {}), ("GRU", 4, {})],
    "GRU without biases": [("GRU", 4, NO_BIAS), ("GRU", 4, NO_BIAS)],
    "GRU before without": [("GRU", 4, NO_BIAS | {"reset_after": False}), ("GRU", 4, NO_BIAS | {"reset_after": False})],
}


@pytest.fixture(scope="module")
def keras():
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    return keras


def called(network, xs):
    """Outputs [T, B, K]. Keras's GRU without biases mixes types where float64 is enabled."""
    with jax.enable_x64(False):
        return np.asarray(network(xs.swapaxes(0, 1))).swapaxes(0, 1)


def network(keras, stack, readout):
    layers = [keras.Input((None, 3))]
    for kind, units, options in stack:
        options = dict(options)
        both = options.pop("both", False)
        layer = getattr(keras.layers, kind)(units, return_sequences=True, **options)
        layers.append(keras.layers.Bidirectional(layer) if both else layer)
    made = keras.Sequential([*layers, *([keras.layers.Dense(2)] if readout else [])])
    rng = np.random.default_rng(0)
    made.set_weights([0.5 * rng.normal(size=w.shape) for w in made.weights])
    return made


@pytest.mark.slow
@pytest.mark.parametrize("name", STACKS)
def test_a_model_of_keras_has_the_same_outputs_here_and_back_there(keras, name, tmp_path):
    stack, readout = STACKS[name], name != "SimpleRNN"
    theirs = network(keras, stack, readout)
    options = {word: stack[0][2][word] for word in ("activation", "reset_after") if word in stack[0][2]}
    model = from_keras({weight.path: np.asarray(weight) for weight in theirs.weights}, **options)
    xs = np.random.default_rng(1).normal(size=(5, 2, 3)).astype("float32")
    want = called(theirs, xs)
    np.testing.assert_allclose(jax.jit(lambda model, xs: model(xs))(model, xs), want, atol=1e-5)
    bias = not all(options.get("use_bias") is False for *_, options in stack)
    if name == "LSTM":  # its second layer has none: it gets zeros, and the layer of Keras a place for them
        theirs = network(keras, [(kind, units, {}) for kind, units, _ in stack], readout)
    written = to_keras(model, tmp_path / "it", readout=readout, bias=bias)
    assert [a.shape for a in written.values()] == [tuple(w.shape) for w in theirs.weights]
    theirs.set_weights([np.zeros(w.shape) for w in theirs.weights])
    theirs.set_weights(list(written.values()))
    np.testing.assert_allclose(called(theirs, xs), want, atol=1e-5)


def test_layers_of_a_file_are_in_the_order_of_their_numbers(tmp_path):
    rng, tensors = np.random.default_rng(0), {}
    for number in (11, 10, 9):
        tensors |= {f"net/lstm_{number}/lstm_cell/kernel": rng.normal(size=(4, 16))}
        tensors |= {f"net/lstm_{number}/lstm_cell/recurrent_kernel": rng.normal(size=(4, 16))}
    save_file(tensors, tmp_path / "a")
    for number, cell in zip((9, 10, 11), from_keras(tmp_path / "a").cells, strict=True):
        np.testing.assert_array_equal(cell.w_x[...], tensors[f"net/lstm_{number}/lstm_cell/kernel"])
    first = from_keras(tensors).cells[0]  # a dict is read as it stands
    np.testing.assert_array_equal(first.w_x[...], tensors["net/lstm_11/lstm_cell/kernel"])
    save_file({name.replace("lstm_9", "top"): tensor for name, tensor in tensors.items()}, tmp_path / "a")
    with pytest.raises(UserError, match=r"a: the order of .*net/top/.* is unknown; expected names that differ by num"):
        from_keras(tmp_path / "a")


def test_a_written_file_names_layers_as_keras_does(tmp_path):
    tensors = {"a_cell/kernel": np.ones((3, 12)), "a_cell/recurrent_kernel": np.ones((4, 12))}
    tensors |= {"b_cell/kernel": np.ones((4, 12)), "b_cell/recurrent_kernel": np.ones((4, 12))}
    to_keras(from_keras(tensors), tmp_path / "it", bias=False)
    layers = ["gru/gru_cell", "gru_1/gru_cell"]
    names = [f"{layer}/{part}" for layer in layers for part in ("kernel", "recurrent_kernel")]
    assert set(load_file(tmp_path / "it")) == {*names, "dense/kernel", "dense/bias"}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lstm_cell/kernel", np.ones((3, 12)), r"lstm_cell/kernel has shape \[3, 12\]; expected \[D, 16\]"),
        ("lstm_cell/bias", np.ones((2, 16)), r"lstm_cell/bias has shape \[2, 16\]; expected \[16\]"),
        (
            "lstm_cell/peephole",
            np.ones(4),
            r"lstm_cell/peephole \[4\] is extra; expected 1 recurrent layers and at most",
        ),
        ("x/backward_rnn/recurrent_kernel", np.ones((4, 16)), "expected one direction of every layer, or both"),
    ],
)
def test_a_wrong_tensor_is_one_line(name, value, message):
    tensors = {"lstm_cell/kernel": np.ones((3, 16)), "lstm_cell/recurrent_kernel": np.ones((4, 16))}
    with pytest.raises(UserError, match=message):
        from_keras(tensors | {name: value})
    with pytest.raises(UserError, match=r"recurrent_kernel is missing; expected \[H, 4H\].* there is a"):
        from_keras({"a": value})
