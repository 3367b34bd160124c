"""Connected spoken digits, or recordings of one's own: say what was said."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import chz
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rnnlab.data import log_mel, prompts, recordings
from rnnlab.data.card import DataCard, digest
from rnnlab.data.speech import Corpus, Part
from rnnlab.data.spoken_digits import LONGEST, WORDS, spoken_digits
from rnnlab.specs.errors import UserError
from rnnlab.specs.fields import field
from rnnlab.tasks.base import Batch, Task
from rnnlab.tasks.transcription import best_path, ctc_losses, edit_distance, exactly_right, present

D = log_mel.BANDS * log_mel.STACK
JUDGED, BLANKS = 160, (0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)  # recordings, and shares of the blank, for `chance`


@chz.chz
class SpokenDigits(Task):
    """Say which digits were spoken, 1 to 7 of them, from log-mel features of 30 ms a step; voices are held out.

    The loss is connectionist temporal classification's (Graves, Fernandez, Gomez & Schmidhuber 2006): -log of the
    probability of the digits, summed over all alignments with the steps, in nats. An answer is right where the most
    likely path gives all digits. Spoken by espeak-ng, or read from `folder`, a user's own recordings with a table of
    transcripts, whose tokens are characters. The test part is read by nothing but probes and baselines.
    """

    length: int = field(96, "steps T of 30 ms, the longest recording that is read", low=1)
    clips: int = field(350, "training clips that are spoken; not read where folder is given", low=2 * LONGEST)
    folder: str | None = chz.field(
        default=None, doc="recordings of one's own in LJ Speech's layout: metadata.csv and wavs/NAME.wav"
    )
    recordings: str | None = chz.field(
        default=None,
        doc="a folder below which are 0.wav to 9.wav, real digits, that the trained network is tested on too",
    )
    noise: float = field(0.3, "standard deviation of noise on training features, in units of theirs", low=0)
    masked: int = field(12, "training: of this many bands in each frame, at most, a run is hidden; 0: none", low=0)
    solved_at: float = field(0.95, "share of held-out recordings exactly right that counts as learned", low=0, high=1)

    @chz.validate
    def _recordings_fit(self):
        if self.folder is not None and self.length >= 1:
            self.corpus  # noqa: B018  one line now rather than a traceback later
            if self.recordings is not None:
                raise ValueError(
                    f"recordings={self.recordings}: digits, which a network of {self.folder} does not know"
                )
        if self.recordings is not None:
            self.real()

    @property
    def corpus(self) -> Corpus:
        """Features and labels of all parts. Raises UserError."""
        if self.folder is not None:
            return recordings.read_folder(self.folder, self.length)
        found = spoken_digits(self.clips)
        longest = max(int(found.training.lengths.max()), int(found.validation.lengths.max()))
        if longest > self.length:
            raise UserError(f"length={self.length}: the longest clip has {longest} steps of 30 ms; at least {longest}")
        return found

    def real(self) -> Part:
        """The real digits of `recordings` and strings of them, scaled as the training part is."""
        part = prompts.prompts(self.recordings, self.length)
        return dataclasses.replace(part, frames=self.corpus.scaled(part.frames))

    @property
    def tokens(self) -> tuple[str, ...]:
        """Token 1 first."""
        return WORDS if self.folder is None else self.corpus.tokens

    @property
    def in_features(self) -> int:
        return D

    @property
    def out_features(self) -> int:
        """One more than tokens: the blank, class 0."""
        return len(self.tokens) + 1

    @property
    def answers(self) -> int:
        return self.length

    @property
    def files(self) -> tuple[str, ...]:
        own = () if self.folder is None else recordings.files_of(self.folder)
        return own if self.recordings is None else own + prompts.files_of(self.recordings)

    @property
    def solved_accuracy(self) -> float:
        return self.solved_at

    @property
    def chance(self) -> float:
        """The validation part's loss of the same outputs at every step: tokens in the shares of the training part, the
        blank in the share that fits it best."""
        return _chance(self)

    @property
    def card(self) -> DataCard:
        return _card(self)

    def baselines(self) -> Mapping[str, Any]:
        """Token error rate of one answer to everything, and what each recording of the test part says."""
        from rnnlab.data.transcripts import constant_answers

        return constant_answers(self.corpus)

    def sample(self, key: Array, batch_size: int) -> Batch:
        """Training recordings, with noise, and a run of bands hidden (Park et al. 2019, section 2, in frequency)."""
        part = self.corpus.training
        which, noise, bands = jax.random.split(key, 3)
        batch = self._of(part, jax.random.randint(which, (batch_size,), 0, len(part), jnp.int32))
        there = present(batch)[..., None]
        xs = batch.inputs + self.noise * jax.random.normal(noise, batch.inputs.shape, jnp.float32)
        if self.masked:
            width, first = jax.random.uniform(bands, (2, batch_size, 1), jnp.float32)
            most = min(self.masked, log_mel.BANDS)
            width = jnp.floor(width * (most + 1))
            first = jnp.floor(first * (log_mel.BANDS - width + 1))
            band = jnp.arange(D) % log_mel.BANDS
            xs = jnp.where((band >= first) & (band < first + width), 0, xs)
        return batch._replace(inputs=jnp.where(there, xs, 0))

    def held_out(self, key: Array, batch_size: int) -> Batch:
        """`batch_size` recordings of the validation part, each once while they last."""
        part = self.corpus.validation
        which = jax.random.permutation(key, len(part))[jnp.arange(batch_size) % len(part)]
        return self._of(part, which)

    def _of(self, part: Part, which: Array) -> Batch:
        return batch_of(part, which, self.length)

    def losses(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        return ctc_losses(outputs, batch.lengths, batch.targets[: self._most(batch)])

    def _most(self, batch: Batch) -> int:
        """Rows of targets that may hold a label."""
        return min(LONGEST, len(batch.targets)) if self.folder is None else min(self.corpus.most, len(batch.targets))

    def right(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        return exactly_right(outputs, batch)

    def metrics(self, outputs: Float[Array, "N B K"], batch: Batch) -> dict[str, Any]:
        labels = batch.targets[: self._most(batch)]
        wrong = edit_distance(labels, best_path(outputs, batch.lengths))
        rate = jnp.sum(wrong) / jnp.maximum(jnp.sum(labels != 0), 1)
        return super().metrics(outputs, batch) | {"token_error_rate": rate}


def batch_of(part: Part, which: Array | np.ndarray, length: int) -> Batch:
    """Recordings of a part, 0 behind the end of each."""
    starts, lengths = jnp.asarray(part.starts)[which], jnp.asarray(part.lengths)[which]
    steps = jnp.arange(length, dtype=jnp.int32)[:, None]
    rows = jnp.minimum(starts + steps, len(part.frames) - 1)
    xs = jnp.where((steps < lengths)[..., None], jnp.asarray(part.frames)[rows].astype(jnp.float32), 0)
    labels = jnp.asarray(part.labels)[which].T[:length]
    targets = jnp.zeros((length, labels.shape[1]), jnp.int32).at[: len(labels)].set(labels)
    return Batch(xs, targets, lengths)


@functools.lru_cache(maxsize=16)
def _chance(task: SpokenDigits) -> float:
    corpus, losses = task.corpus, jax.jit(task.losses)
    counts = np.bincount(corpus.training.labels.ravel(), minlength=task.out_features)[1:] + 1.0

    def loss(part: Part, share: float) -> float:
        p = np.concatenate([[share], (1 - share) * counts / counts.sum()])
        batch = batch_of(part, np.arange(min(len(part), JUDGED)), task.length)
        outputs = jnp.broadcast_to(jnp.asarray(np.log(p), jnp.float32), (*batch.targets.shape, len(p)))
        return float(jnp.mean(losses(outputs, batch)))

    return loss(corpus.validation, min(BLANKS, key=lambda share: loss(corpus.training, share)))


@functools.lru_cache(maxsize=16)
def _card(task: SpokenDigits) -> DataCard:
    corpus = task.corpus
    parts = {"training": corpus.training, "validation": corpus.validation, "test": corpus.test}
    minute = 60 * log_mel.RATE / (log_mel.HOP * log_mel.STACK)  # steps
    counts = {name: f"{len(part):,} recordings, {part.lengths.sum() / minute:.1f} min" for name, part in parts.items()}
    return corpus.about._replace(
        parts={name: f"{told}{corpus.voices.get(name, '')}" for name, told in counts.items()},
        rows=sum(map(len, parts.values())),
        sha256=corpus.about.sha256 or digest("".join(part.sha256 for part in parts.values()).encode()),
    )
