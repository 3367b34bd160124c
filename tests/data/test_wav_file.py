"""WAV files of every kind are the same sound; what is none is one line that names it."""

import io
import struct

import numpy as np
import pytest
from made_recordings import tones, write_24_bit
from scipy.io import wavfile

from rnnlab.data.wav_file import read_wav
from rnnlab.specs.errors import UserError

WAVE = tones("abc")
KINDS = {"uint8": (128, 127, 2e-2), "int16": (0, 32767, 1e-3), "int32": (0, 2**31 - 1, 1e-6), "float32": (0, 1, 1e-6)}


def written(rate, samples):
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


@pytest.mark.parametrize("kind", [*KINDS, "float64", "24 bit"])
def test_8_to_64_bit_are_the_same_sound(tmp_path, kind):
    file = tmp_path / "a.wav"
    if kind == "24 bit":
        write_24_bit(file, WAVE, 8000)
        near = 1e-6
    else:
        zero, scale, near = KINDS.get(kind, (0, 1, 1e-12))
        file.write_bytes(written(8000, (zero + scale * WAVE).astype(kind)))
    np.testing.assert_allclose(read_wav(file), WAVE, atol=near)


@pytest.mark.parametrize("rate", [4000, 16000, 44100, 48000, 96000])
def test_other_rates_and_channels_are_the_same_sound(tmp_path, rate):
    """The right channel's half: their mean is the sound. Resampled tones keep their shape away from their ends."""
    one = tones("a", rate)
    file = tmp_path / "a.wav"
    file.write_bytes(written(rate, np.stack([1.5 * one, 0.5 * one], axis=1).astype(np.float32)))
    found, wanted = read_wav(file), tones("a")
    assert abs(len(found) - len(wanted)) <= 2
    inner = slice(600, 1500)
    np.testing.assert_allclose(found[inner], wanted[inner], atol=0.02)


GOOD = written(8000, (WAVE * 3e4).astype(np.int16))
BAD = {  # by name the content of a file, and what its one line says
    "empty": (b"", "is empty"),
    "text": (b"This is no sound at all.", "is no WAV file"),
    "flac": (b"fLaC" + GOOD, "is FLAC, no WAV file; as `ffmpeg"),
    "ogg": (b"OggS" + GOOD, "is Ogg"),
    "mp3": (b"ID3" + GOOD, "is MP3"),
    "mp3 without a tag": (b"\xff\xfb\x90" + GOOD, "is MP3"),
    "aiff": (b"FORM\0\0\0\0AIFF", "is AIFF"),
    "zip": (b"PK\x03\x04" + GOOD, "a zip file"),
    "gzip": (b"\x1f\x8b" + GOOD, "compressed by gzip"),
    "avi": (b"RIFF\0\0\0\0AVI ", "is no WAV file"),
    "a head alone": (GOOD[:12], "a broken WAV file|holds no sound"),
    "cut within its format": (GOOD[:24], "a broken WAV file|holds no sound"),
    "no samples": (written(8000, np.zeros(0, np.int16)), "holds no sound|a broken WAV file"),
    "telephony's code": (GOOD[:20] + struct.pack("<H", 7) + GOOD[22:], "its sound is encoded as MULAW; as `ffmpeg"),
    "floats of a byte": (GOOD[:20] + struct.pack("<H", 3) + GOOD[22:32] + b"\1\0\x20\0" + GOOD[36:], "a broken WAV"),
    "cut": (GOOD[:2000], "cut short: 11,040 bytes of sound are announced, 1,956 are there"),
    "no channels": (GOOD[:22] + b"\0\0" + GOOD[24:], "a broken WAV file"),
    "no rate": (GOOD[:24] + b"\0\0\0\0" + GOOD[28:], "0 samples a second, where|a broken WAV file"),
    "a rate too low": (written(10, np.ones(100, np.int16)), "10 samples a second, where 1,000 to 384,000"),
    "not a number": (written(8000, np.array([0, np.nan, 1], np.float32)), "sample 1 is no finite number"),
    "infinite": (written(8000, np.array([0, 1, np.inf], np.float32)), "sample 2 is no finite number"),
    "hours long": (written(1000, np.zeros(601_000, np.uint8)), "601 s long; at most 600"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_recording_is_one_line(tmp_path, name):
    content, told = BAD[name]
    file = tmp_path / f"{name}.wav"
    file.write_bytes(content)
    with pytest.raises(UserError, match=told) as found:
        read_wav(file)
    assert str(found.value).startswith(f"{file}: ") and "\n" not in str(found.value)


def test_a_path_that_is_none_names_the_nearest(tmp_path):
    (tmp_path / "one.wav").write_bytes(GOOD)
    with pytest.raises(UserError, match=r"on.wav: no such file; the nearest is .*one.wav"):
        read_wav(tmp_path / "on.wav")
    with pytest.raises(UserError, match="is a folder"):
        read_wav(tmp_path)


@pytest.mark.parametrize("size", [0, 2**32 - 1, 2**31 - 1])
def test_a_stream_whose_length_was_not_known_is_read_to_its_end(tmp_path, size):
    (tmp_path / "a.wav").write_bytes(GOOD[:40] + struct.pack("<I", size) + GOOD[44:] + b"\0")
    np.testing.assert_allclose(read_wav(tmp_path / "a.wav"), WAVE * 3e4 / 32768, atol=1e-3)


def test_a_constant_level_is_silence_at_every_rate(tmp_path):
    for rate in (8000, 16000, 44100):
        (tmp_path / "a.wav").write_bytes(written(rate, np.full(rate, 127, np.uint8)))
        assert not read_wav(tmp_path / "a.wav").any()
