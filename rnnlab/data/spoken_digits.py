"""Connected digits, zero to nine, spoken by espeak-ng: training, validation and test have voices of their own."""

from __future__ import annotations

import functools

import numpy as np

from rnnlab.data import log_mel
from rnnlab.data.card import DataCard
from rnnlab.data.speech import Corpus, Part, corpus_of
from rnnlab.data.speech_synthesis import RATE, Utterance, speak
from rnnlab.data.wav_file import resampled

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LONGEST = 7  # digits
ACCENTS = ("en-us", "English (Great Britain)", "English (Scotland)", "en-029", "en-US-nyc", "English (Lancaster)",
           "English (West Midlands)", "English (Received Pronunciation)")  # fmt: skip
VOICES = {  # espeak-ng's variants by part; relatives, as klatt and klatt2, are in one part
    "training": (
        "Alex", "Alicia", "Andrea", "Andy", "Denis", "Diogo", "Gene", "Henrique", "Hugo", "Lee", "Marco", "Michael",
        "Nguyen", "Storm", "adam", "anika", "announcer", "antonio", "aunty", "benjamin", "boris", "caleb", "ed",
        "edward", "f1", "f2", "f3", "grandpa", "ian", "iven", "john", "klatt", "klatt2", "klatt3", "linda", "m1", "m2",
        "m3", "m4", "max", "michel", "miguel", "pablo", "pedro", "quincy", "rob", "robert", "sandro", "shelby",
        "travis", "zac",
    ),
    "validation": ("Mario", "Mike", "f4", "grandma", "m5", "m6", "norbert"),
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
    features = [log_mel.features(resampled(wave.astype(np.float64), RATE)) for wave in waves]
    return Part.of(features, [[1 + d for d in digits] for digits, _ in texts])


@functools.lru_cache(maxsize=4)
def spoken_digits(clips: int) -> Corpus:
    """`clips` of training, and those of `HELD_OUT`; the test part is spoken where it is asked for."""
    training, validation = spoken("training", clips), spoken("validation", HELD_OUT["validation"])
    about = DataCard(
        "connected digits", "spoken by espeak-ng (espeakng-loader), fixed seeds", "GPL-3.0 (the synthesiser)",
        0, {}, "",
        ("voices of the three parts are disjoint; the 8 accents of English are in all", "8 kHz, log-mel features"),
    )  # fmt: skip
    voices = {part: f", drawn from {len(of)} voices" for part, of in VOICES.items()}
    test = functools.partial(spoken, "test", HELD_OUT["test"])
    return corpus_of(WORDS, training, validation, test, about, voices=voices)
