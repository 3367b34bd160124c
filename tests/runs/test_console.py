"""Whatever a program is given, it says what is wrong in one line; and its reader may go away."""

import errno
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rnnlab import compare, postmortem, publish
from rnnlab.clusters.engines import EngineError
from rnnlab.runs.console import one_line
from rnnlab.runs.files import Damaged, write_json
from rnnlab.settings.errors import SettingError

PROGRAMS = {
    "postmortem": lambda folder, into: postmortem.main(["postmortem", str(folder)]),
    "publish": lambda folder, into: publish.main(["publish", str(folder), str(into)]),
    "compare": lambda folder, into: compare.main(["compare", str(folder), str(folder)]),
}
FILES = ("config.json", "environment.json", "results.json")
LACKS = {"postmortem": "no configuration", "publish": "no results of rnnlab", "compare": "no results of rnnlab"}


def absent(folder):
    return folder / "absent", "no such folder|no finished run of rnnlab"


def a_file(folder):
    (folder / "file").write_text("mine")
    return folder / "file", "no (finished )?run of rnnlab"


def cut(folder):
    for name in FILES:
        (folder / name).write_text('{"experiment": "long_')
    return folder, r"\.json: damaged"


def something_else(folder):
    for name in FILES:
        write_json(folder / name, [1, 2])
    return folder, "damaged"


def lacking(folder):
    for name in FILES:
        write_json(folder / name, {})
    return folder, "damaged"


def folders(folder):
    for name in FILES:
        (folder / name).mkdir()
    return folder, r"\.json: Is a directory$"


def told(status, capsys):
    out, err = capsys.readouterr()
    assert (status, out) == (2, "") and err.startswith("rnnlab: ") and err.count("\n") == 1
    return err.rstrip("\n")


@pytest.mark.parametrize("bad", [absent, a_file, cut, something_else, lacking, folders])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_bad_folder_is_one_clear_line_and_nothing_is_written(tmp_path, capsys, program, bad):
    folder, message = bad(tmp_path)
    before = sorted(tmp_path.iterdir())
    said = told(PROGRAMS[program](folder, tmp_path / "result"), capsys)
    assert str(folder) in said and sorted(tmp_path.iterdir()) == before
    assert re.search(message, said), said
    assert bad is not lacking or LACKS[program] in said


@pytest.mark.parametrize("main", [postmortem.main, publish.main, compare.main])
@pytest.mark.parametrize("words", [[], ["a", "b", "c"]])
def test_a_wrong_number_of_words_is_answered_with_the_right_one(capsys, main, words):
    assert "python -m rnnlab." in told(main(["program", *words]), capsys)


def test_settings_of_another_version_are_named_with_their_file(tmp_path, capsys):
    arms = {"A/LSTM": {"cell": "LSTM", "task": "Adding", "cell.featurs": "4"}}
    write_json(tmp_path / "config.json", {"experiment": "long_memory", "arms": arms})
    said = told(postmortem.main(["postmortem", str(tmp_path)]), capsys)
    assert f"{tmp_path / 'config.json'}: cell.featurs=4: no such setting of cell=LSTM" in said
    assert said.endswith("the nearest is cell.features")


def test_a_result_that_is_none_is_not_published(tmp_path, capsys):
    write_json(tmp_path / "results.json", {"experiment": "mine"})
    assert "damaged" in told(publish.main(["", str(tmp_path), str(tmp_path / "x")]), capsys)
    assert "names no file" in told(publish.main(["", str(tmp_path), "."]), capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SettingError("x=1: must be 2"), "rnnlab: x=1: must be 2"),
        (EngineError("no such part"), "rnnlab: no such part"),
        (Damaged("f: damaged"), "rnnlab: f: damaged"),
        (OSError(errno.ENOSPC, "", "f"), "rnnlab: f: No space left on device; go on"),
        (OSError(), "rnnlab: Input/output error; go on"),
        (OSError("no picture"), "rnnlab: no picture; go on"),
    ],
)
def test_an_error_is_one_line_and_what_the_system_refused_gets_the_hint(capsys, error, said):
    def main(argv):
        raise error

    assert told(one_line(main, hint="; go on")(["program"]), capsys) == said


def test_a_fault_of_the_program_itself_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        one_line(lambda argv: 1 / 0)([])
    assert one_line(lambda argv: None)([]) == 0


def test_a_reader_that_goes_away_ends_nothing():
    code = "from rnnlab.runs.console import Screen\ns = Screen()\nfor _ in range(3): s.say('[bold] :smile: ' * 10_000)"
    command = [sys.executable, "-c", code]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.read(15) == "[bold] :smile: "  # as it is written
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait(100) == 0
