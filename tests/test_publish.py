"""Published results were made by a run: the tables beside them are what the experiment's report makes of them."""

from pathlib import Path

import pytest

from rnnlab import publish
from rnnlab.runs.files import read_json

RESULTS = Path(__file__).parents[1] / "experiments" / "results"


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*.json")), ids=lambda file: file.stem)
def test_the_tables_follow_from_the_results(file):
    results = read_json(file)
    assert publish.tables(results, file.parent) == file.with_suffix(".md").read_text()
    assert results["environment"]["revision"] and "dirty" not in results["environment"]["revision"]
    assert file.stat().st_size < 2**18
    assert "--workdir" not in results["command"]  # no place of one machine


def test_the_experiments_page_shows_what_was_published():
    """Every cell of its table stands in the tables of the results, in the same row."""
    shown = [
        line
        for line in (RESULTS.parent / "hochreiter1997_adding.md").read_text().splitlines()
        if line.startswith("| Adding")
    ]
    made = [line for file in RESULTS.glob("hochreiter1997_adding_*.md") for line in file.read_text().splitlines()]
    rows = {line.split("|")[1]: line for line in made if line.startswith("|")}
    ours = [line for line in shown if "| " in line and line.split("|")[1] in rows]
    assert {line.split("|")[1] for line in ours} == {
        name for name in rows if name.startswith(" Adding") and "/" in name
    }
    for line in ours:
        assert all(cell in rows[line.split("|")[1]].split("|") for cell in line.split("|"))


def test_a_thinned_curve_keeps_its_ends_and_five_per_cent():
    curve = {"step": list(range(10, 1001, 10)), "eval/loss": [1 / n for n in range(1, 101)]}
    found = publish._thin(curve)
    assert found["step"][0] == 10 and found["step"][-1] == 1000 and len(found["step"]) == len(found["eval/loss"]) < 100
    gaps = [b / a for a, b in zip(found["step"][:-2], found["step"][1:-1], strict=True)]
    assert min(gaps) >= publish.SPACING


def test_a_folder_without_a_result_is_one_clear_line(tmp_path, capsys):
    assert publish.main(["publish", str(tmp_path), str(tmp_path / "x")]) == 2
    assert "no finished run" in capsys.readouterr().err and not list(tmp_path.iterdir())
