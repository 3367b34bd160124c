"""A WAV file as samples at one rate."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import scipy  # which imports a part when it is first used: signal takes a second
from jaxtyping import Float

from rnnlab.data.log_mel import RATE
from rnnlab.specs.errors import UserError, nearest

OTHERS = {  # what files begin with that are no WAV
    b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"\xff\xfb": "MP3", b"\xff\xf3": "MP3", b"FORM": "AIFF",
    b".snd": "Sun audio", b"RF64": "RF64", b"PK\x03\x04": "a zip file", b"\x1f\x8b": "compressed by gzip",
}  # fmt: skip
RATES = (1_000, 384_000)  # samples a second that a recording of speech may have
LONGEST = 600  # seconds
STREAMED = 2**31 - 2**16  # bytes of sound: as many and more stand in the header of a stream, whose end was not known


def read_wav(file: str | Path) -> Float[np.ndarray, " n"]:
    """Its samples, -1 to 1, `RATE` a second: channels averaged, other rates resampled; 8 to 64 bit, or floats.

    Raises:
      UserError: no such file, no WAV file, a broken or an empty one, in one line.
    """
    path = Path(file)
    return samples_of(path, content_of(path))


def content_of(path: Path) -> bytes:
    """A file's bytes. Raises UserError where there is no such file, which names the nearest."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a WAV file")
    if not path.is_file():
        there = [str(p) for p in sorted(path.parent.glob("*.wav"))] if path.parent.is_dir() else []
        raise UserError(f"{path}: no such file{nearest(str(path), there) if there else ''}")
    return path.read_bytes()


def samples_of(path: Path, content: bytes) -> Float[np.ndarray, " n"]:
    """`read_wav` of a file's content; `path` is what a message names. Silence is all 0."""
    convert = f"; as `ffmpeg -i {path.name} -c:a pcm_s16le {path.stem}-pcm.wav` would make it"
    if not content:
        raise UserError(f"{path}: is empty")
    for begins, name in OTHERS.items():
        if content.startswith(begins):
            raise UserError(f"{path}: is {name}, no WAV file{convert}")
    if content[:4] not in (b"RIFF", b"RIFX") or content[8:12] != b"WAVE":
        raise UserError(f"{path}: is no WAV file (it begins with {content[:4]!r})")
    wavfile = scipy.io.wavfile
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks that hold no sound
            rate, samples = wavfile.read(io.BytesIO(_whole(path, content)))
    except UserError:
        raise
    except Exception as error:  # scipy's reader meets a broken header with whatever error it comes to
        if "Unknown wave file format" in str(error):
            code = str(error).removeprefix("Unknown wave file format: ").split(".")[0]
            raise UserError(f"{path}: its sound is encoded as {code}{convert}") from None
        raise UserError(f"{path}: a broken WAV file: its header does not fit what it holds") from None
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
    if np.ptp(wave) == 0:
        wave = np.zeros_like(wave)  # whose ends the filter would turn into sound
    return resampled(wave, rate)


def _whole(path: Path, content: bytes) -> bytes:
    """With the size of its sound as it is, where a program that wrote it as a stream did not know it.

    Raises:
      UserError: the header tells of more sound than there is.
    """
    size = struct.Struct("<I" if content[:4] == b"RIFF" else ">I")
    at = 12
    while at + 8 <= len(content):
        [told], left = size.unpack_from(content, at + 4), len(content) - at - 8
        if content[at : at + 4] == b"data":
            if told <= left and (told or not left):
                return content
            if 0 < told < STREAMED:
                raise UserError(f"{path}: cut short: {told:,} bytes of sound are announced, {left:,} are there")
            frame = int.from_bytes(content[32:34], "little" if content[:4] == b"RIFF" else "big") or 1
            return content[: at + 4] + size.pack(left - left % frame) + content[at + 8 :]
        at += 8 + told + told % 2
    return content


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
    return wave if rate == RATE else scipy.signal.resample_poly(wave, RATE // common, rate // common)
