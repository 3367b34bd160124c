"""Recordings with their transcripts as arrays: sequences of features one behind the other, and numbers of tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from rnnlab.data.card import DataCard, digest


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """n recordings: `frames[starts[i] : starts[i] + lengths[i]]` are the steps of recording i."""

    frames: Float[np.ndarray, "S D"]
    starts: Int[np.ndarray, " n"]
    lengths: Int[np.ndarray, " n"]
    labels: Int[np.ndarray, "n L"]  # numbers of tokens from 1, then 0

    @staticmethod
    def of(features: Sequence[np.ndarray], labels: Sequence[Sequence[int]]) -> Part:
        lengths = np.array([len(each) for each in features], np.int32)
        wide = np.zeros((len(labels), max(map(len, labels), default=0)), np.int32)
        for row, each in zip(wide, labels, strict=True):
            row[: len(each)] = each
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int32)
        return Part(np.concatenate(features), starts, lengths, wide)

    def __len__(self) -> int:
        return len(self.lengths)

    def tokens(self, number: int) -> list[int]:
        """The labels of one recording."""
        return [int(label) for label in self.labels[number] if label]

    @property
    def sha256(self) -> str:
        """Of features, lengths and labels."""
        return digest(self.frames.tobytes() + self.lengths.tobytes() + self.labels.tobytes())


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """Three parts, each band scaled to mean 0 and standard deviation 1 by the training part alone."""

    tokens: tuple[str, ...]  # token 1 first; 0 is CTC's blank
    training: Part
    validation: Part
    read_test: Callable[[], Part]
    mean: Float[np.ndarray, " D"]
    deviation: Float[np.ndarray, " D"]
    about: DataCard  # without its parts
    between: str  # what stands between tokens in text
    voices: Mapping[str, str]  # of each part, in words

    @property
    def most(self) -> int:
        """Tokens of the longest transcript that training or validation have."""
        return max(self.training.labels.shape[1], self.validation.labels.shape[1])

    @property
    def test(self) -> Part:
        return self.read_test()

    def scaled(self, features: Float[np.ndarray, "S D"]) -> Float[np.ndarray, "S D"]:
        """As the network reads them."""
        return scaled_by(features, self.mean, self.deviation)

    def said(self, labels: Sequence[int]) -> str:
        """Tokens as text."""
        return self.between.join(self.tokens[label - 1] for label in labels)


def scaled_by(
    features: Float[np.ndarray, "S D"], mean: Float[np.ndarray, " D"], deviation: Float[np.ndarray, " D"]
) -> Float[np.ndarray, "S D"]:
    """In half precision, in which programs carry their data."""
    return ((features - mean) / deviation).astype(np.float16)


def corpus_of(
    tokens: Sequence[str],
    training: Part,
    validation: Part,
    read_test: Callable[[], Part],
    about: DataCard,
    between: str = " ",
    voices: Mapping[str, str] | None = None,
) -> Corpus:
    """Parts whose features are not scaled yet."""
    mean, deviation = training.frames.mean(axis=0), training.frames.std(axis=0)
    deviation = np.where(deviation > 1e-3, deviation, 1)  # of a band that is silent throughout
    found = Corpus(tuple(tokens), training, validation, read_test, mean, deviation, about, between, voices or {})

    def scaled(part):
        return dataclasses.replace(part, frames=found.scaled(part.frames))

    cache: list[Part] = []

    def test():
        if not cache:
            cache.append(scaled(read_test()))
        return cache[0]

    return dataclasses.replace(found, training=scaled(training), validation=scaled(validation), read_test=test)
