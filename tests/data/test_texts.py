"""A text of a user's own: what is no text, or an odd one, is one line or a note; nothing held out decides anything."""

import lzma
import re

import jax
import numpy as np
import pytest

from rnnlab.data import texts
from rnnlab.data.texts import UNSEEN, read_text, text_files
from rnnlab.specs.errors import UserError
from rnnlab.tasks import OpenMark, Text

PROSE = "It was a dark (and stormy) night.\n" * 100  # 3,400 characters
BAD = {  # by name the content of a file, and what its one line says
    "empty": (b"", "is empty"),
    "white space": (b" \n\t\n", "nothing but white space"),
    "one character": (b"aaaaaaaa", "one character alone, 'a'"),
    "only line ends": (b"\r\n" * 50, "nothing but white space"),
    "a byte order mark alone": (b"\xef\xbb\xbf", "nothing but white space"),
    "latin-1": ("one\ntwo\nthr\xe9e".encode("latin-1"), r"byte 11 \(0xE9\) in line 3 is not UTF-8"),
    "windows-1252": (b"a \x93quote\x94", r"byte 2 \(0x93\) in line 1 is not UTF-8"),
    "cut within a character": ("na\xefve".encode()[:3], r"byte 2 \(0xC3\) in line 1"),
    "a surrogate": (b"ab\xed\xa0\x80cd", r"byte 2 \(0xED\)"),
    "an overlong form": (b"abc\xc0\xafd", r"byte 3 \(0xC0\)"),
    "utf-16": (PROSE.encode("utf-16"), "UTF-16: save it as UTF-8"),
    "utf-16, big-endian": (b"\xfe\xff" + PROSE.encode("utf-16-be"), "UTF-16"),
    "utf-16 without a mark": (PROSE.encode("utf-16-le"), "byte 1 is 0"),
    "utf-32": (PROSE.encode("utf-32-be"), "byte 0 is 0"),
    "zero bytes": (b"abc\0def", "byte 3 is 0, which no text has"),
    "an executable": (b"\x7fELF\x02\x01\x01\0", "it is binary"),
    "gzip": (b"\x1f\x8b\x08\0", "compressed by gzip: unpack it"),
    "bzip2": (b"BZh91AY", "compressed by bzip2"),
    "xz": (lzma.compress(b"text"), "compressed by xz"),
    "a word processor's": (b"PK\x03\x04\x14", "zip file"),
    "pdf": (b"%PDF-1.7\n", "a PDF"),
    "rtf": (rb"{\rtf1\ansi", "rich text"),
    "png": (b"\x89PNG\r\n\x1a\n", r"byte 0 \(0x89\) in line 1"),
    "text8": (b"anarchism originated as a term", "text8 has 100,000,000 characters, this has 30; by another name"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_text_is_one_line(tmp_path, name):
    content, told = BAD[name]
    (tmp_path / name).write_bytes(content)
    file = str(tmp_path / name)
    with pytest.raises(UserError, match=told) as found:
        Text(length=5, file=file)
    assert str(found.value).startswith(f"file={file}: ") and "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("characters", "length", "told"),
    [
        (1, 5, "length=5: the training part of book.txt has 1 characters; the text is too short"),
        (20, 5, "the validation part of book.txt has 1 characters; the text is too short"),
        (100, 5, "length=5: the validation part of book.txt has 5 characters; at most 4"),
        (3400, 1000, "length=1000: the validation part of book.txt has 170 characters; at most 169"),
    ],
)
def test_a_text_shorter_than_a_sequence_names_the_longest_that_fits(tmp_path, characters, length, told):
    file = tmp_path / "book.txt"
    file.write_text("ab" if characters == 1 else PROSE[:characters])
    with pytest.raises(UserError, match=re.escape(told)):
        Text(length=length, file=str(file))
    if most := re.search(r"at most (\d+)", told):
        Text(length=int(most[1]), file=str(file))


ODD = {  # by name a text that is read, the note on its card, and what its first characters are then
    "a byte order mark": (b"\xef\xbb\xbf" + PROSE.encode(), "a byte order mark left out", "It was"),
    "Windows' line ends": (PROSE.replace("\n", "\r\n").encode(), "100 line ends with a carriage return", PROSE[:40]),
    "old line ends": (PROSE.replace("\n", "\r").encode(), "100 line ends with a carriage return", PROSE[:40]),
    "unseen characters": ((PROSE + "Zürich? Zoë!").encode(), r"read as one: 7 held out, '!\?Zcëü'", "It was"),
    "other scripts": ("Ð ж 漢字 🙂\n".encode() * 300, "none", "Ð ж 漢字 🙂\n"),
    "no line ends": (b"abcd" * 500, "none", "abcdabcd"),
    "control characters": (b"page one\f\x1b[0mpage two\n" * 100, "none", "page one\f\x1b"),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_text_is_read_and_its_card_says_what_was_done(tmp_path, name):
    content, note, begins = ODD[name]
    (tmp_path / name).write_bytes(content)
    text = read_text(str(tmp_path / name))
    assert text.decode(text.training[: len(begins)]) == begins
    assert re.search(note, "; ".join(text.card.notes) or "none")
    whole = [len(part) for part in (text.training, text.validation, text.test)]
    assert sum(whole) == text.card.rows and abs(whole[0] / text.card.rows - 0.9) < 0.01


def test_an_alphabet_is_that_of_the_training_part_and_others_are_one_number(tmp_path):
    file = tmp_path / "book.txt"
    file.write_text("ab" * 450 + "abX" * 16 + "ab" * 26)
    text = read_text(str(file))
    assert text.alphabet == "ab" and text.size == 3 and set(text.training) == {0, 1} and 2 in text.validation
    assert text.decode(text.encode("abXY")) == f"ab{UNSEEN}{UNSEEN}"
    assert text.training.dtype == np.uint8
    file.write_text("".join(map(chr, range(0x4E00, 0x4E00 + 1000))) * 3)
    assert read_text(str(file)).training.dtype == np.uint16  # and the file is read again, as it has changed


def test_a_path_that_is_none_names_the_nearest(tmp_path):
    (tmp_path / "book.txt").write_text(PROSE)
    with pytest.raises(UserError, match=r"bok.txt: no such file; the nearest is .*book.txt"):
        Text(file=str(tmp_path / "bok.txt"))
    with pytest.raises(UserError, match="no such file"):
        Text(file=str(tmp_path / "none" / "book.txt"))
    with pytest.raises(UserError, match=r"read as the Penn Treebank, and holds no ptb.train.txt, ptb.valid.txt"):
        Text(file=str(tmp_path))


@pytest.mark.parametrize(
    ("form", "line"),
    [(texts.TREEBANK[0], " the <unk> of N \n"), (texts.TREEBANK[1], "t h e _ < u n k > _ o f _ N \n")],
)
def test_the_penn_treebank_is_split_by_its_files(tmp_path, form, line):
    """Both forms give the same text."""
    for name, times in (("train", 300), ("valid", 30), ("test", 20)):
        (tmp_path / form.format(name)).write_text(line * times)
    text = Text(length=10, file=str(tmp_path)).text
    parts = [text.decode(part) for part in (text.training, text.validation, text.test)]
    assert parts == ["the <unk> of N\n" * times for times in (300, 30, 20)]
    assert "spaces at both ends of each line left out" in text.card.notes
    assert len(text_files(str(tmp_path))) == 3
    (tmp_path / form.format("test")).unlink()
    with pytest.raises(UserError, match=r"has ptb.*train.txt and no ptb.*test.txt"):
        Text(length=10, file=str(tmp_path))


def test_text8_is_split_as_is_customary(monkeypatch, tmp_path):
    monkeypatch.setattr(texts, "TEXT8", 2000)
    (tmp_path / "text8").write_text(("anarchism originated as a term of abuse " * 50)[:2000])
    text = read_text(str(tmp_path / "text8"))
    assert [len(part) for part in (text.training, text.validation, text.test)] == [1800, 100, 100]


def test_pythons_manual_holds_no_paragraph_twice():
    """Or its test part would be known from training: one of its topics holds others whole."""
    text = read_text(None)
    parts = [text.decode(part) for part in (text.training, text.validation, text.test)]
    paragraphs = [" ".join(p.split()) for p in "".join(parts).split("\n\n") if p.strip()]
    assert len(paragraphs) == len(set(paragraphs)) > 1000


def test_a_mark_stands_before_text_without_marks():
    task = OpenMark(length=50)
    batch = task.held_out(jax.random.key(0), 40)
    first, rest = np.asarray(batch.inputs[0]), np.asarray(batch.inputs[1:])
    np.testing.assert_array_equal(first - task.text.size, batch.targets[0])
    assert rest.max() < task.text.size and set(np.asarray(batch.targets[0])) == {0, 1, 2, 3}
    assert not set(task.text.decode(rest.ravel())) & set("()[]{}\"'")
    whole = task.text.decode(task.text.validation)
    assert all(task.text.decode(column) in whole for column in rest.T)
