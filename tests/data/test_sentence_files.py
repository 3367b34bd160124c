"""Pairs of a user's own: what is no such file is one line, and what is odd is a note on the card."""

import lzma

import numpy as np
import pytest

from rnnlab.data.pairs import END, OTHER, PARTS, SIGNS
from rnnlab.data.sentence_files import read_pairs
from rnnlab.data.tokens import UNKNOWN, sentence, tokens
from rnnlab.specs.errors import UserError
from rnnlab.tasks import Translation

NAMES = ["anna", "bob", "carl", "dora", "emil", "fred", "gina", "hugo", "ida", "jan"]
VERBS = {"sees": "sieht", "hears": "hört", "knows": "kennt", "calls": "ruft", "likes": "mag", "finds": "findet"}
ROWS = [(f"{a} {verb} {b}.", f"{a} {VERBS[verb]} {b}.") for a in NAMES for verb in VERBS for b in NAMES if a != b]


def written(rows, end="\n", mark="\t"):
    return "".join(mark.join(row) + end for row in rows).encode()


GOOD = written(ROWS)
BAD = {  # by name the content of a file, and what its one line says
    "empty": (b"", "is empty"),
    "white space": (b" \n \n", "holds no pair"),
    "a byte order mark alone": (b"\xef\xbb\xbf", "holds no pair"),
    "latin-1": ("a\tb\nhört\tzu\n".encode("latin-1"), r"\(0xF6\) in line 2 is not UTF-8; as `iconv"),
    "windows-1252": (b"a\tb\nc\td\n\x93quote\x94\tx\n", r"\(0x93\) in line 3 is not UTF-8"),
    "cut within a character": (GOOD + "naïve\thör".encode()[:-1] + b"\xc3", "is not UTF-8"),
    "utf-16": (GOOD.decode().encode("utf-16"), "UTF-16: save it as UTF-8"),
    "utf-16 without a mark": (GOOD.decode().encode("utf-16-le"), "byte 1 is 0"),
    "zero bytes": (b"a\tb\0\n", "byte 3 is 0"),
    "gzip": (b"\x1f\x8b\x08\0", "compressed by gzip: unpack it"),
    "bzip2": (b"BZh91AY", "compressed by bzip2"),
    "xz": (lzma.compress(GOOD), "compressed by xz"),
    "a zip file, as ManyThings has them": (b"PK\x03\x04\x14", "zip file"),
    "pdf": (b"%PDF-1.7\n", "a PDF"),
    "a web page": (b"<!DOCTYPE html>\n<table><tr>", "a web page or XML"),
    "tmx": (b'<?xml version="1.0"?><tmx>', "a web page or XML"),
    "no tab": (b"one sentence\n" * 60, "line 1: 'one sentence' has no tab; each line is source TAB target"),
    "commas": (written(ROWS, mark=","), "its columns may be parted by commas: write tabs"),
    "semicolons": (written(ROWS, mark=";"), "parted by semicolons"),
    "bars": (written(ROWS, mark=" | "), "parted by bars"),
    "spaces for tabs": (written(ROWS, mark="    "), "parted by spaces"),
    "one line without a tab": (
        GOOD + b"and then\n",
        "line 541: 'and then' has no tab; each line is source TAB target .a",
    ),
    "too few": (written(ROWS[:20]), "20 pairs; at least 50 are needed"),
    "one side empty throughout": (written((a, "") for a, _ in ROWS), "0 pairs; at least 50"),
    "all targets the same": (written((a, "ja.") for a, _ in ROWS), "all its targets are 'ja.'"),
    "all sources the same": (written(("yes.", b) for _, b in ROWS), "all its sources are 'yes.'"),
    "both columns the same": (written((a, a) for a, _ in ROWS), "both columns are the same"),
    "one pair again and again": (written(ROWS[:1] * 100), "all its sources are 'anna sees bob.'"),
    "numbers alone": (written((str(n), str(n * n)) for n in range(100)), "columns 1 and 2 hold nothing but numbers"),
    "five columns": (written((a, b, "x", "y", "z") for a, b in ROWS), "line 1: 5 columns; source, target"),
    "four columns of text": (written((a, b, a, b) for a, b in ROWS), "line 1: 4 columns"),
    "all too long": (
        written((a * 20, b * 20) for a, b in ROWS),
        "540 of 540 pairs are longer than 24 and 24 words; task.length=161 task.source_length=80 holds",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_file_of_pairs_is_one_line(tmp_path, name):
    content, told = BAD[name]
    file = str(tmp_path / "pairs.tsv")
    (tmp_path / "pairs.tsv").write_bytes(content)
    with pytest.raises(UserError, match=told) as found:
        Translation(pairs=file)
    assert str(found.value).startswith(f"pairs={file}") and "\n" not in str(found.value)
    assert len(str(found.value).removeprefix(f"pairs={file}")) < 250


ODD = {  # by name the content, and the note on the card
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD, "a byte order mark left out"),
    "carriage returns": (written(ROWS, end="\r\n"), "540 line ends with a carriage return made plain"),
    "old line ends": (written(ROWS, end="\r"), "540 line ends with a carriage return"),
    "a header": (b"English\tGerman\n" + GOOD, "line 1, 'English | German', is a header"),
    "quotes around every cell": (written((f'"{a}"', f'"{b}"') for a, b in ROWS), "quotation marks around every cell"),
    "attributions": (written((a, b, "CC-BY 2.0 (France)") for a, b in ROWS), "a third column in 540 lines is left out"),
    "numbers of Tatoeba": (written(("12", a, "77", b) for a, b in ROWS), "columns 1 and 3 are Tatoeba's numbers"),
    "numbers of lines": (written((str(n), *row) for n, row in enumerate(ROWS)), "column 1 holds numbers of lines"),
    "empty lines": (GOOD.replace(b"\n", b"\n\n", 3), "3 empty lines left out"),
    "one side empty": (GOOD + b"alone\t\n\tallein\n", "2 lines with an empty side are left out"),
    "comments": (b"# from Tatoeba\n" + GOOD, "1 lines that begin with # and have no tab left out"),
    "pairs twice": (GOOD + written(ROWS[:7]), "7 pairs that stand in the file more than once are read once"),
    "tags": (GOOD + b"<b>no</b> sees bob.\tnein\n", "1 sentences have HTML tags"),
    "entities": (GOOD + b"q &amp; a\tf &amp; a\n", "2 sentences have HTML entities"),
    "too long ones": (GOOD + b"a " * 99 + b"\tb\n", "1 of 541 pairs longer than 24 and 24 are left out"),
    "spaces at will": (written((f"  {a.replace(' ', '   ')}", f"{b} ") for a, b in ROWS), "540 pairs"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_read_and_noted(tmp_path, name):
    content, note = ODD[name]
    (tmp_path / "pairs.tsv").write_bytes(content)
    data = Translation(pairs=str(tmp_path / "pairs.tsv")).data
    if name != "spaces at will":
        assert any(note in told for told in data.card.notes), data.card.notes
    assert sum(len(data.parts[part].source) for part in PARTS) in (540, 541)
    assert all("\t" not in text and "  " not in text for pair in data.texts["test"] for text in pair)


def test_a_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "deu.txt").write_bytes(GOOD)
    with pytest.raises(UserError, match=r"no such file; the nearest is .*deu.txt"):
        Translation(pairs=str(tmp_path / "deu.tx"))
    with pytest.raises(UserError, match="is a folder; name a file in it"):
        Translation(pairs=str(tmp_path))


def test_all_pairs_of_a_source_are_in_one_part(tmp_path):
    rows = ROWS + [(source, f"{target} ja.") for source, target in ROWS]
    (tmp_path / "pairs.tsv").write_bytes(written(rows))
    data = Translation(pairs=str(tmp_path / "pairs.tsv")).data
    sets = [{tuple(row) for row in data.parts[part].source} for part in PARTS]
    assert all(sets) and sum(map(len, sets)) == len(set().union(*sets)) == len(ROWS)


def test_numbers_and_back(tmp_path):
    """Words of the held-out parts that training lacks are unknown, and a reference keeps them."""
    (tmp_path / "pairs.tsv").write_bytes(GOOD)
    first = Translation(pairs=str(tmp_path / "pairs.tsv")).data
    known = {source for part in PARTS[1:] for source, _ in first.texts.get(part, ())}
    rows = [(a, b.replace(".", " wirklich.") if a in known else b) for a, b in ROWS]
    (tmp_path / "pairs.tsv").write_bytes(written(rows))
    data = Translation(pairs=str(tmp_path / "pairs.tsv")).data
    assert "wirklich" not in data.target_tokens and {"sieht", ".", "bob"} <= set(data.target_tokens)
    for row, (source, target) in zip(data.parts["test"].target, data.texts["test"], strict=True):
        assert "wirklich" in target and data.decode(row) == target.replace("wirklich", UNKNOWN)
        assert END in row and (row[: np.argmax(row == END)] < data.outputs).all() and OTHER in row
        assert data.encode(source)[1] == []
    assert (
        data.parts["training"].source.max() == data.size - 1 and data.parts["training"].target.max() == data.outputs - 1
    )
    assert data.size == SIGNS + len(data.source_tokens) + len(data.target_tokens)
    assert data.encode("Anna sieht BOB.") == ([*data.encode("anna")[0], OTHER, *data.encode("bob.")[0]], ["sieht"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Twenty-one thousand, and four", "twenty - one thousand , and four"),
        ("¿Qué?  Don't (never)!", "¿ qué ? don't ( never ) !"),
        ("cafe\u0301 3.5", "café 3 . 5"),
    ],
)
def test_words_and_marks_apart(text, words):
    assert tokens(text, "words") == tuple(words.split())
    assert (
        "".join(tokens(text, "characters")) == " ".join(tokens(text, "characters") and text.lower().split())
        or "é" in words
    )


def test_sentences_are_written_as_one_writes_them():
    for text in ("twenty-one thousand, and four", "¿qué? don't (never)!", "ciento veintiuno mil"):
        for units in ("words", "characters"):
            assert sentence(tokens(text, units), units) == text


def test_letters_keep_the_marks_that_combine_with_them():
    assert tokens("\u0939\u093f\u0928\u094d\u0926\u0940 \u0964", "words") == (
        "\u0939\u093f\u0928\u094d\u0926\u0940",
        "\u0964",
    )
    assert tokens("\u0130stanbul'da, e\u0301t\u00e9!", "words") == ("i\u0307stanbul'da", ",", "\u00e9t\u00e9", "!")


def test_the_held_out_sentences_are_a_sample_each_once_and_near_copies_lie_in_one_part(tmp_path):
    """Of a file that is sorted by length, of a source in two spellings, and of one with two targets."""
    words = [f"w{n % 97}" for n in range(4000)]
    lines = [" ".join(words[n : n + 1 + n // 400]) + f" n{n}" for n in range(3000)]
    rows = [f"{line}\t{line.upper()} x" for line in lines]
    rows += [f"{line.upper()}!\tanother" for line in lines]
    file = tmp_path / "sorted.tsv"
    file.write_text("\n".join(rows))
    found = read_pairs(str(file), "words", (20, 20), 1)
    sources = [source for source, _ in found.texts["test"]]
    assert len(sources) == len(set(sources))
    lengths = [len(source.split()) for source in sources]
    assert abs(np.mean(lengths[:100]) - np.mean(lengths)) < 1
    bare = {part: {source.rstrip("!") for source, _ in found.texts[part]} for part in ("validation", "test")}
    assert not bare["validation"] & bare["test"]
    assert any("of the test part's targets are also those of other sources" in note for note in found.card.notes)


def test_targets_that_training_cannot_know_are_refused(tmp_path):
    file = tmp_path / "a.tsv"
    file.write_text("\n".join(f"the number {n}\tzahl{n}" for n in range(2000)))
    with pytest.raises(UserError, match=r"100 % of its target words .* at least 2 times: task.units=char"):
        read_pairs(str(file), "words", (20, 20), 2)


def test_a_header_is_told_by_one_known_language_or_by_its_quotation_marks(tmp_path):
    file = tmp_path / "a.tsv"
    file.write_bytes(b"English\tPig\n" + GOOD)
    assert any("'English | Pig', is a header" in note for note in Translation(pairs=str(file)).card.notes)
    quoted = "\n".join('"{}"\t"{}"'.format(*line.split("\t")) for line in GOOD.decode().splitlines())
    file.write_text("one\ttwo\n" + quoted + "\n")
    found = Translation(pairs=str(file))
    assert any("it alone has no quotation marks" in note for note in found.card.notes)
    assert not any('"' in text for pair in found.data.texts["test"] for text in pair)
    with pytest.raises(UserError, match="pairs=: names no file"):
        Translation(pairs="")
