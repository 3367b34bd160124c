"""Which mark was opened, many characters of real text ago."""

from __future__ import annotations

import dataclasses
import functools
import math

import chz
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from rnnlab.data import texts
from rnnlab.specs.fields import field
from rnnlab.tasks.base import Batch, Task
from rnnlab.tasks.of_text import OfText
from rnnlab.tasks.text import check_parts, drawn

OPENING = '(["{'
MARKS = "()[]{}\"'\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}\N{LEFT DOUBLE QUOTATION MARK}" \
        "\N{RIGHT DOUBLE QUOTATION MARK}"  # fmt: skip


@chz.chz
class OpenMark(OfText, Task):
    """Say which of four marks, ( [ { or ", opened a passage of d = T - 1 characters of real text.

    A mark is drawn evenly, then come d characters that follow each other in a text whose own brackets and quotation
    marks are left out, so that nothing but the first character tells; it is asked for after the last one. Loss:
    cross-entropy in nats. After Karpathy, Johnson & Fei-Fei 2015, section 4.2, where such marks are what an LSTM keeps
    track of.
    """

    length: int = field(200, "the mark, and d = T - 1 characters of text", low=2)

    @chz.validate
    def _parts_hold_a_sequence(self):
        if self.length >= 2:
            check_parts(self.text, self.length - 1)

    @property
    def text(self) -> texts.Text:
        """The text without marks."""
        return _without_marks(texts.read_text(self.file))

    @property
    def in_features(self) -> int:
        return self.text.size + len(OPENING)

    @property
    def out_features(self) -> int:
        return len(OPENING)

    @property
    def needed_lag(self) -> int:
        """d."""
        return self.length - 1

    @property
    def chance(self) -> float:
        """ln 4: the marks are drawn evenly."""
        return math.log(len(OPENING))

    def sample(self, key: Array, batch_size: int) -> Batch:
        return self._opened(key, self.text.training, batch_size)

    def held_out(self, key: Array, batch_size: int) -> Batch:
        return self._opened(key, self.text.validation, batch_size)

    def _opened(self, key, part, batch_size):
        mark_key, text_key = jax.random.split(key)
        mark = jax.random.randint(mark_key, (1, batch_size), 0, len(OPENING), jnp.int32)
        passage = drawn(text_key, part, self.length - 1, batch_size).inputs
        return Batch(jnp.concatenate([self.text.size + mark, passage]), mark)


@functools.lru_cache(maxsize=4)
def _without_marks(text: texts.Text) -> texts.Text:
    marks = [text.alphabet.index(mark) for mark in MARKS if mark in text.alphabet]
    parts = {part: (own := getattr(text, part))[~np.isin(own, marks)] for part in texts.PARTS}
    counts = {part: f"{len(numbers):,} characters" for part, numbers in parts.items()}
    notes = [*text.card.notes, "its brackets and quotation marks left out"]
    card = text.card._replace(rows=sum(map(len, parts.values())), parts=counts, notes=notes)
    return dataclasses.replace(text, **parts, card=card)
