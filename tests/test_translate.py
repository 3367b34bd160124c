"""`python -m rnnlab.translate`: a sentence by a run's network, and one line for what cannot be had."""

import io

import pytest

import rnnlab
from rnnlab import translate as program
from rnnlab.settings.errors import SettingError

pytestmark = pytest.mark.slow
ARMS = "number words/LSTM*"


@pytest.fixture(autouse=True)
def fresh_flags():
    """As in a process of its own."""
    yield
    program.FLAGS.unparse_flags()
    for name in program.FLAGS:
        program.FLAGS[name].unparse()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A smoke run's, its networks hardly trained."""
    folder = tmp_path_factory.mktemp("run") / "translation"
    settings = {"task.size": 400, "task.numbers": 1000, "task.length": 20, "task.source_length": 10}
    rnnlab.run("translation", tier="smoke", workdir=str(folder), arms=ARMS, settings=settings, quiet=True)
    return folder


def test_a_sentence_in_python_and_on_the_command_line(folder, capsys):
    found = rnnlab.translate(folder, "ninety-nine", beam=3)
    assert program.main(["translate", str(folder), "ninety-nine", "--beam=3"]) == 0
    assert capsys.readouterr().out == f"{found}\n"
    arm = "number words/LSTM, attention"
    assert program.main(["translate", str(folder), "ninety-nine", f"--arm={arm}", "--beam=1"]) == 0
    assert capsys.readouterr().out == f"{rnnlab.translate(folder, 'ninety-nine', 1, arm)}\n"


def test_lines_of_the_standard_input_and_a_file(folder, capsys, monkeypatch, tmp_path):
    lines = "one\n\nxylophone " + "seven " * 12 + "\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    assert program.main(["translate", str(folder), "-", f"--out={tmp_path / 'out.txt'}"]) == 0
    out, err = capsys.readouterr()
    assert not out and len((tmp_path / "out.txt").read_text().split("\n")) == 4
    assert "'xylophone': not in the training sentences, read as unknown" in err
    assert "13 tokens: longer than any in training, of at most 6" in err
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"one\n\xff\n")))
    assert program.main(["translate", str(folder), "-"]) == 2
    assert "standard input, line 2: not UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([""], "nothing to translate"),
        (["   "], "nothing to translate"),
        (["one", "--arm=GRUU"], "arm=GRUU: no such arm of Translation"),
        (["one", "--seed=7"], "seed=7: no such trial; there are 0 to 0"),
        (["one", "--beam=0"], "beam"),
        (["one", "--beam=2.5"], "beam"),
        (["one", "--bean=2"], "--bean: no such flag; the nearest is --beam"),
        ([], "python -m rnnlab.translate RUN"),
        (["one", "two"], "python -m rnnlab.translate RUN"),
    ],
)
def test_what_cannot_be_had_is_one_line(folder, capsys, words, told):
    assert program.main(["translate", str(folder), *words]) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith("rnnlab: ") and told in err and err.count("\n") == 1


def test_other_runs_and_beams_are_refused(folder, tmp_path):
    with pytest.raises(SettingError, match="nowhere"):
        rnnlab.translate(tmp_path / "nowhere", "one")
    with pytest.raises(SettingError, match="beam=0: must be a whole number from 1"):
        rnnlab.translate(folder, "one", beam=0)
    with pytest.raises(SettingError, match="nothing to translate"):
        rnnlab.translate(folder, " ")
