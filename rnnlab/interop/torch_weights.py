"""Weights to and from PyTorch's nn.LSTM, nn.GRU and nn.RNN, by the names and shapes of their state_dict."""

from __future__ import annotations

import functools
import re
from collections.abc import Set
from pathlib import Path
from typing import Literal

import numpy as np

from rnnlab.cells.gru import GRU
from rnnlab.cells.lstm import LSTM
from rnnlab.cells.projection_lstm import ProjectionLSTM
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
from rnnlab.specs.errors import UserError

FIRST = "weight_ih_l0"
PARAMETER = r"(?P<part>weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)_l(?P<layer>\d+)(?P<suffix>_reverse)?"
SUFFIXES = ("", "_reverse")
KINDS = (LSTM, ProjectionLSTM, GRU, VanillaRNN)


def from_torch(source: Source, *, nonlinearity: Literal["tanh", "relu"] = "tanh") -> SequenceModel:
    """The model of a PyTorch module that holds one nn.LSTM, nn.GRU or nn.RNN and at most one nn.Linear after it.

    Names tell layers and directions, shapes tell the rest; both are those of PyTorch's documentation of these classes.
    PyTorch's two biases are added; n's of a GRU stay apart.

    Args:
      source: a safetensors file, or `module.state_dict()`; names may have any prefix. PyTorch itself is not needed.
      nonlinearity: of an nn.RNN, which its weights do not tell.

    Returns:
      A model of inputs [T, B, D], as with batch_first=False. Without an nn.Linear its outputs are the top layer's h.

    Raises:
      UserError: a tensor is missing, extra or of another shape: file, tensor, shape and what was expected.
    """
    tensors = Tensors(source)
    found = [name for name in tensors if re.search(rf"(^|\.){FIRST}$", name)]
    if len(found) > 1:
        raise tensors.error(f"{' and '.join(found)}: expected one recurrent module; give one's tensors as a dict")
    prefix = found[0].removesuffix(FIRST) if found else ""
    own = [match for name in tensors if (match := re.fullmatch(re.escape(prefix) + PARAMETER, name))]
    last = max((int(match["layer"]) for match in own), default=0)
    suffixes = SUFFIXES if any(match["suffix"] for match in own) else SUFFIXES[:1]
    parts = {match["part"] for match in own}
    ends = [[f"_l{layer}{suffix}" for suffix in suffixes] for layer in range(last + 1)]
    layers, width = take_layers(ends, functools.partial(_take, tensors, prefix, parts))
    readout = take_readout(tensors, "weight", width)
    tensors.finish(f"a {layers[0][0].kind.__name__} of {last + 1} layers")
    return build_model(layers, readout, nonlinearity)


def to_torch(
    model: SequenceModel, file: str | Path, *, rnn: str = "rnn", readout: str | None = "readout", bias: bool = True
) -> dict[str, np.ndarray]:
    """Writes a model as the safetensors file of a PyTorch module: `module.load_state_dict(load_file(file))`.

    rnnlab's one bias becomes bias_ih, bias_hh is 0 (but for n's of a GRU). Layers are of one kind and width.

    Args:
      model: with cells of `LSTM`, `ProjectionLSTM` (proj_size), `GRU` or `VanillaRNN` (tanh or relu, which is for the
        module to say).
      file: its path, replaced whole.
      rnn: the name of the nn.LSTM, nn.GRU or nn.RNN in the module; "" for the bare one.
      readout: the name of the nn.Linear; None leaves it out.
      bias: False writes none, as for a module with bias=False.

    Returns:
      The tensors as written, by name.

    Raises:
      UserError: the model has something that PyTorch's modules have not.
    """
    layers = weights_of(model, "PyTorch", KINDS)
    kinds = {(weights.kind.__name__, *weights.w_h.shape) for layer in layers for weights in layer}
    if len(kinds) > 1:
        told = " and ".join(f"{kind} of {width}" for kind, width, _ in sorted(kinds))
        raise UserError(f"cells: {told}; layers of a PyTorch module are of one kind and width")
    for cell in model.cells:
        if (activation := getattr(cell, "activation", "tanh")) not in ("tanh", "relu"):
            raise UserError(f"activation={activation}: an nn.RNN has tanh or relu")
    if not bias:
        check_no_bias(layers)
    tensors = {}
    for number, layer in enumerate(layers):
        for suffix, weights in zip(SUFFIXES, layer, strict=False):
            end = f"_l{number}{suffix}"
            parts = {"weight_ih": weights.w_x.T, "weight_hh": weights.w_h.T}
            if bias:
                parts |= {"bias_ih": weights.b_x, "bias_hh": weights.b_h}
            if weights.w_r is not None:
                parts["weight_hr"] = weights.w_r.T
            tensors |= {f"{rnn}.{name}{end}".removeprefix("."): value for name, value in parts.items()}
    if readout is not None:
        kernel, b = readout_of(model)
        tensors[f"{readout}.weight"] = kernel.T
        if b is not None:
            tensors[f"{readout}.bias"] = b
    return write_tensors(file, tensors, format="pt")


def _take(tensors: Tensors, prefix: str, parts: Set[str], end: str, inputs: int | str) -> Weights:
    """One direction of one layer, `end` as in _l0_reverse; `parts` are those that the module has."""
    name = f"{prefix}weight_hh{end}"
    rows, features = (*tensors.shape(name, "[4H, H], [3H, H] or [H, H]"), 0, 0)[:2]
    if "weight_hr" in parts:
        projection = f"{prefix}weight_hr{end}"
        cells = (*tensors.shape(projection, f"[{features}, H]"), 0, 0)[1]
        kind, rows, w_r = ProjectionLSTM, 4 * cells, tensors.take(projection, features, cells).T
    else:
        kind, w_r = kind_of(tensors, name, features, rows), None
    w_h = tensors.take(name, rows, features).T
    w_x = tensors.take(f"{prefix}weight_ih{end}", rows, inputs).T
    biases = [np.zeros(rows, w_x.dtype)] * 2
    if {"bias_ih", "bias_hh"} & parts:
        biases = [tensors.take(f"{prefix}{part}{end}", rows) for part in ("bias_ih", "bias_hh")]
    return Weights(kind, w_x, w_h, *biases, w_r)
