"""Translation of sentences from one language into another."""

from __future__ import annotations

import functools
from typing import Any

import chz
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rnnlab.data import pairs, sentence_files
from rnnlab.data.card import DataCard
from rnnlab.data.number_words import number_words
from rnnlab.data.tokens import Units
from rnnlab.specs.fields import field
from rnnlab.tasks.base import Batch, Task, cross_entropy, mean_over_answers
from rnnlab.translation.baselines import baselines
from rnnlab.translation.writable import writable


@chz.chz
class Translation(Task):
    """Write the target sentence of a source: number words, or a file of pairs. Sutskever, Vinyals & Le 2014, section 2.

    Inputs are tokens [S + N, B]: the source, padding behind it; then what the decoder reads, the sign to begin and the
    target so far. Answers: the target and the sign to end. Loss: the mean cross-entropy over them, in nats.

    A sentence is right where all its answers are, which is where the greedy translation is exactly the target: at the
    first step both read the same, and while both have been right so far the next step does. So `accuracy` is the exact
    match of greedy decoding, in one pass. A target with a word that training does not have cannot be written.
    """

    length: int = field(48, "S + N tokens: of the source, and of the target with its sign to end", low=4)
    source_length: int | None = field(None, "S, the tokens of the longest source; None: half of the length", low=1)
    source: str = chz.field(default="en", doc="number words: the language that is read, as num2words names it")
    target: str = chz.field(default="es", doc="number words: the language that is written")
    numbers: int = field(10**9, "number words: of numbers below it", low=100)
    size: int = field(20_000, "number words: how many different numbers", low=100)
    pairs: str | None = chz.field(
        default=None, doc="a file of pairs in their place: source TAB target a line, as Tatoeba exports them"
    )
    units: Units = chz.field(default="words", doc="what a token is")
    fewest: int = field(2, "times that a token must occur in the training part, or it is read as unknown", low=1)

    @chz.validate
    def _holds_pairs(self):
        if self.source_length is not None and self.source_length > self.length - 2:
            raise ValueError(f"source_length={self.source_length}: at most length - 2 = {self.length - 2}")
        if self.pairs is None and self.source == self.target:
            raise ValueError(f"source={self.source} target={self.target}: both are one language")
        self.data  # noqa: B018  reads and checks it

    @property
    def source_steps(self) -> int:
        return self.source_length or self.length // 2

    @property
    def data(self) -> pairs.Pairs:
        """Its sentences."""
        options = (self.units, (self.source_steps, self.answers), self.fewest)
        if self.pairs is not None:
            return sentence_files.read_pairs(self.pairs, *options)
        return _numbers(self.source, self.target, self.numbers, self.size, *options)

    @property
    def files(self) -> tuple[str, ...]:
        return () if self.pairs is None else (self.pairs,)

    @property
    def card(self) -> DataCard:
        return self.data.card

    @property
    def in_features(self) -> int:
        return self.data.size

    @property
    def out_features(self) -> int:
        return self.data.outputs

    @property
    def answers(self) -> int:
        return self.length - self.source_steps

    @property
    def chance(self) -> float:
        """The loss of the frequencies of target tokens in the training part (one more of each), validation part."""
        parts = self.data.parts
        counts = np.bincount(parts["training"].target.ravel(), minlength=self.out_features) + 1.0
        counts[[pairs.PADDING, pairs.BEGIN]] = 0
        held = parts["validation"].target
        with np.errstate(divide="ignore"):
            loss = np.where(held == pairs.PADDING, 0, -np.log(counts / counts.sum())[held])
        return float(np.mean(loss.sum(axis=1) / np.sum(held != pairs.PADDING, axis=1)))

    def baselines(self) -> dict[str, Any]:
        """The tested sentences, and what a copy, the most frequent target and a dictionary make of them."""
        return baselines(self.data)

    def sample(self, key: Array, batch_size: int) -> Batch:
        return self._drawn(key, "training", batch_size)

    def held_out(self, key: Array, batch_size: int) -> Batch:
        return self._drawn(key, "validation", batch_size)

    def _drawn(self, key, part, batch_size):
        found = self.data.parts[part]
        which = jax.random.randint(key, (batch_size,), 0, len(found.source), jnp.int32)
        return batch_of(*(jnp.asarray(side)[which].astype(jnp.int32).T for side in found))

    def losses(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        return mean_over_answers(cross_entropy(outputs, batch.targets), batch)

    def right(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        """1 where all answers of a sentence are right, else 0."""
        right = jnp.argmax(writable(outputs), -1) == batch.targets
        return jnp.all(right | ~batch.mask, axis=0).astype(outputs.dtype)

    @property
    def has_stop_rule(self) -> bool:
        """Of sentences of a user's own nothing says when they are learned."""
        return self.pairs is None


def batch_of(source: Array, target: Array) -> Batch:
    """Tokens [S, B] and [N, B], the target with its sign to end, as a batch with teacher forcing."""
    begin = jnp.full_like(target[:1], pairs.BEGIN)
    before = jnp.where(target == pairs.END, pairs.PADDING, target)[:-1]
    inputs = jnp.concatenate([source, begin, before])
    return Batch(inputs, target, mask=target != pairs.PADDING)


@functools.lru_cache(maxsize=8)
def _numbers(source, target, below, count, units, steps, fewest) -> pairs.Pairs:
    found, sha256 = number_words(source, target, below, count)
    about = {
        "name": f"number words, {source} to {target}",
        "source": f"num2words, numbers below {below:,}",
        "licence": "num2words: LGPL; its words are no work",
    }
    notes = ["split by a hash of the source: no held-out number is seen in training"]
    return pairs.made(about, found, units=units, steps=steps, fewest=fewest, sha256=sha256, notes=notes)
