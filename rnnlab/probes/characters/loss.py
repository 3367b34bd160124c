"""The loss of a character language model on the test part: in full, and by how many characters it has read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.extended_range import LogNorm
from rnnlab.probes.gradients.flow import gradient_flow
from rnnlab.tasks.base import cross_entropy
from rnnlab.tasks.text import Text

ROW = 2000  # characters at least, that are read from a zero carry on
ROWS = 64  # read side by side, at most
CHUNK = 1000  # characters between which the carry is handed on, so that their outputs fit into memory
LONGEST, STARTS = 1000, 256  # characters of memory, and places in the text at which it begins anew
HALF_DECADES = 10 ** np.arange(0, 3.5, 0.5)


def edges(longest: int) -> list[int]:
    """Numbers of characters read, in half decades: 1, 3, 10, 32, ... up to the longest."""
    return [round(float(edge)) for edge in HALF_DECADES if round(edge) < longest] + [longest]


@dataclasses.dataclass(frozen=True)
class TestLoss:
    """Bits a character of the whole test part, every character predicted once, the carry handed on."""

    __test__ = False  # no test, whatever pytest takes it for
    task: Text

    def __call__(self, model: SequenceModel, inputs: Array, losses: Callable, answers: int) -> Mapping[str, Array]:
        text = self.task.text
        stream = np.concatenate([text.validation[-1:], text.test])
        rows = int(np.clip(len(text.test) // ROW, 1, ROWS))
        chunks = math.ceil(len(text.test) / rows / CHUNK)
        chunk = math.ceil(len(text.test) / rows / chunks)
        wide = np.zeros(rows * chunks * chunk + 1, stream.dtype)
        wide[: len(stream)] = stream

        def cut(part):
            return jnp.asarray(part.reshape(rows, chunks, chunk).transpose(1, 2, 0))

        counts = np.arange(len(wide) - 1) < len(text.test)

        def step(carry, of):
            read, targets, there = of
            outputs, carry = model(read.astype(jnp.int32), carry=carry, return_carry=True)
            return carry, jnp.sum(jnp.where(there, cross_entropy(outputs, targets.astype(jnp.int32)), 0))

        found = jax.lax.scan(step, model.initial_carry(rows), (cut(wide[:-1]), cut(wide[1:]), cut(counts)))[1]
        return {"bits": jnp.sum(found) / len(text.test) / math.log(2)}


@dataclasses.dataclass(frozen=True)
class LossByMemory:
    """Bits a character of the test part by the number of characters that were read since a zero carry, in bins.

    Reading begins at `STARTS` places that lie evenly over the test part and what stands before it, and only characters
    of the test part count: so every bin holds characters from all over it, and no bin those of an end alone.
    """

    task: Text

    def __call__(self, model: SequenceModel, inputs: Array, losses: Callable, answers: int) -> Mapping[str, Array]:
        text = self.task.text
        longest = min(LONGEST, len(text.test) - 1)
        before = text.validation[-longest:]
        stream = np.concatenate([before, text.test, np.zeros(longest, text.test.dtype)])
        last = len(before) + len(text.test) - 1
        starts = np.unique(np.linspace(0, last - 1, STARTS).round().astype(int))
        at = starts + np.arange(longest + 1)[:, None]
        counts = jnp.asarray((at[1:] >= len(before)) & (at[1:] <= last))
        windows = jnp.asarray(stream[at]).astype(jnp.int32)
        nats = jnp.where(counts, cross_entropy(model(windows[:-1]), windows[1:]), 0)
        ends = edges(longest)
        cuts = list(zip([0, *ends[:-1]], ends, strict=True))
        bins = [jnp.sum(nats[low:high]) / jnp.maximum(jnp.sum(counts[low:high]), 1) / math.log(2) for low, high in cuts]
        return {"characters": jnp.asarray(ends), "bits": jnp.stack(bins)}


def flow_at_the_end(model: SequenceModel, inputs: Array, losses: Callable, answers: int) -> Mapping[str, LogNorm]:
    """Gradient flow of the loss of the last character alone: by lag, of each component of the top carry.

    The loss of all characters, which training follows, enters at every step, so its adjoint tells of no lag.
    """

    def last(outputs: Float[Array, "1 B K"]) -> Float[Array, " B"]:
        return cross_entropy(outputs, inputs[-1:])[0]

    found = gradient_flow(model, inputs[:-1], last, 1)
    top = f"layer{len(model.cells) - 1}/"
    return {name.removeprefix(top): norm for name, norm in found.items() if name.startswith(top)}
