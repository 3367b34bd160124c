"""Connected digits, zero to nine, spoken by espeak-ng: training, validation and test have voices of their own."""

from __future__ import annotations

import functools

import numpy as np
from scipy.signal import resample_poly

from rnnlab.data import log_mel
from rnnlab.data.speech import Corpus, Part, corpus_of
from rnnlab.data.speech_synthesis import RATE, Utterance, speak

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LONGEST = 7  # digits
ACCENTS = ("en-us", "English (Great Britain)", "English (Scotland)", "en-029", "en-US-nyc", "English (Lancaster)",
           "English (West Midlands)", "English (Received Pronunciation)")  # fmt: skip
VOICES = {  # espeak-ng's variants by part; relatives, as klatt and klatt2, are in one part
    "training": (
        "Alex", "Alicia", "Andrea", "Andy", "Denis", "Diogo", "Gene", "Henrique", "Hugo", "Lee", "Marco", "Michael",
        "Nguyen", "Storm", "adam", "anika", "announcer", "antonio", "aunty", "benjamin", "boris", "caleb", "ed",
        "edward", "f1", "f2", "f3", "grandpa", "ian", "iven", "john", "klatt", "klatt2", "klatt3", "linda", "m1", "m2",
        "m3", "m4", "max", "miguel", "pablo", "pedro", "quincy", "rob", "robert", "sandro", "shelby", "travis", "zac",
    ),
    "validation": ("Mario", "Mike", "f4", "grandma", "m5", "m6", "michel", "norbert"),
    "test": ("Annie", "Jacky", "Reed", "belinda", "david", "f5", "gustave", "m7", "m8", "marcelo", "paul", "steph",
             "victor"),
}  # fmt: skip
SPEEDS, PITCHES = (140, 231), (20, 81)  # words a minute, espeak's pitch; the last is left out
HELD_OUT = {"validation": 160, "test": 240}  # clips
SEEDS = {"training": 0, "validation": 1, "test": 2}


def utterances(part: str, clips: int) -> list[tuple[tuple[int, ...], Utterance]]:
    """The digits of each clip, as many of each length, and how they are said: the same in every process."""
    draw = np.random.default_rng(SEEDS[part])
    found = []
    for number in range(clips):
        digits = tuple(int(d) for d in draw.integers(0, len(WORDS), 1 + number % LONGEST))
        voice = f"{ACCENTS[draw.integers(len(ACCENTS))]}+{VOICES[part][draw.integers(len(VOICES[part]))]}"
        said = Utterance(" ".join(WORDS[d] for d in digits), voice, int(draw.integers(*SPEEDS)),
                         int(draw.integers(*PITCHES)))  # fmt: skip
        found.append((digits, said))
    return found


@functools.lru_cache(maxsize=8)
def spoken(part: str, clips: int) -> Part:
    """The clips of one part, as log-mel features that are not scaled yet."""
    texts = utterances(part, clips)
    waves = speak([said for _, said in texts])
    features = [log_mel.stacked(log_mel.log_mel(resampled(wave))) for wave in waves]
    return Part.of(features, [[1 + d for d in digits] for digits, _ in texts])


def resampled(wave: np.ndarray, rate: int = RATE) -> np.ndarray:
    """At `log_mel.RATE`."""
    common = np.gcd(rate, log_mel.RATE)
    return resample_poly(wave.astype(np.float64), log_mel.RATE // common, rate // common)


@functools.lru_cache(maxsize=4)
def spoken_digits(clips: int) -> Corpus:
    """`clips` of training, and those of `HELD_OUT`; the test part is spoken where it is asked for."""
    return corpus_of(WORDS, spoken("training", clips), spoken("validation", HELD_OUT["validation"]),
                     lambda: spoken("test", HELD_OUT["test"]))  # fmt: skip
