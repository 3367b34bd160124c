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
LONGEST, STARTS = 1000, 300  # characters of memory, and places in the text at which it begins anew
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

    Reading begins at `STARTS` places that lie evenly over the test part and what stands before it, and each character
    of the test part that a bin holds counts once, by its mean. So bins that are wider than the places are apart, as in
    Python's manual those beyond 32 are, hold the same characters, and differ by memory alone.
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
        windows = jnp.asarray(stream[at]).astype(jnp.int32)
        nats = cross_entropy(model(windows[:-1]), windows[1:])
        ends = edges(longest)
        cuts = zip([0, *ends[:-1]], ends, strict=True)
        bins = [_mean_over_characters(nats[low:high], at[1:][low:high], len(before), last) for low, high in cuts]
        return {"characters": jnp.asarray(ends), "bits": jnp.stack(bins) / math.log(2)}


def _mean_over_characters(nats: Array, at: np.ndarray, first: int, last: int) -> Array:
    """The mean over the characters from `first` to `last` that stand in `at`, of each one's own mean."""
    there = (at >= first) & (at <= last)
    times = np.bincount(at[there], minlength=int(at.max()) + 1)
    weights = np.where(there, 1 / np.maximum(times[at], 1), 0)
    return jnp.sum(nats * weights.astype(np.float32)) / max(np.count_nonzero(times), 1)


def flow_at_the_end(model: SequenceModel, inputs: Array, losses: Callable, answers: int) -> Mapping[str, LogNorm]:
    """Gradient flow of the loss of the last character alone: by lag, of each component of the top carry.

    The loss of all characters, which training follows, enters at every step, so its adjoint tells of no lag.
    """

    def last(outputs: Float[Array, "1 B K"]) -> Float[Array, " B"]:
        return cross_entropy(outputs, inputs[-1:])[0]

    found = gradient_flow(model, inputs[:-1], last, 1)
    top = f"layer{len(model.cells) - 1}/"
    return {name.removeprefix(top): norm for name, norm in found.items() if name.startswith(top)}
