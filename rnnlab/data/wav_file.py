"""A WAV file as samples at one rate."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.io import wavfile
from scipy.signal import resample_poly

from rnnlab.data.log_mel import RATE
from rnnlab.specs.errors import UserError, nearest

OTHERS = {  # what files begin with that are no WAV
    b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"\xff\xfb": "MP3", b"\xff\xf3": "MP3", b"FORM": "AIFF",
    b".snd": "Sun audio", b"RF64": "RF64", b"PK\x03\x04": "a zip file", b"\x1f\x8b": "compressed by gzip",
}  # fmt: skip
RATES = (1_000, 384_000)  # samples a second that a recording of speech may have
LONGEST = 600  # seconds


def read_wav(file: str | Path) -> Float[np.ndarray, " n"]:
    """Its samples, -1 to 1, `RATE` a second: channels averaged, other rates resampled; 8 to 64 bit, or floats.

    Raises:
      UserError: no such file, no WAV file, a broken or an empty one, in one line.
    """
    path = Path(file)
    if not path.is_file():
        there = [str(p) for p in sorted(path.parent.glob("*.wav"))] if path.parent.is_dir() else []
        raise UserError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}{nearest(str(path), there)}")
    head = path.read_bytes()[:12]
    if not head:
        raise UserError(f"{path}: is empty")
    for begins, name in OTHERS.items():
        if head.startswith(begins):
            raise UserError(f"{path}: is {name}, no WAV file; as `ffmpeg -i {path.name} {path.stem}.wav` would make it")
    if head[:4] not in (b"RIFF", b"RIFX") or head[8:] != b"WAVE":
        raise UserError(f"{path}: is no WAV file (it begins with {head[:4]!r})")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks that hold no sound
            rate, samples = wavfile.read(path)
    except (ValueError, EOFError, OSError, OverflowError, struct.error, ZeroDivisionError, UnboundLocalError) as error:
        raise UserError(f"{path}: a broken WAV file ({' '.join(str(error).split()) or type(error).__name__})") from None
    if not RATES[0] <= rate <= RATES[1]:
        raise UserError(f"{path}: {rate:,} samples a second, where {RATES[0]:,} to {RATES[1]:,} are needed")
    if not len(samples) or not samples.size:
        raise UserError(f"{path}: holds no sound")
    if len(samples) > LONGEST * rate:
        raise UserError(f"{path}: {len(samples) / rate:,.0f} s long; at most {LONGEST} s are read")
    wave = _unit(samples)
    if not np.isfinite(wave).all():
        raise UserError(f"{path}: sample {int(np.argmin(np.isfinite(wave))):,} is no finite number")
    if wave.ndim == 2:
        wave = wave.mean(axis=1)
    return resampled(wave, rate)


def _unit(samples: np.ndarray) -> np.ndarray:
    """-1 to 1; 24 bits come as the upper ones of 32, 8 bits without a sign."""
    if samples.dtype == np.uint8:
        return (samples.astype(np.float64) - 128) / 128
    if np.issubdtype(samples.dtype, np.integer):
        return samples.astype(np.float64) / -float(np.iinfo(samples.dtype).min)
    return samples.astype(np.float64)


def resampled(wave: Float[np.ndarray, " n"], rate: int) -> Float[np.ndarray, " m"]:
    """At `RATE`, by a polyphase filter."""
    common = int(np.gcd(rate, RATE))
    return wave if rate == RATE else resample_poly(wave, RATE // common, rate // common)
