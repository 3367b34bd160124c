"""The weights of cells that other frameworks have too, and models made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnnlab.cells import CellSpec
from rnnlab.cells.gru import GRU, GRUCell
from rnnlab.cells.gru_reset_before import GRUResetBefore, GRUResetBeforeCell
from rnnlab.cells.lstm import LSTM, LSTMCell
from rnnlab.cells.projection_lstm import ProjectionLSTM, ProjectionLSTMCell
from rnnlab.cells.vanilla_rnn import VanillaRNN, VanillaRNNCell
from rnnlab.interop.tensors import Tensors
from rnnlab.model import SequenceModel
from rnnlab.specs.errors import UserError

BLOCKS: dict[int, type[CellSpec]] = {4: LSTM, 3: GRU, 1: VanillaRNN}  # by their number of H x H blocks
KINDS: dict[type, type[CellSpec]] = {  # exactly these cells: a subclass may compute otherwise
    LSTMCell: LSTM,
    ProjectionLSTMCell: ProjectionLSTM,
    GRUCell: GRU,
    GRUResetBeforeCell: GRUResetBefore,
    VanillaRNNCell: VanillaRNN,
}
PARTS = ("cells", "backward_cells", "readout")  # of a model, that other frameworks have


class Weights(NamedTuple):
    """One cell: w_x [D, Z], w_h [H, Z], and the biases [Z] of the two products.

    Columns by i, f, g, o of an LSTM (Z = 4H), by r, u, n of a GRU (Z = 3H), or a vanilla RNN's own (Z = H). An LSTM of
    N cells whose outputs are projected to H has Z = 4N and w_r [N, H].
    """

    kind: type[CellSpec]
    w_x: np.ndarray
    w_h: np.ndarray
    b_x: np.ndarray
    b_h: np.ndarray
    w_r: np.ndarray | None = None


class Readout(NamedTuple):
    """A linear layer: kernel [H, K], bias [K]."""

    kernel: np.ndarray
    bias: np.ndarray | None


def kind_of(tensors: Tensors, name: str, features: int, columns: int) -> type[CellSpec]:
    """The kind of a cell, which the shape of its recurrent weight `name` tells."""
    if not features or columns % features or columns // features not in BLOCKS:
        shape = list(tensors.shape(name, ""))
        raise tensors.error(f"{name} has shape {shape}; expected 4 (LSTM), 3 (GRU) or 1 (RNN) blocks of H x H")
    return BLOCKS[columns // features]


def build_model(layers: Sequence[Sequence[Weights]], readout: Readout | None, activation: str) -> SequenceModel:
    """A model of these cells: each layer's one, or two, the forward direction's before the other.

    Without a readout it gets the identity as one: its outputs are the h of the top layer.
    """
    wide = layers[0][0].w_x.dtype == np.float64 and jax.config.jax_enable_x64
    dtype = "float64" if wide else "float32"
    top = layers[-1]
    if readout is None:
        readout = Readout(np.eye(sum(len(weights.w_h) for weights in top)), None)
    both = {"bidirectional": True} if len(top) == 2 else {}
    widths = len(layers[0][0].w_x), readout.kernel.shape[1]
    spec = _spec(top[0], activation, dtype)
    model = _undrawn(SequenceModel, spec, *widths, layers=len(layers), **both)
    for number, layer in enumerate(layers):
        for cells, weights in zip(_directions(model), layer, strict=True):
            cells[number] = _undrawn(_spec(weights, activation, dtype).build, len(weights.w_x))
            _set(cells[number], dtype, **_parameters(weights))
    bias = np.zeros(widths[1]) if readout.bias is None else readout.bias
    _set(model.readout, dtype, kernel=readout.kernel, bias=bias)
    return model


def weights_of(model: SequenceModel, framework: str, kinds: Sequence[type[CellSpec]]) -> list[list[Weights]]:
    """A model's weights layer by layer, as `build_model` takes them; `kinds` are those that the framework has.

    Raises:
      UserError: the model has a part, or a cell, that the framework has not.
    """
    if getattr(model, "residual", False):
        raise UserError(f"residual=True has no counterpart in {framework}")
    for path, value in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        if path[0] not in PARTS:
            raise UserError(f"{'.'.join(map(str, path))} {list(value.shape)} has no counterpart in {framework}")
    layers = enumerate(zip(*_directions(model), strict=True))
    return [[_weights(cell, f"cells[{number}]", framework, kinds) for cell in layer] for number, layer in layers]


def readout_of(model: SequenceModel) -> Readout:
    """A model's own."""
    kernel, bias = model.readout.kernel, model.readout.bias
    return Readout(np.asarray(kernel[...]), None if bias is None else np.asarray(bias[...]))


def take_layers(
    layers: Iterable[Sequence[str]], take: Callable[[str, int | str], Weights]
) -> tuple[list[list[Weights]], int]:
    """Layer by layer what `take(name, width of the layer below)` gives, and the width of the top one."""
    taken, width = [], "D"
    for layer in layers:
        taken.append([take(name, width) for name in layer])
        width = sum(len(weights.w_h) for weights in taken[-1])
    return taken, width


def take_readout(tensors: Tensors, name: str, width: int) -> Readout | None:
    """The one linear layer that is left, if there is one: "kernel" is [H, K], and PyTorch's "weight" [K, H]."""
    prefix = tensors.only(name)
    if prefix is None:
        return None
    sizes = ("K", width) if name == "weight" else (width, "K")
    kernel = tensors.take(f"{prefix}{name}", *sizes)
    kernel = kernel.T if name == "weight" else kernel
    return Readout(kernel, tensors.take(f"{prefix}bias", kernel.shape[1]) if f"{prefix}bias" in tensors else None)


def check_no_bias(layers: Sequence[Sequence[Weights]]) -> None:
    """Raises UserError where biases are not 0 and none are to be written."""
    largest = max(float(np.abs(b).max()) for layer in layers for weights in layer for b in (weights.b_x, weights.b_h))
    if largest:
        raise UserError(f"bias=False: this model has biases, up to {largest:.3g}, that would be lost")


def _undrawn(build: Callable[..., nnx.Module], *args: Any, **options: Any) -> nnx.Module:
    """A module whose Params have shapes and no values."""
    return jax.eval_shape(lambda: build(*args, **options, rngs=nnx.Rngs(0)))


def _set(module: nnx.Module, dtype: str, **values: np.ndarray) -> None:
    for name, value in values.items():
        setattr(module, name, nnx.Param(jnp.asarray(value, dtype)))


def _directions(model: SequenceModel) -> list[Any]:
    backward = getattr(model, "backward_cells", ())
    return [model.cells, backward] if len(backward) else [model.cells]


def _spec(weights: Weights, activation: str, dtype: str):
    options: dict[str, Any] = {"features": len(weights.w_h), "dtype": dtype, "param_dtype": dtype}
    if weights.kind is VanillaRNN:
        options["activation"] = activation
    if weights.w_r is not None:
        options["cells"] = len(weights.w_r)
    return weights.kind(**options)


def _parameters(weights: Weights) -> dict[str, np.ndarray]:
    """By the names of a cell's own: a GRU alone keeps n's two biases apart."""
    kind, w_x, w_h, b_x, b_h, w_r = weights
    b = b_x + b_h
    if kind is GRU:
        gates = 2 * len(w_h)
        b = np.concatenate([b[:gates], b_x[gates:], b_h[gates:]])
    return {"w_x": w_x, "w_h": w_h, "b": b} | ({} if w_r is None else {"w_r": w_r})


def _weights(cell: nnx.Module, name: str, framework: str, kinds: Sequence[type[CellSpec]]) -> Weights:
    kind = KINDS.get(type(cell))
    if kind is None or kind not in kinds:
        known = ", ".join(kind.__name__ for kind in kinds)
        raise UserError(f"{name}: a {type(cell).__name__} has no counterpart in {framework}; these specs have: {known}")
    w_x, w_h, b_x = (np.asarray(part[...]) for part in (cell.w_x, cell.w_h, cell.b))
    b_h = np.zeros(w_h.shape[1], b_x.dtype)
    if kind is GRU:
        gates = 2 * cell.features
        b_h[gates:] = b_x[gates + cell.features :]
        b_x = b_x[: gates + cell.features]
    return Weights(kind, w_x, w_h, b_x, b_h, np.asarray(cell.w_r[...]) if kind is ProjectionLSTM else None)
