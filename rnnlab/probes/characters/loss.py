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
LONGEST, TARGETS = 1000, 500  # characters read before each character of so many, at most
HALF_DECADES = 10 ** np.arange(0, 3.5, 0.5)


def half_decades(longest: int) -> list[int]:
    """Numbers of characters read, in half decades: 1, 3, 10, 32, ... up to the longest."""
    return [round(float(count)) for count in HALF_DECADES if round(count) < longest] + [longest]


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
    """Bits a character by exactly how many characters were read before it from a zero carry: 1, 3, 10, ..., 1,000.

    At every number they are the same `TARGETS` characters, evenly over the test part, so nothing but memory differs.
    """

    task: Text

    def __call__(self, model: SequenceModel, inputs: Array, losses: Callable, answers: int) -> Mapping[str, Array]:
        text = self.task.text
        longest = min(LONGEST, len(text.validation))
        stream = np.concatenate([text.validation[-longest:], text.test])
        at = np.unique(np.linspace(longest, len(stream) - 1, TARGETS).round().astype(int))
        read = half_decades(longest)
        means = [self._mean(model, stream, at, count) for count in read]
        return {"characters": jnp.asarray(read), "bits": jnp.stack(means) / math.log(2)}

    def _mean(self, model: SequenceModel, stream: np.ndarray, at: np.ndarray, count: int) -> Float[Array, ""]:
        """The mean loss, in nats, of the characters that stand at `at`, of which the `count` before each are read."""
        windows = jnp.asarray(stream[at + np.arange(-count, 0)[:, None]]).astype(jnp.int32)
        targets = jnp.asarray(stream[at]).astype(jnp.int32)
        return jnp.mean(cross_entropy(model(windows, answers=1), targets[None]))


def flow_at_the_end(model: SequenceModel, inputs: Array, losses: Callable, answers: int) -> Mapping[str, LogNorm]:
    """Gradient flow of the loss of the last character alone: by lag, of each component of the top carry.

    The loss of all characters, which training follows, enters at every step, so its adjoint tells of no lag.
    """

    def last(outputs: Float[Array, "1 B K"]) -> Float[Array, " B"]:
        return cross_entropy(outputs, inputs[-1:])[0]

    found = gradient_flow(model, inputs[:-1], last, 1)
    top = f"layer{len(model.cells) - 1}/"
    return {name.removeprefix(top): norm for name, norm in found.items() if name.startswith(top)}
