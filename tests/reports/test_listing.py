"""What `--cells` and `--tasks` tell is what the code is, and README shows it."""

import sys

import chz
import pytest
from program import ROOT, TINY, WITH_MY_CELL, here

from rnnlab.cells import CellSpec
from rnnlab.reports import listing
from rnnlab.reports.tables import markdown
from rnnlab.runs.gather_results import stop_rule
from rnnlab.specs.discover import subclasses
from rnnlab.tasks import Adding, PaddedDigits, Task

OWN = """
import chz
from flax import nnx
from rnnlab.tasks import Task


class Foreign(nnx.RNNCellBase):
    def __init__(self, in_features, features, *, rngs):
        self.z = nnx.Linear(in_features + features, features, rngs=rngs)


@chz.chz
class Half(Adding):
    def solved(self, metrics):
        \"""Half of the answers are right. No paper asks for less.\"""
        return metrics["accuracy"] >= 0.5


@chz.chz
class Unmade(Task):
    pass


def config"""


def shipped(kinds):
    return {name: kind for name, kind in kinds.items() if listing.is_shipped(kind)}


def rows(table):
    return {name: dict(zip(table.columns[1:], row, strict=True)) for name, *row in table.rows}


@pytest.fixture(scope="module")
def cells():
    return listing.cells_table(shipped(listing.cells()))


def as_in_python_3_11(text):
    """Without the tasks on Python's manual, elsewhere: each version has another."""
    of_manual = ("| Text |", "| OpenMark |")
    there = sys.version_info[:2] == (3, 11)
    return "".join(line for line in text.splitlines(keepends=True) if there or not line.startswith(of_manual))


@pytest.mark.slow
def test_readme_shows_what_the_commands_print(cells):
    """Made anew by `python -m rnnlab.run --cells --tasks --markdown`."""
    text = as_in_python_3_11((ROOT / "README.md").read_text())
    for table in (cells, listing.tasks_table(shipped(listing.tasks()))):
        assert as_in_python_3_11(markdown(table)) in text, (
            f"README's table of {table.columns[0]}s: --{table.columns[0]}s --markdown"
        )


@pytest.mark.slow
def test_every_cell_and_task_is_there_with_its_source(cells):
    found, kinds = rows(cells), shipped(subclasses(CellSpec))
    assert set(kinds) - {"FlaxCell"} == {name for name in found if "=" not in name}
    assert {name for name in found if "=" in name} >= {f"FlaxCell module={name}Cell" for name in ("GRU", "LSTM")}
    for name, kind in kinds.items():
        if name != "FlaxCell":
            assert found[name]["equation"] == kind.source != "", name
    assert set(rows(listing.tasks_table(shipped(listing.tasks())))) == set(shipped(subclasses(Task))) - {"Arrays"}


def test_parameters_and_gates_are_those_of_the_equations(cells):
    """H (D + H) + H a gate, at H = 64 and D = 1."""
    found, gate = rows(cells), 64 * 65 + 64
    for name, blocks, gates in (
        ("VanillaRNN", 1, "none"),
        ("LSTM", 4, "i, f, g, o"),
        ("FlaxCell module=GRUCell", 3, "not named"),
    ):
        row = found[name]
        assert (row["parameters (H = 64, D = 1)"], row["gates and candidates"]) == (f"{blocks * gate:,}", gates)
        assert row["parallel in time"] == "no"
    assert found["GRU"]["gates and candidates"] == "r, u, n"


def test_a_linear_recurrence_runs_in_parallel():
    """One with `coefficients` is."""
    from rnnlab.cells.vanilla_rnn import VanillaRNN, VanillaRNNCell

    class Linear(VanillaRNNCell):
        coefficients = None

    @chz.chz
    class InParallel(VanillaRNN):
        def build(self, in_features, *, rngs):
            plain = super().build(in_features, rngs=rngs)
            return Linear(self, in_features, plain.w_x[...], plain.w_h[...], plain.b[...])

    [row] = rows(listing.cells_table({"InParallel": InParallel})).values()
    assert row["parallel in time"] == "yes" and row["equation"].endswith("test_listing.py")


def test_the_stop_rule_is_the_tasks_own():
    assert stop_rule(Adding()) == "held-out accuracy of at least 0.99"
    assert stop_rule(PaddedDigits(solved_at=0.5)) == "held-out accuracy of at least 0.5"


def test_a_users_own_are_listed_and_one_that_cannot_be_made_says_so(place, monkeypatch, capsys):
    text = WITH_MY_CELL.replace("\n\ndef config", OWN, 1)
    (place / "experiments" / "mine.py").write_text(text)
    (place / "experiments" / "broken.py").write_text(TINY.replace("import LSTM", "import LTSM"))
    code, out, err = here(place, ["--exp=mine", "--cells", "--tasks", "--markdown"], monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert "| MyCell | experiments/mine.py | 4,224 | no | none |" in out
    assert "| FlaxCell module=Foreign | experiments/mine.py | 4,224 | no | not named |" in out
    assert "| Half | 200 | 2 | 1 | 100 | 0.167 | Half of the answers are right. No paper asks for less |" in out
    assert "| Unmade | cannot be made: TypeError: Unmade is no task: choose one of its subclasses |" in out
    code, out, err = here(place, ["--tasks"], monkeypatch, capsys)
    assert (code, err) == (0, "") and "broken.py, line 8: ImportError" in out and "Half" in out
    code, _, err = here(place, ["--cells", "--exp=broken"], monkeypatch, capsys)
    assert code == 2 and "broken.py, line 8: ImportError" in err and err.count("\n") == 1
    code, _, err = here(place, ["--markdown"], monkeypatch, capsys)
    assert (code, err) == (2, "rnnlab: --markdown: only with --cells or --tasks\n")
