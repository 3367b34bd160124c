"""Weights to and from Flax NNX's LSTMCell, OptimizedLSTMCell, GRUCell and SimpleCell, by the paths of their Params."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

import numpy as np
from flax import nnx

from rnnlab.cells import CellSpec
from rnnlab.cells.gru import GRU
from rnnlab.cells.lstm import LSTM
from rnnlab.cells.vanilla_rnn import VanillaRNN
from rnnlab.interop.tensors import Source, Tensors, write_tensors
from rnnlab.interop.weights import (
    Weights,
    build_model,
    kind_of,
    readout_of,
    take_layers,
    take_readout,
    weights_of,
)
from rnnlab.model import SequenceModel
from rnnlab.specs.errors import UserError

FUSED, SEPARATE = "dense_h.kernel", "hi.kernel"
KINDS = (LSTM, GRU, VanillaRNN)
GATES = ("i", "f", "g", "o")


def from_flax(
    source: Source | nnx.Module, *, activation: Literal["tanh", "relu", "sigmoid", "linear"] = "tanh"
) -> SequenceModel:
    """The model of Flax NNX cells over one another and at most one nnx.Linear, in nnx.RNN and nnx.Bidirectional or not.

    Args:
      source: a module, or a dict or safetensors file {"layers.0.cell.dense_i.kernel": array}, the paths of a module's
        Params joined by points. Layers are in a dict's order; else in that of their numbers.
      activation: of an nnx.SimpleCell, which its weights do not tell. Its residual=True has no counterpart.

    Returns:
      A model of inputs [T, B, D]. Without an nnx.Linear its outputs are the top layer's h.

    Raises:
      UserError: a tensor is missing, extra or of another shape: file, tensor, shape and what was expected.
    """
    tensors = Tensors(source if not isinstance(source, nnx.Module) else _arrays(source))
    tensors.ordered &= not isinstance(source, nnx.Module)  # attributes come by the alphabet
    last = SEPARATE if any(name.endswith(SEPARATE) for name in tensors) else FUSED
    take = _take_fused if last == FUSED else _take_separate
    layers, width = take_layers(tensors.layers(last), functools.partial(take, tensors))
    readout = take_readout(tensors, "kernel", width)
    tensors.finish(f"{len(layers)} cells")
    return build_model(layers, readout, activation)


def to_flax(
    model: SequenceModel,
    file: str | Path,
    *,
    lstm: Literal["OptimizedLSTMCell", "LSTMCell"] = "OptimizedLSTMCell",
    readout: str | None = "readout",
) -> dict[str, np.ndarray]:
    """Writes a model as a safetensors file of Flax's Params: those of a module with `layers`, an nnx.List of nnx.RNN.

    Names are `layers.0.cell.dense_i.kernel`; in both directions, of nnx.Bidirectional,
    `layers.0.forward_rnn.cell.dense_i.kernel` and `layers.0.backward_rnn...`.

    Args:
      model: with cells of `LSTM`, `GRU` or `VanillaRNN` (its activation is for Flax to say).
      file: its path, replaced whole.
      lstm: the class for an LSTM.
      readout: the name of the nnx.Linear; None leaves it out.

    Returns:
      The arrays as written, by name.

    Raises:
      UserError: the model has something that Flax's cells have not, as a GRU's second bias of n.
    """
    tensors = {}
    for number, layer in enumerate(weights_of(model, "Flax", KINDS)):
        ways = ["cell"] if len(layer) == 1 else ["forward_rnn.cell", "backward_rnn.cell"]
        for way, weights in zip(ways, layer, strict=True):
            if largest := float(np.abs(weights.b_h).max()):
                raise UserError(
                    f"cells[{number}].b: n's bias of h w_h reaches {largest:.3g}; Flax's GRUCell has none there"
                )
            parts = _separate(weights) if (weights.kind, lstm) == (LSTM, "LSTMCell") else _fused(weights)
            tensors |= {f"layers.{number}.{way}.{name}": value for name, value in parts.items()}
    if readout is not None:
        kernel, b = readout_of(model)
        tensors |= {f"{readout}.kernel": kernel} | ({} if b is None else {f"{readout}.bias": b})
    return write_tensors(file, tensors)


def _arrays(module: nnx.Module) -> dict[str, np.ndarray]:
    params = nnx.to_flat_state(nnx.state(module, nnx.Param))
    return {".".join(map(str, path)): np.asarray(value[...]) for path, value in params}


def _take_fused(tensors: Tensors, prefix: str, inputs: int | str) -> Weights:
    name = f"{prefix}{FUSED}"
    features, columns = (*tensors.shape(name, "[H, 4H]"), 0, 0)[:2]
    kind = kind_of(tensors, name, features, columns)
    w_h = tensors.take(name, features, columns)
    w_x = tensors.take(f"{prefix}dense_i.kernel", inputs, columns)
    b = tensors.take(f"{prefix}{_biased(kind)}.bias", columns)
    return Weights(kind, w_x, w_h, b, np.zeros_like(b))


def _fused(weights: Weights) -> dict[str, np.ndarray]:
    return {
        "dense_i.kernel": weights.w_x,
        "dense_h.kernel": weights.w_h,
        f"{_biased(weights.kind)}.bias": weights.b_x,
    }


def _biased(kind: type[CellSpec]) -> str:
    """Which of a cell's two products has the bias."""
    return "dense_h" if kind is LSTM else "dense_i"


def _take_separate(tensors: Tensors, prefix: str, inputs: int | str) -> Weights:
    features = (*tensors.shape(f"{prefix}{SEPARATE}", "[H, H]"), 0)[0]
    w_h = [tensors.take(f"{prefix}h{gate}.kernel", features, features) for gate in GATES]
    w_x = [tensors.take(f"{prefix}{_input(gate)}.kernel", inputs, features) for gate in GATES]
    b = np.concatenate([tensors.take(f"{prefix}h{gate}.bias", features) for gate in GATES])
    return Weights(LSTM, np.concatenate(w_x, axis=1), np.concatenate(w_h, axis=1), b, np.zeros_like(b))


def _separate(weights: Weights) -> dict[str, np.ndarray]:
    parts = {}
    for gate, w_x, w_h, b in zip(GATES, *(np.split(part, 4, axis=-1) for part in weights[1:4]), strict=True):
        parts |= {f"{_input(gate)}.kernel": w_x, f"h{gate}.kernel": w_h, f"h{gate}.bias": b}
    return parts


def _input(gate: str) -> str:
    return "if_" if gate == "f" else f"i{gate}"  # `if` is a word of Python
