"""Log-mel features of a recording (Davis & Mermelstein 1980), and several frames in one step (Sak et al. 2015)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

RATE = 8000  # samples a second
WINDOW, HOP, FFT = 200, 80, 256  # samples: 25 ms every 10 ms
BANDS, LOW, HIGH = 26, 64.0, 3800.0  # Hz
FLOOR = 6.0  # decades below the loudest band of a recording: what is softer counts as silence
STACK = 3  # frames in a step: 30 ms
PAUSE, MARGIN = 3.0, 5  # decades below the loudest band where a pause begins at an end, and frames of it that are kept


def mel(hertz: Float[np.ndarray, "*N"] | float) -> Float[np.ndarray, "*N"] | float:
    """Perceived pitch, as HTK computes it: 2595 log10(1 + f/700)."""
    return 2595 * np.log10(1 + np.asarray(hertz, np.float64) / 700)


def hertz(mels: Float[np.ndarray, "*N"] | float) -> Float[np.ndarray, "*N"] | float:
    """The inverse of `mel`."""
    return 700 * (10 ** (np.asarray(mels, np.float64) / 2595) - 1)


def filters() -> Float[np.ndarray, "M F"]:
    """Triangles of height 1 over the FFT's frequencies; each begins and ends at its neighbours' centres."""
    edges = hertz(np.linspace(mel(LOW), mel(HIGH), BANDS + 2))
    at = np.arange(FFT // 2 + 1) * RATE / FFT
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return np.clip(np.minimum((at - left) / (centre - left), (right - at) / (right - centre)), 0, None)


def power_spectrum(wave: Float[np.ndarray, " n"]) -> Float[np.ndarray, "T F"]:
    """|FFT|^2 of each Hann window; what is shorter than one is filled up by zeros."""
    wave = np.pad(np.asarray(wave, np.float64), (0, max(WINDOW - len(wave), 0)))
    windows = np.lib.stride_tricks.sliding_window_view(wave, WINDOW)[::HOP]
    return np.abs(np.fft.rfft(windows * np.hanning(WINDOW + 1)[:-1], FFT)) ** 2


def log_mel(wave: Float[np.ndarray, " n"]) -> Float[np.ndarray, "T M"]:
    """log10 of the power in each mel band over that in the loudest, -`FLOOR` to 0: a recording's level tells nothing.

    `wave` has `RATE` samples a second. Where there is nothing but silence all is -`FLOOR`.
    """
    power = power_spectrum(wave) @ filters().T
    return np.log10(np.maximum(power / max(power.max(), np.finfo(np.float64).tiny), 10**-FLOOR))


def features(wave: Float[np.ndarray, " n"]) -> Float[np.ndarray, "S D"]:
    """What networks read: `log_mel` without the pauses at both ends, less each band's mean, `stacked`.

    The mean holds what a microphone and a line do to all frames alike (Atal 1974, of cepstra); pauses would change it.
    """
    frames = log_mel(wave)
    loudest = frames.max(axis=1)
    heard = np.flatnonzero(loudest > loudest.max() - PAUSE)
    frames = frames[max(heard[0] - MARGIN, 0) : heard[-1] + MARGIN + 1]
    return stacked(frames - frames.mean(axis=0))


def stacked(frames: Float[np.ndarray, "T M"]) -> Float[np.ndarray, "S D"]:
    """`STACK` frames side by side a step; the last step is filled up by its last frame."""
    frames = np.concatenate([frames, np.repeat(frames[-1:], -len(frames) % STACK, axis=0)])
    return frames.reshape(len(frames) // STACK, -1)
