"""WAV files for the tests: `tones` says a letter by a tone of its own."""

import struct

import numpy as np
from scipy.io import wavfile

TONES = {"a": 400.0, "b": 900.0, "c": 2000.0}  # Hz


def tones(said: str, rate: int = 8000, seed: int = 0) -> np.ndarray:
    """0.15 s a letter, with a pause after it, -1 to 1; a little noise makes every recording another one."""
    at = np.arange(int(0.15 * rate)) / rate
    pause = np.zeros(int(0.06 * rate))
    pieces = [np.concatenate([0.5 * np.sin(2 * np.pi * TONES[letter] * at), pause]) for letter in said]
    wave = np.concatenate([pause, *pieces])
    return wave + 1e-3 * np.random.default_rng(seed).standard_normal(len(wave))


def write_24_bit(path, wave, rate):
    """scipy writes none."""
    numbers = (wave * (2**23 - 1)).astype("<i4")
    data = numbers.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, rate, 3 * rate, 3, 24,
                       b"data", len(data))  # fmt: skip
    path.write_bytes(head + data)


def write_folder(folder, sayings, rate=8000):
    """In LJ Speech's layout."""
    (folder / "wavs").mkdir(parents=True)
    lines = []
    for number, said in enumerate(sayings):
        wavfile.write(folder / "wavs" / f"r{number}.wav", rate, (tones(said, rate, number) * 3e4).astype(np.int16))
        lines.append(f"r{number}|{said.upper()}|{said}\n")
    (folder / "metadata.csv").write_text("".join(lines))
    return folder
