"""Log-mel features against closed forms and an implementation that shares no line with them."""

import math

import numpy as np
import pytest

from rnnlab.data import log_mel


def test_mel_is_1000_at_1000_hertz_and_its_inverse_gives_it_back():
    """By the definition of the scale, to 0.1 %."""
    assert abs(log_mel.mel(1000.0) - 1000) < 1
    np.testing.assert_allclose(log_mel.hertz(log_mel.mel(np.array([0.0, 64, 3800]))), [0, 64, 3800], atol=1e-9)


@pytest.mark.parametrize("band", [3, 12, 22])
def test_a_pure_tone_lights_its_own_band(band):
    edges = log_mel.hertz(np.linspace(log_mel.mel(log_mel.LOW), log_mel.mel(log_mel.HIGH), log_mel.BANDS + 2))
    wave = np.sin(2 * np.pi * edges[band + 1] * np.arange(8000) / log_mel.RATE)
    found = log_mel.log_mel(wave)
    assert (found.argmax(axis=1) == band).all() and found.max() == 0
    assert len(found) == 1 + (8000 - log_mel.WINDOW) // log_mel.HOP


def test_the_power_spectrum_keeps_the_windows_energy():
    """Parseval: a real signal's energy is the mean of |FFT|^2 over all frequencies."""
    wave = np.random.default_rng(0).standard_normal(log_mel.WINDOW)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(log_mel.WINDOW) / log_mel.WINDOW)
    [power] = log_mel.power_spectrum(wave)
    both_sides = power[0] + power[-1] + 2 * power[1:-1].sum()
    np.testing.assert_allclose(both_sides / log_mel.FFT, ((wave * window) ** 2).sum(), rtol=1e-12)


def test_features_are_those_of_a_plain_loop():
    wave = np.random.default_rng(1).standard_normal(1000)
    found = log_mel.log_mel(wave)
    low, high = (2595 * math.log10(1 + f / 700) for f in (log_mel.LOW, log_mel.HIGH))
    edges = [700 * (10 ** ((low + (high - low) * k / 27) / 2595) - 1) for k in range(28)]
    powers = []
    for start in range(0, 1000 - 200 + 1, 80):
        cut = [wave[start + n] * math.sin(math.pi * n / 200) ** 2 for n in range(200)]
        bands = [0.0] * 26
        for k in range(129):
            turn = np.exp(-2j * math.pi * k * np.arange(200) / 256)
            power, f = abs((np.array(cut) * turn).sum()) ** 2, k * 8000 / 256
            for b in range(26):
                a, c, d = edges[b : b + 3]
                bands[b] += power * ((f - a) / (c - a) if a < f <= c else (d - f) / (d - c) if c < f < d else 0.0)
        powers.append(bands)
    powers = np.array(powers)
    np.testing.assert_allclose(found, np.maximum(np.log10(powers / powers.max()), -6), atol=1e-9)


def test_level_tells_nothing_and_silence_is_the_floor():
    wave = np.random.default_rng(2).standard_normal(2000)
    np.testing.assert_allclose(log_mel.log_mel(wave), log_mel.log_mel(1e-3 * wave), atol=1e-9)
    for silence in (np.zeros(2000), np.zeros(0), np.zeros(10)):
        assert (log_mel.log_mel(silence) == -log_mel.FLOOR).all() and len(log_mel.log_mel(silence))


def test_a_microphone_is_taken_away():
    """A filter of two samples weighs each band: log-mel features shift by its log gain, those that are read do not."""
    wave = np.random.default_rng(4).standard_normal(20_000)
    filtered = wave - 0.9 * np.concatenate([[0], wave[:-1]])
    before, after = (log_mel.log_mel(each)[1:] for each in (wave, filtered))
    shift = (after - before).mean(axis=0)
    assert np.ptp(shift) > 1
    read = [log_mel.features(each) for each in (wave, filtered)]
    np.testing.assert_allclose(np.concatenate(np.split(read[0], 3, axis=1)).mean(axis=0), 0, atol=1e-2)
    assert np.abs(read[1] - read[0])[1:].mean() < 0.1
    assert (log_mel.features(np.zeros(900)) == 0).all()


def test_pauses_at_both_ends_change_nothing():
    rng = np.random.default_rng(5)
    wave, pause = rng.standard_normal(8000), np.zeros(40 * log_mel.HOP)
    short = log_mel.features(np.concatenate([pause, wave, pause]))
    long = log_mel.features(np.concatenate([pause, pause, wave, pause, pause, pause]))
    np.testing.assert_allclose(long, short, atol=1e-12)
    assert len(short) < 8000 / log_mel.HOP / 3 + 6 and (log_mel.features(np.zeros(8000)) == 0).all()


def test_frames_are_stacked_and_the_last_step_is_filled_up():
    frames = np.arange(7 * log_mel.BANDS, dtype=float).reshape(7, -1)
    steps = log_mel.stacked(frames)
    assert steps.shape == (3, 3 * log_mel.BANDS)
    np.testing.assert_array_equal(steps[1].reshape(3, -1), frames[3:6])
    np.testing.assert_array_equal(steps[2].reshape(3, -1), frames[[6, 6, 6]])
