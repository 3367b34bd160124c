"""Who of nine speakers says two vowels: real speech of unequal length."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import chz
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rnnlab.data.card import DataCard
from rnnlab.data.japanese_vowels import CHANNELS, LONGEST, SPEAKERS, Utterances, japanese_vowels
from rnnlab.specs.fields import field
from rnnlab.tasks.base import Batch, Task, cross_entropy


@chz.chz
class JapaneseVowels(Task):
    """Say after its last step who of nine men spoke 7 to 29 steps of 12 LPC cepstra. Kudo, Toyama & Shimbo 1999.

    Loss: cross-entropy in nats. Of the 270 training utterances every fifth of a speaker chooses the network; the 370
    of the test part are read by nothing but probes and baselines.
    """

    length: int = field(LONGEST, "steps T, of which an utterance has its own first 7 to 29", low=LONGEST)
    solved_at: float = field(0.99, "held-out accuracy that counts as learned (chance: .11)", low=0, high=1)

    @property
    def in_features(self) -> int:
        return CHANNELS

    @property
    def out_features(self) -> int:
        return SPEAKERS

    @property
    def chance(self) -> float:
        """ln 9: as many training utterances of each speaker."""
        return math.log(SPEAKERS)

    @property
    def solved_accuracy(self) -> float:
        return self.solved_at

    @property
    def card(self) -> DataCard:
        data = japanese_vowels()
        training, validation, test = (len(part.lengths) for part in data[:3])
        return DataCard(
            "JapaneseVowels", "Kudo, Toyama & Shimbo 1999, UCI; package sktime",
            "commercial use by the donors' leave (UCI)",
            training + validation + test,
            {"training": f"{training} of the 270 given for training",
             "validation": f"the other {validation}, every fifth of each speaker", "test": f"the {test} given for it"},
            data.sha256, ("the same nine speakers in all parts",),
        )  # fmt: skip

    def baselines(self) -> Mapping[str, Any]:
        """Accuracy on the test part of what reads no order, and of the nearest utterance by dynamic time warping."""
        from rnnlab.data.vowel_baselines import accuracies

        return {"accuracies": accuracies(japanese_vowels())}

    def sample(self, key: Array, batch_size: int) -> Batch:
        part = japanese_vowels().training
        return self._of(part, jax.random.randint(key, (batch_size,), 0, len(part.lengths), jnp.int32))

    def held_out(self, key: Array, batch_size: int) -> Batch:
        """`batch_size` utterances of the validation part, each once while they last."""
        part = japanese_vowels().validation
        count = len(part.lengths)
        return self._of(part, jax.random.permutation(key, count)[jnp.arange(batch_size) % count])

    def test_part(self) -> Batch:
        """All of it."""
        part = japanese_vowels().test
        return self._of(part, np.arange(len(part.lengths)))

    def _of(self, part: Utterances, which: Array | np.ndarray) -> Batch:
        steps = jnp.asarray(part.steps)[which].swapaxes(0, 1)
        steps = jnp.pad(steps, ((0, self.length - LONGEST), (0, 0), (0, 0)))
        return Batch(steps, jnp.asarray(part.speakers)[which][None], jnp.asarray(part.lengths)[which])

    def losses(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        return jnp.mean(cross_entropy(outputs, batch.targets), axis=0)

    def right(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        return jnp.mean((jnp.argmax(outputs, -1) == batch.targets).astype(outputs.dtype), axis=0)
