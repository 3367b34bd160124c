"""Real spoken digits: the prompts of a telephone exchange, 0.wav to 9.wav, and strings of them.

Debian's package asterisk-core-sounds-en-wav (CC-BY-SA-3.0, one speaker) has them:
`apt-get download asterisk-core-sounds-en-wav && dpkg-deb -x asterisk-core-sounds-en-wav*.deb FOLDER`.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from rnnlab.data import log_mel
from rnnlab.data.speech import Part
from rnnlab.data.wav_file import read_wav
from rnnlab.specs.errors import UserError

STRINGS, LONGEST = 90, 4  # strings of 2 to LONGEST digits, after the ten single ones
PAUSE = 0.04  # seconds kept around each prompt where it falls below AUDIBLE of its loudest sample
AUDIBLE = 0.02


def files_of(folder: str) -> tuple[str, ...]:
    """0.wav to 9.wav of one folder below this one. Raises UserError."""
    if not Path(folder).is_dir():
        raise UserError(f"recordings={folder}: no such folder")
    homes = sorted({path.parent for path in Path(folder).rglob("0.wav")})
    whole = [home for home in homes if all((home / f"{digit}.wav").is_file() for digit in range(10))]
    if len(whole) > 1:
        told = f"{len(whole)} folders in it hold 0.wav to 9.wav; name one: {whole[0]}, {whole[1]}"
        raise UserError(f"recordings={folder}: {told}")
    if whole:
        return tuple(str(whole[0] / f"{digit}.wav") for digit in range(10))
    raise UserError(f"recordings={folder}: no folder in it holds 0.wav to 9.wav, a spoken digit each")


def prompts(folder: str, length: int) -> Part:
    """The ten digits, then strings drawn with a fixed seed; those of more than `length` steps are left out."""
    return _prompts(files_of(folder), length)


@functools.lru_cache(maxsize=2)
def _prompts(files: tuple[str, ...], length: int) -> Part:
    waves = [_trimmed(file, read_wav(file)) for file in files]
    draw = np.random.default_rng(0)
    strings = [[digit] for digit in range(10)]
    strings += [draw.integers(0, 10, 2 + number % (LONGEST - 1)).tolist() for number in range(STRINGS)]
    features = [log_mel.features(np.concatenate([waves[d] for d in digits])) for digits in strings]
    kept = [number for number, each in enumerate(features) if len(each) <= length]
    if not kept:
        shortest = min(map(len, features))
        raise UserError(f"length={length}: the shortest digit of {Path(files[0]).parent} has {shortest} steps of 30 ms")
    return Part.of([features[k] for k in kept], [[1 + d for d in strings[k]] for k in kept])


def _trimmed(file: str, wave: np.ndarray) -> np.ndarray:
    if np.ptp(wave) == 0:
        raise UserError(f"{file}: holds nothing but silence")
    loud = np.flatnonzero(np.abs(wave) > AUDIBLE * np.abs(wave).max())
    pause = int(PAUSE * log_mel.RATE)
    return wave[max(loud[0] - pause, 0) : loud[-1] + pause]
