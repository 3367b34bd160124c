"""The adding problem exactly as published in 1997."""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal, NamedTuple

import chz
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rnnlab.specs.fields import field
from rnnlab.tasks.base import Batch, Task

EARLY = 10  # pairs among which the first marker is drawn
LEAST = 2 * (EARLY + 1)  # T: the second marker's T/2 - 1 pairs hold the first one's
TESTS = 2560  # test sequences


class Sequence(NamedTuple):
    """One sequence, padded in front to L steps: those before `start` are no part of it."""

    inputs: Float[Array, "L D"]
    start: Int[Array, ""]
    targets: Float[Array, "1 K"]


@chz.chz
class Adding1997(Task):
    """Add the two marked values of a sequence of T to 1.1 T pairs (value in U[-1, 1], marker), T = shortest.

    Marker 1: one of the first ten pairs (its value is X1), and one of the first T/2 - 1 that is not marked yet (X2).
    Marker -1: the first and the last pair; 0 all others. Where the first pair is drawn for a marker, that marker is 1
    and its value 0, in the input and in the sum. Asked at the end for .5 + (X1 + X2) / 4; an answer is right within
    .04. Hochreiter & Schmidhuber 1997, section 5.4; 2,560 test sequences.

    loss=squared is half the squared error, so that a step of size lr moves a linear output by lr times its error;
    loss=entropy is the cross-entropy of a logistic output, whose error is not multiplied by the unit's slope.

    `length` is that of the longest sequence. In a batch shorter ones are padded in front with blank pairs, which the
    network reads; `sequence` gives the step where the padding ends, at which `rnnlab.training.online` starts.
    """

    length: int = field(110, "longest sequence, in steps: 1.1 T", low=1)
    varied: float = field(0.1, "how much longer than the shortest the longest sequence is, as a fraction", low=0)
    output: Literal["linear", "logistic"] = chz.field(default="logistic", doc="activation of the output unit")
    loss: Literal["squared", "entropy"] = chz.field(default="squared", doc="error function of the output unit")
    tolerance: float = field(0.04, "an answer is right within this", above=0)

    @chz.validate
    def _markers_fit(self):
        if self.length >= 1 and self.shortest < LEAST:
            fits = next(n for n in itertools.count(LEAST) if _shortest(n, self.varied) >= LEAST)
            raise ValueError(f"length={self.length}: T = {self.shortest} leaves the markers no room; at least {fits}")

    @chz.validate
    def _entropy_of_what(self):
        if self.loss == "entropy" and self.output != "logistic":
            raise ValueError(f"loss=entropy: only with output=logistic, not {self.output}")

    @property
    def shortest(self) -> int:
        """T."""
        return _shortest(self.length, self.varied)

    @property
    def in_features(self) -> int:
        return 2

    @property
    def out_features(self) -> int:
        return 1

    @property
    def needed_lag(self) -> int:
        """From the last position that the second marker may have, in the shortest sequence."""
        return self.shortest - (self.shortest // 2 - 1)

    @property
    def chance(self) -> float:
        """Half the variance of the target: X1 + X2 has 1/3 for each but for the first pair's share of the draws."""
        return math.log(2) if self.loss == "entropy" else (2 - self._first_pair()) / 3 / 16 / 2

    @property
    def chance_error(self) -> float:
        """Mean absolute error of the answer .5: E|X1 + X2| / 4, 2/3 for two values and 1/2 for one."""
        one = self._first_pair()
        return ((1 - one) * 2 / 3 + one / 2) / 4

    def _first_pair(self) -> float:
        """How often a marker falls on the first pair, which has no value then."""
        first = 1 / EARLY
        return first + (1 - first) / (self.shortest // 2 - 2)

    def sequence(self, key: Array) -> Sequence:
        """One sequence of random length."""
        keys = jax.random.split(key, 4)
        length = jax.random.randint(keys[0], (), self.shortest, self.length + 1, jnp.int32)
        start = self.length - length
        values = jax.random.uniform(keys[1], (self.length,), jnp.float32, -1, 1)
        one = jax.random.randint(keys[2], (), 0, EARLY, jnp.int32)
        two = jax.random.randint(keys[3], (), 0, self.shortest // 2 - 2, jnp.int32)
        two = two + (two >= one)  # one of the pairs that are not marked yet
        at = jnp.arange(self.length) - start
        marked = (at == one) | (at == two)
        values = jnp.where((at < 0) | (marked & (at == 0)), 0.0, values)
        markers = jnp.where(marked, 1.0, jnp.where((at == 0) | (at == length - 1), -1.0, 0.0)).astype(values.dtype)
        target = 0.5 + jnp.sum(jnp.where(marked, values, 0.0)) / 4
        return Sequence(jnp.stack([values, markers], axis=-1), start, target[None, None])

    def sample(self, key: Array, batch_size: int) -> Batch:
        found = jax.vmap(self.sequence, out_axes=Sequence(1, 0, 1))(jax.random.split(key, batch_size))
        return Batch(found.inputs, found.targets)

    def answer(self, outputs: Float[Array, "N B K"]) -> Float[Array, "N B K"]:
        """The activation of the output unit."""
        return jax.nn.sigmoid(outputs) if self.output == "logistic" else outputs

    def losses(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        if self.loss == "entropy":
            return jnp.mean(jax.nn.softplus(outputs) - batch.targets * outputs, axis=(0, 2))
        return jnp.mean(jnp.square(self.answer(outputs) - batch.targets), axis=(0, 2)) / 2

    def right(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        within = jnp.abs(self.answer(outputs) - batch.targets) < self.tolerance
        return jnp.mean(within.astype(outputs.dtype), axis=(0, 2))

    def metrics(self, outputs: Float[Array, "N B K"], batch: Batch) -> dict[str, Any]:
        error = jnp.mean(jnp.abs(self.answer(outputs) - batch.targets))
        return super().metrics(outputs, batch) | {"absolute_error": error}

    @property
    def solved_accuracy(self) -> float:
        """No more than one in 2,000 wrong, as the paper's rule asks of the latest 2,000 training sequences."""
        return 1 - 1 / 2000


def _shortest(length: int, varied: float) -> int:
    return round(length / (1 + varied))
