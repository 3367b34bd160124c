"""A trained model as one file that JAX alone runs, at any length and batch size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.export import deserialize, symbolic_shape
from jax.export import export as export_program
from jaxtyping import Array, Float, Num

from rnnlab.interop.tensors import needs
from rnnlab.model import EncoderDecoder, SequenceModel
from rnnlab.model.layer import both_ends
from rnnlab.runs.files import write_whole
from rnnlab.specs.errors import UserError


def export(
    model: SequenceModel,
    file: str | Path,
    *,
    answers: int | None = None,
    tokens: bool | None = None,
    platforms: Sequence[str] | None = None,
) -> None:
    """Writes a model with its weights as one program of `jax.export`, for every T and B, without training's noise.

    Args:
      model: of any cells.
      file: its path, replaced whole: the bytes of `jax.export.Exported.serialize`.
      answers: N, where only outputs at the last N steps are wanted; T is then at least N. Left out: all.
      tokens: whether its inputs are tokens [T, B] of int32, or numbers [T, B, D] of the readout's dtype. Left out,
        tokens where the model has an embedding.
      platforms: that it is to run on, as in ("cpu", "cuda"); left out, the one of this process.

    Raises:
      UserError: the package flatbuffers is missing, or the model is an encoder with a decoder.
    """
    if isinstance(model, EncoderDecoder):
        raise UserError(f"{file}: an encoder with a decoder is no program of one input; rnnlab.load gives it")
    needs("flatbuffers", file)
    length, batch = symbolic_shape("T, B", constraints=[f"T >= {answers or 1}", "B >= 1"])
    counted = model.embedding is not None if tokens is None else tokens
    numbers = jax.ShapeDtypeStruct((length, batch, model.in_features), model.readout.dtype)
    inputs = jax.ShapeDtypeStruct((length, batch), jnp.int32) if counted else numbers
    program = export_program(jax.jit(lambda inputs: outputs(model, inputs, answers)), platforms=platforms)(inputs)
    write_whole(Path(file), bytes(program.serialize()))


def load_exported(file: str | Path) -> Callable[[Num[Array, "T B *D"]], Float[Array, "N B K"]]:
    """The function [T, B, D] -> [N, B, K] that `export` wrote. It needs none of rnnlab's classes.

    Raises:
      UserError: there is no such file, it is none of `export`'s, or the package flatbuffers is missing.
    """
    needs("flatbuffers", file)
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from error
    try:
        program = deserialize(bytearray(data))
    except Exception as error:  # flatbuffers tells damage by whatever its reading stumbles on
        told = " ".join(str(error).split())
        raise UserError(f"{file}: no exported program ({type(error).__name__}: {told})") from error
    least, asked = program.out_avals[0].shape[0], program.in_avals[0]

    def run(inputs):
        if (inputs.ndim, inputs.dtype) != (asked.ndim, asked.dtype):
            got, wanted = (f"{of.dtype}{list(map(str, of.shape))}".replace("'", "") for of in (inputs, asked))
            raise UserError(f"{file}: inputs are {got}, where {wanted} is needed; see tokens= of rnnlab.export")
        if isinstance(least, int) and len(inputs) < least:
            raise UserError(f"{file}: {len(inputs)} steps, where it gives outputs at the last {least}")
        return program.call(inputs)

    return jax.jit(run)


def outputs(model: SequenceModel, inputs: Num[Array, "T B *D"], answers: int | None) -> Float[Array, "N B K"]:
    """`model(inputs, answers=answers)` without a choice by shape, so that T and B may be symbols."""
    batch = inputs.shape[1]
    carries = jax.tree.map(lambda c: jnp.broadcast_to(c, (batch, *c.shape[1:])), model.initial_carry(1))
    if model.bidirectional:
        return _in_both_directions(model, carries, inputs, answers)
    if answers is not None:
        silent = inputs.shape[0] - answers  # which may be 0: a scan asks for 1 step or more
        carries = jax.lax.fori_loop(0, silent, lambda t, carry: model.step(carry, inputs[t])[0], carries)
        inputs = inputs[-answers:]
    _, ys = jax.lax.scan(model.step, carries, inputs)
    return model.outputs(ys)


def _in_both_directions(model, carries, inputs, answers):
    ys = model.embed(inputs)
    for layer, (cell, second, (one, two)) in enumerate(zip(model.cells, model.backward_cells, carries, strict=True)):
        below = ys
        xs = model.read(layer, below)
        _, forward = jax.lax.scan(cell, one, xs)
        _, backward = jax.lax.scan(second, two, xs, reverse=True)
        ys = jnp.concatenate([forward, backward], axis=-1)
        ys = ys + below if model.residual and layer else ys
    return model.outputs(ys if answers is None else both_ends(ys, None, None, answers))
