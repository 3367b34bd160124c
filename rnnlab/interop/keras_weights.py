"""Weights to and from Keras 3's LSTM, GRU and SimpleRNN, by the paths and shapes of a model's weights."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

import numpy as np

from rnnlab.cells import CellSpec
from rnnlab.cells.gru import GRU
from rnnlab.cells.gru_reset_before import GRUResetBefore
from rnnlab.cells.lstm import LSTM
from rnnlab.cells.vanilla_rnn import VanillaRNN
from rnnlab.interop.tensors import Source, Tensors, write_tensors
from rnnlab.interop.weights import (
    Weights,
    build_model,
    check_no_bias,
    kind_of,
    readout_of,
    take_layers,
    take_readout,
    weights_of,
)
from rnnlab.model import SequenceModel

LAYERS = {LSTM: "lstm", GRU: "gru", GRUResetBefore: "gru", VanillaRNN: "simple_rnn"}  # as Keras names them
FIRST = "recurrent_kernel"


def from_keras(
    source: Source, *, activation: Literal["tanh", "relu", "sigmoid", "linear"] = "tanh", reset_after: bool = True
) -> SequenceModel:
    """The model of Keras layers LSTM, GRU or SimpleRNN over one another and at most one Dense after them.

    Paths tell layers and, with Bidirectional (merge_mode="concat"), directions; shapes tell the rest. Both are those
    of Keras's documentation of these layers; gates of a GRU change places from z, r, h.

    Args:
      source: `{w.path: np.asarray(w) for w in model.weights}`, or a safetensors file of it. Layers are in a dict's
        order; in a file, in that of their numbers. Keras itself is not needed.
      activation: of a SimpleRNN, which its weights do not tell. LSTM and GRU have Keras's defaults.
      reset_after: of a GRU with use_bias=False, of which they do not tell it.

    Returns:
      A model of inputs [T, B, D]; Keras's are [B, T, D]. Without a Dense its outputs are the top layer's h.

    Raises:
      UserError: a tensor is missing, extra or of another shape: file, tensor, shape and what was expected.
    """
    tensors = Tensors(source)
    layers, width = take_layers(tensors.layers(FIRST), functools.partial(_take, tensors, reset_after))
    readout = take_readout(tensors, "kernel", width)
    tensors.finish(f"{len(layers)} recurrent layers")
    return build_model(layers, readout, activation)


def to_keras(
    model: SequenceModel, file: str | Path, *, readout: bool = True, bias: bool = True
) -> dict[str, np.ndarray]:
    """Writes a model as a safetensors file of weights in Keras's layout, in the paths of its default names.

    Args:
      model: with cells of `LSTM`, `GRU` (reset_after=True), `GRUResetBefore` (False) or `VanillaRNN` (its activation is
        for Keras to say).
      file: its path, replaced whole.
      readout: False leaves the Dense out.
      bias: False writes none but the Dense's, as for layers with use_bias=False.

    Returns:
      The arrays as written, in Keras's order: `keras_model.set_weights(list(to_keras(model, file).values()))`.

    Raises:
      UserError: the model has something that Keras's layers have not.
    """
    layers = weights_of(model, "Keras", tuple(LAYERS))
    if not bias:
        check_no_bias(layers)
    tensors, count = {}, {"bidirectional": 0, **dict.fromkeys(LAYERS.values(), 0)}
    for layer in layers:
        name = LAYERS[layer[0].kind]
        numbered = _numbered(name, count)
        ways = [numbered]
        if len(layer) == 2:
            parent = _numbered("bidirectional", count)
            ways = [f"{parent}/{way}_{numbered}" for way in ("forward", "backward")]
        for way, weights in zip(ways, layer, strict=True):
            tensors |= {f"{way}/{name}_cell/{part}": value for part, value in _parts(weights, bias).items()}
    if readout:
        kernel, b = readout_of(model)
        tensors |= {"dense/kernel": kernel} | ({} if b is None else {"dense/bias": b})
    return write_tensors(file, tensors)


def _numbered(name: str, count: dict[str, int]) -> str:
    count[name] += 1
    return name if count[name] == 1 else f"{name}_{count[name] - 1}"


def _take(tensors: Tensors, reset_after: bool, prefix: str, inputs: int | str) -> Weights:
    """One direction of one layer."""
    name = f"{prefix}{FIRST}"
    features, columns = (*tensors.shape(name, "[H, 4H]"), 0, 0)[:2]
    kind = kind_of(tensors, name, features, columns)
    w_h = tensors.take(name, features, columns)
    w_x = tensors.take(f"{prefix}kernel", inputs, columns)
    b_x = b_h = np.zeros(columns, w_x.dtype)
    if (name := f"{prefix}bias") in tensors:
        reset_after = len(tensors.shape(name, "")) == 2
        if kind is GRU and reset_after:
            b_x, b_h = tensors.take(name, 2, columns)
        else:
            b_x = tensors.take(name, columns)
    if kind is GRU and not reset_after:
        kind = GRUResetBefore
    return Weights(kind, *(_swapped(part, kind) for part in (w_x, w_h, b_x, b_h)))


def _parts(weights: Weights, bias: bool) -> dict[str, np.ndarray]:
    kind, w_x, w_h, b_x, b_h, _ = weights
    b = np.stack([b_x, b_h]) if kind is GRU else b_x
    parts = {"kernel": w_x, FIRST: w_h} | ({"bias": b} if bias else {})
    return {name: _swapped(part, kind) for name, part in parts.items()}


def _swapped(part: np.ndarray, kind: type[CellSpec]) -> np.ndarray:
    """The first two blocks of a GRU change places: r, u, n here, and u, r, n in Keras, which calls them z, r, h."""
    if kind not in (GRU, GRUResetBefore):
        return part
    r, u, n = np.split(part, 3, axis=-1)
    return np.concatenate([u, r, n], axis=-1)
