"""A user's own folder of recordings: what is wrong in it is one line, what is odd stands on the card."""

import shutil

import numpy as np
import pytest
from made_recordings import write_folder
from scipy.io import wavfile

from rnnlab.data.recordings import read_folder, steps_needed
from rnnlab.specs.errors import UserError
from rnnlab.tasks import SpokenDigits

SAYINGS = ["".join(np.random.default_rng(n).choice(list("abc"), 1 + n % 3)) for n in range(60)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("own") / "speech", SAYINGS)


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "speech")


def test_it_is_split_by_its_files_and_scaled_by_the_training_part(whole):
    found = read_folder(str(whole), 60)
    assert found.tokens == ("a", "b", "c") and found.between == ""
    assert sum(map(len, (found.training, found.validation, found.test))) == len(SAYINGS)
    np.testing.assert_allclose(found.training.frames.astype(float).mean(axis=0), 0, atol=2e-3)
    assert sorted(found.said(p.tokens(i)) for p in (found.training, found.validation, found.test)
                  for i in range(len(p))) == sorted(SAYINGS)  # fmt: skip


TABLES = {  # by name the content of metadata.csv, and what its one line says
    "empty": (b"", "is empty"),
    "white space": (b"\n \n", "names no recording"),
    "commas": (b"r0,abc\n", r"line 1: 1 columns by \|.*commas"),
    "one column": (b"r0|a\nr1\n", "line 2: 1 columns"),
    "four columns": (b"r0|a|a|a\n", "line 1: 4 columns"),
    "latin-1": ("r0|a\nr1|\xe9".encode("latin-1"), r"\(0xE9\) in line 2 is not UTF-8"),
    "utf-16": ("r0|a\n".encode("utf-16"), "UTF-16: save it as UTF-8"),
    "no transcript": (b"r0|\n", "line 1: r0 has no transcript"),
    "white transcript": (b"r0|  |  \n", "line 1: r0 has no transcript"),
    "no name": (b"|a\n", "line 1: '' is no name of a file"),
    "a path": (b"../r0|a\n", r"line 1: '../r0' is no name of a file in wavs/"),
    "a dot": (b"..|a\n", "is no name of a file"),
    "twice": (b"r0|a\nr0|b\n", "line 2: r0 stands there twice"),
    "a missing file": (b"r0|a\nr999|b\n", r"r999.wav: no such file"),
    "too few": (b"r0|a\nr1|b\n", "recordings in the training part, where at least 8 are needed"),
    "html": (b"<html><body>r0</body></html>\n", "line 1: 1 columns"),
    "binary": (bytes(range(256)), "byte 0 is 0, which no text has"),
}


@pytest.mark.parametrize("name", TABLES)
def test_what_is_wrong_with_a_table_is_one_line(folder, name):
    content, told = TABLES[name]
    (folder / "metadata.csv").write_bytes(content)
    with pytest.raises(UserError, match=told) as found:
        SpokenDigits(folder=str(folder))
    assert str(folder) in str(found.value) and "\n" not in str(found.value)


def test_what_is_no_such_folder_is_one_line(tmp_path, folder):
    with pytest.raises(UserError, match=r"folder=.*speec: no such folder; the nearest is .*speech"):
        SpokenDigits(folder=str(folder)[:-1])
    with pytest.raises(UserError, match=r"holds no metadata\.csv"):
        SpokenDigits(folder=str(tmp_path))
    with pytest.raises(UserError, match="is a file; a folder is needed"):
        SpokenDigits(folder=str(folder / "metadata.csv"))
    (folder / "wavs" / "r3.wav").write_bytes(b"RIFF")
    with pytest.raises(UserError, match=r"r3.wav: is no WAV file"):
        SpokenDigits(folder=str(folder))
    with pytest.raises(UserError, match="no such folder"):
        SpokenDigits(recordings=str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"no folder in it holds 0.wav to 9.wav"):
        SpokenDigits(recordings=str(tmp_path))


def test_what_is_odd_is_left_out_and_stands_on_the_card(folder):
    wavfile.write(folder / "wavs" / "r0.wav", 8000, np.zeros(4000, np.int16))
    wavfile.write(folder / "wavs" / "r1.wav", 8000, np.random.default_rng(0).integers(-9, 9, 99_000).astype(np.int16))
    table = (folder / "metadata.csv").read_text().replace("r2|", "r2|x|" + "a" * 80 + "\n#").splitlines()
    text = "\r\n".join(line for line in table if not line.startswith("#"))
    (folder / "metadata.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    notes = "; ".join(SpokenDigits(folder=str(folder)).card.notes)
    for told in ("1 recordings of nothing but silence", "1 recordings longer than 96 steps", "1 recordings with a "
                 "transcript longer than their steps allow", "a speaker may be in several parts"):  # fmt: skip
        assert told in notes


def test_equal_neighbours_need_a_blank_between_them():
    assert [steps_needed(said) for said in ("a", "ab", "aa", "aaab")] == [1, 2, 3, 6]


def test_nothing_held_out_decides_what_is_trained_on(whole, folder):
    """With the sound of the test part's files replaced, batches of training and validation keep every bit."""
    import hashlib

    import jax

    before = SpokenDigits(folder=str(folder))
    drawn = [jax.device_get(draw(jax.random.key(0), 8)) for draw in (before.sample, before.held_out)]
    files = sorted((folder / "wavs").iterdir())
    tests = [f for f in files if int(hashlib.sha256(f.read_bytes()).hexdigest()[:8], 16) % 10 == 0]
    assert tests
    for number, file in enumerate(tests):
        for seed in range(100):  # another sound whose digest stays in the test part
            noise = np.random.default_rng((number, seed)).integers(-3000, 3000, 6000).astype(np.int16)
            wavfile.write(file, 8000, noise)
            if int(hashlib.sha256(file.read_bytes()).hexdigest()[:8], 16) % 10 == 0:
                break
    after = SpokenDigits(folder=str(folder))
    assert after.corpus.test.sha256 != SpokenDigits(folder=str(whole)).corpus.test.sha256
    again = [jax.device_get(draw(jax.random.key(0), 8)) for draw in (after.sample, after.held_out)]
    jax.tree.map(np.testing.assert_array_equal, drawn, again)
