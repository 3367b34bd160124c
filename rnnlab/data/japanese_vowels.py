"""JapaneseVowels: nine men say two vowels, as 12 LPC cepstra a step (Kudo, Toyama & Shimbo 1999, UCI)."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from rnnlab.data.card import digest
from rnnlab.data.series import needs_extra

SPEAKERS, CHANNELS, LONGEST = 9, 12, 29
CHOOSING = 5  # every fifth of a speaker's training utterances chooses the network


class Utterances(NamedTuple):
    """n utterances: steps [n, T, D] with 0 behind the end of each, how many there are, and who speaks, from 0."""

    steps: Float[np.ndarray, "n T D"]
    lengths: Int[np.ndarray, " n"]
    speakers: Int[np.ndarray, " n"]


class JapaneseVowelsData(NamedTuple):
    training: Utterances  # 216, by which channels are scaled to mean 0 and standard deviation 1
    validation: Utterances  # 54
    test: Utterances  # 370
    sha256: str


def parsed(text: str) -> tuple[list[Float[np.ndarray, "T D"]], list[int]]:
    """A .ts file: behind `@data` a line each, channels by colons, numbers by commas, then the speaker from 1."""
    lines = text.splitlines()
    rows = [line.split(":") for line in lines[lines.index("@data") + 1 :] if line]
    return [np.array([[float(x) for x in c.split(",")] for c in row[:-1]]).T for row in rows], [
        int(row[-1]) - 1 for row in rows
    ]


@functools.cache
def japanese_vowels() -> JapaneseVowelsData:
    """From the package sktime, which is not imported. Raises UserError where it is not installed."""
    found = importlib.util.find_spec("sktime")
    if found is None or not found.origin:
        raise needs_extra(ImportError(name="sktime"))
    folder = Path(found.origin).parent / "datasets/data/JapaneseVowels"
    contents = [(folder / f"JapaneseVowels_{part}.ts").read_bytes() for part in ("TRAIN", "TEST")]
    (known, who), (held, whose) = (parsed(content.decode()) for content in contents)
    place = np.array([who[:number].count(speaker) for number, speaker in enumerate(who)])  # among the speaker's own
    chooses = place % CHOOSING == CHOOSING - 1
    steps = np.concatenate([each for each, held_out in zip(known, chooses, strict=True) if not held_out])
    mean, deviation = steps.mean(axis=0), steps.std(axis=0)

    def utterances(sequences, speakers):
        wide = np.zeros((len(sequences), LONGEST, CHANNELS), np.float32)
        for row, sequence in zip(wide, sequences, strict=True):
            row[: len(sequence)] = (sequence - mean) / deviation
        lengths = np.array([len(sequence) for sequence in sequences], np.int32)
        return Utterances(wide, lengths, np.array(speakers, np.int32))

    def chosen(which):
        return utterances([known[i] for i in np.flatnonzero(which)], [who[i] for i in np.flatnonzero(which)])

    return JapaneseVowelsData(chosen(~chooses), chosen(chooses), utterances(held, whose), digest(b"".join(contents)))
