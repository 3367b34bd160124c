"""Spoken text by espeak-ng (Duddington et al.), a formant synthesiser; nothing is downloaded and nothing installed.

What espeak-ng says depends by a few samples on what its process said before. So each list of utterances is spoken by a
process of its own, in order: the same list gives the same samples, whoever asks.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int16

from rnnlab.data.series import needs_extra
from rnnlab.specs.errors import UserError

RATE = 22_050  # samples a second
RETRIEVAL, SPEED, PITCH, CHARACTERS = 1, 1, 3, 1  # numbers of espeak's own interface


class Utterance(NamedTuple):
    """What is said, and how."""

    text: str
    voice: str  # an accent and a variant, as in `en-us+Annie`
    speed: int  # words a minute
    pitch: int  # 0 to 99


def speak(utterances: Sequence[Utterance]) -> list[Int16[np.ndarray, " _"]]:
    """The samples of each utterance, `RATE` a second.

    Raises:
      UserError: the library is not installed, or has no such voice.
    """
    if importlib.util.find_spec("espeakng_loader") is None:
        raise needs_extra(ImportError(name="espeakng-loader"))
    here = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "rnnlab.data.speech_synthesis"],
        input=json.dumps(utterances).encode(), env=os.environ | {"PYTHONPATH": path}, capture_output=True,
    )  # fmt: skip
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise UserError(f"espeak-ng: {last or f'ended with status {done.returncode}'}")
    head, _, samples = done.stdout.partition(b"\n")
    counts = json.loads(head)
    return np.split(np.frombuffer(samples, "<i2"), np.cumsum(counts)[:-1])


def _said(utterances: Sequence[Utterance]) -> list[np.ndarray]:
    """In this process, in which espeak has said nothing yet."""
    import espeakng_loader

    espeak = ctypes.CDLL(espeakng_loader.get_library_path())
    espeak.espeak_Initialize(RETRIEVAL, 0, espeakng_loader.get_data_path().encode(), 0)
    pieces: list[np.ndarray] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def heard(samples, count, events):
        if samples and count > 0:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).astype("<i2"))
        return 0

    espeak.espeak_SetSynthCallback(heard)
    variants, found = os.listdir(Path(espeakng_loader.get_data_path(), "voices", "!v")), []
    for text, voice, speed, pitch in utterances:
        espeak.espeak_ng_SetRandSeed(1)
        known = voice.partition("+")[2] in variants  # espeak goes on without a variant that it does not know
        if not known or espeak.espeak_SetVoiceByName(voice.encode()):
            sys.exit(f"no voice {voice}")
        espeak.espeak_SetParameter(SPEED, speed, 0)
        espeak.espeak_SetParameter(PITCH, pitch, 0)
        words = text.encode()
        espeak.espeak_Synth(words, len(words) + 1, 0, 0, 0, CHARACTERS, None, None)
        espeak.espeak_Synchronize()
        found.append(np.concatenate(pieces) if pieces else np.zeros(0, "<i2"))
        pieces.clear()
    return found


if __name__ == "__main__":
    waves = _said([Utterance(*each) for each in json.load(sys.stdin)])
    sys.stdout.buffer.write(json.dumps([len(wave) for wave in waves]).encode() + b"\n")
    sys.stdout.buffer.write(b"".join(wave.tobytes() for wave in waves))
