"""A character language model's task: the next character of a text."""

from __future__ import annotations

import math
from typing import Any

import chz
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rnnlab.data import texts
from rnnlab.data.ngrams import compressed_bits, ngram_probabilities
from rnnlab.specs.errors import UserError
from rnnlab.specs.fields import field
from rnnlab.tasks.base import Batch, Task
from rnnlab.tasks.of_text import OfText

ORDERS = 6  # of the n-gram models


@chz.chz
class Text(OfText, Task):
    """Predict each next character of a text, of which T are read. Mikolov et al. 2012; Graves 2013, section 3.

    Loss: cross-entropy over all T characters, in nats. A training sequence begins anywhere in the training part;
    held-out ones are of the validation part. The test part is read by nothing but probes and baselines.
    """

    length: int = field(200, "characters of a sequence", low=1)

    @chz.validate
    def _parts_hold_a_sequence(self):
        check_parts(self.text, self.length)

    @property
    def in_features(self) -> int:
        return self.text.size

    @property
    def out_features(self) -> int:
        return self.text.size

    @property
    def answers(self) -> int:
        return self.length

    @property
    def chance(self) -> float:
        """The entropy of the validation part's characters under their training frequencies (one more of each)."""
        text = self.text
        counts = np.bincount(text.training, minlength=text.size) + 1.0
        return float(-np.mean(np.log(counts / counts.sum())[text.validation]))

    def baselines(self) -> dict[str, Any]:
        """Bits a character of the test part: {"n-grams": by order from 1, "gzip": ..., "xz": ...}."""
        text = self.text
        p = ngram_probabilities(text.training, text.validation, text.test, text.size, ORDERS)
        parts = [text.decode(part).encode() for part in (text.training, text.test)]
        return {"n-grams": np.mean(-np.log2(p), axis=1).tolist()} | compressed_bits(*parts, len(text.test))

    def sample(self, key: Array, batch_size: int) -> Batch:
        return drawn(key, self.text.training, self.length, batch_size)

    def held_out(self, key: Array, batch_size: int) -> Batch:
        return drawn(key, self.text.validation, self.length, batch_size)

    def metrics(self, outputs: Float[Array, "N B K"], batch: Batch) -> dict[str, Any]:
        found = super().metrics(outputs, batch)
        return found | {"bits_per_character": found["loss"] / math.log(2)}

    @property
    def has_stop_rule(self) -> bool:
        return False


def check_parts(text: texts.Text, length: int) -> None:
    """Raises UserError where a part that sequences are drawn from does not hold one and the character after it."""
    for part in ("training", "validation"):
        if (most := len(getattr(text, part)) - 1) < length:
            fits = f"at most {most:,}" if most > 0 else "the text is too short"
            raise UserError(f"length={length}: the {part} part of {text.name} has {most + 1:,} characters; {fits}")
    if not len(text.test):
        raise UserError(f"length={length}: the test part of {text.name} has no character; the text is too short")


def drawn(key: Array, part: np.ndarray, length: int, batch_size: int) -> Batch:
    """Sequences that begin anywhere in a part, and for each of their characters the one after it."""
    starts = jax.random.randint(key, (batch_size,), 0, len(part) - length, jnp.int32)
    found = jnp.asarray(part)[starts + jnp.arange(length + 1, dtype=jnp.int32)[:, None]].astype(jnp.int32)
    return Batch(found[:-1], found[1:])
