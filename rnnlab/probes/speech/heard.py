"""What a network makes of the test part, and of real recordings where there are some."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rnnlab.data.speech import Part
from rnnlab.model import SequenceModel
from rnnlab.probes.speech.prefix_beam import prefix_beam
from rnnlab.tasks.japanese_vowels import JapaneseVowels
from rnnlab.tasks.spoken_digits import SpokenDigits, batch_of
from rnnlab.tasks.transcription import begins, best_path

TIMES = 3  # as many tokens as the longest transcript that was said has are kept of what is heard, and searched for


@dataclasses.dataclass(frozen=True)
class Transcripts:
    """Of each recording of the test part the tokens of the best path [n, L], the step at which each begins, and the
    tokens that a search by prefixes finds."""

    task: SpokenDigits

    def __call__(self, model: SequenceModel, inputs: Array, losses: Callable, answers: int, **steps: Array):
        found = self._of(model, self.task.corpus.test)
        if self.task.recordings is not None:
            part = self.task.real()
            found |= {f"real {name}": value for name, value in self._of(model, part).items()}
            found["real said"] = jnp.asarray(part.labels)
        return found

    def _of(self, model: SequenceModel, part: Part) -> dict[str, Array]:
        outputs, lengths = outputs_of(model, part, self.task.length)
        most = min(TIMES * part.labels.shape[1], self.task.length)
        return {"heard": best_path(outputs, lengths).T[:, :most], "steps": begins(outputs, lengths).T[:, :most],
                "beam": prefix_beam(outputs, lengths, most).T}  # fmt: skip


def outputs_of(model: SequenceModel, part: Part, length: int) -> tuple[Float[Array, "T n K"], Int[Array, " n"]]:
    """The network's outputs for all recordings of a part, and their lengths."""
    batch = batch_of(part, np.arange(len(part)), length)
    return model(batch.inputs, lengths=batch.lengths), batch.lengths


@dataclasses.dataclass(frozen=True)
class Posteriors:
    """Of one recording of the test part, the first of the most tokens: log-mel features and each class's probability.

    The longest recording says most about both directions; `number` is its place in the test part.
    """

    task: SpokenDigits

    def __call__(self, model: SequenceModel, inputs: Array, losses: Callable, answers: int, **steps: Array):
        part = self.task.corpus.test
        number = int(np.argmax((part.labels > 0).sum(axis=1)))
        batch = batch_of(part, np.array([number]), self.task.length)
        p = jax.nn.softmax(model(batch.inputs, lengths=batch.lengths)[:, 0])
        length = int(part.lengths[number])
        return {"p": jnp.round(1000 * p[:length]), "features": jnp.round(10 * batch.inputs[:length, 0]),
                "number": jnp.asarray(number)}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Speakers:
    """Accuracy on JapaneseVowels' test part, and whom each utterance was taken for."""

    task: JapaneseVowels

    def __call__(
        self, model: SequenceModel, inputs: Array, losses: Callable, answers: int, **steps: Array
    ) -> Mapping[str, Array]:
        batch = self.task.test_part()
        taken = jnp.argmax(model(batch.inputs, answers=1, lengths=batch.lengths)[0], axis=-1)
        return {"accuracy": jnp.mean((taken == batch.targets[0]).astype(jnp.float32)), "taken for": taken}
