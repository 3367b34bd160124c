"""Transcripts from a trained network: of recordings of one's own; one line where it fails."""

import contextlib

import jax.numpy as jnp
import numpy as np
import pytest
from made_recordings import tones, write_folder
from scipy.io import wavfile

import rnnlab
from rnnlab import transcribe as program
from rnnlab.data import log_mel
from rnnlab.data.wav_file import read_wav
from rnnlab.probes.speech.prefix_beam import prefix_beam
from rnnlab.settings.errors import SettingError
from rnnlab.specs.errors import UserError
from rnnlab.tasks.transcription import best_path

pytestmark = pytest.mark.slow

SAYINGS = ["".join(np.random.default_rng(n).choice(list("abc"), 1 + n % 3)) for n in range(80)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Of tones that stand for letters; what it says is the network's own, right or wrong."""
    here = tmp_path_factory.mktemp("transcribe")
    folder = write_folder(here / "own", SAYINGS)
    settings = {"task.folder": str(folder), "task.length": 32, "cell.features": 8}
    with contextlib.chdir(here):
        found = rnnlab.run("speech", tier="smoke", arms="*/LSTM, both ways", settings=settings, quiet=True)
    return here / found.folder


@pytest.fixture
def said(tmp_path):
    def write(text, rate=16000):
        file = tmp_path / f"{text}.wav"
        wavfile.write(file, rate, np.stack([tones(text, rate, 999)] * 2, axis=1).astype(np.float32))
        return file

    return write


def test_it_says_what_its_network_hears_at_another_rate_and_in_stereo(run, said):
    """The features, their scale and the tokens are those of training: by the task's own corpus, computed anew."""
    trained = rnnlab.load(run, seed=0, at="best")
    corpus = trained.task.corpus
    for text in ("cab", "bb"):
        wave = read_wav(said(text))
        features = corpus.scaled(log_mel.features(wave)).astype(np.float32)
        outputs, length = trained.model(jnp.asarray(features)[:, None]), jnp.array([len(features)])
        for beam, heard in ((1, best_path(outputs, length)), (8, prefix_beam(outputs, length, len(features), 8))):
            assert rnnlab.transcribe(run, said(text), beam=beam) == corpus.said([int(k) for k in heard[:, 0] if k])


def test_the_command_prints_a_line_a_file(run, said, capsys):
    one, two = said("ab"), said("ba")
    assert program.main(["transcribe", str(run), str(one)]) == 0
    out = capsys.readouterr().out
    assert out == rnnlab.transcribe(run, one) + "\n"
    assert program.main(["transcribe", str(run), str(one), str(two)]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{one}: {out.strip()}", f"{two}: {rnnlab.transcribe(run, two)}"]


def test_silence_says_nothing(run, tmp_path):
    wavfile.write(tmp_path / "s.wav", 8000, np.zeros(4000, np.int16))
    assert rnnlab.transcribe(run, tmp_path / "s.wav") == ""


def test_what_is_wrong_is_one_line(run, tmp_path, said, capsys):
    (tmp_path / "broken.wav").write_bytes(b"RIFF....WAVE")
    for words, told in (
        ([str(run), str(tmp_path / "broken.wav")], "broken.wav: "),
        ([str(run), str(tmp_path / "none.wav")], "none.wav: no such file"),
        ([str(run)], "python -m rnnlab.transcribe RUN file.wav"),
        ([str(tmp_path), str(said("a"))], "no run of rnnlab"),
    ):
        assert program.main(["transcribe", *words]) == 2
        err = capsys.readouterr().err
        assert err.startswith("rnnlab: ") and told in err and err.count("\n") == 1
    with pytest.raises(SettingError, match="beam=0: must be at least 1"):
        rnnlab.transcribe(run, said("a"), beam=0)
    with pytest.raises(UserError, match="is a folder"):
        rnnlab.transcribe(run, tmp_path)
