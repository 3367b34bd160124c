"""A report is written whole or not at all, and says what it was asked."""

import types

import matplotlib.image
import pytest
from made_results import made, read, whole

from rnnlab.reports import figures, report
from rnnlab.reports.claims import claims_table
from rnnlab.reports.html import html_page
from rnnlab.runs.results import Claim
from rnnlab.runs.results_file import results_from
from rnnlab.settings.errors import SettingError

CLAIM = Claim("it holds", "closed form", "1", "1.0", True)
FIGURES = {"flow": figures.flow, "horizons": figures.horizons, "learning": figures.learning}
REPORT = report.Report("It reaches <200 & more>.", FIGURES, [CLAIM])
TABLES = {f"table{n}.{ending}" for n in ("", "_2", "_3") for ending in ("md", "tex", "csv")}
TABLES -= {"table_3.tex"}  # all columns: no paper has room for them


def write(results, found, folder):
    return report.write(results, found, folder, report.all_tables(results, found), pytest.fail)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write(read(made()), REPORT, folder)
    return folder


@pytest.mark.slow
def test_writing_twice_gives_the_same_bytes_and_leaves_nothing_else(written, tmp_path):
    names = {f"figures/{name}.{kind}" for name in FIGURES for kind in ("png", "pdf")}
    files = {str(path.relative_to(written)) for path in written.rglob("*") if path.is_file()}
    assert files == names | TABLES | {"report.html", "trials.csv"}
    write(read(made()), report.Report(REPORT.answer, {"horizons": figures.horizons}, [CLAIM]), tmp_path)
    again = TABLES | {"figures/horizons.png", "figures/horizons.pdf", "trials.csv"}
    assert [file for file in again if (written / file).read_bytes() != (tmp_path / file).read_bytes()] == []
    pngs = {name: (written / f"figures/{name}.png").read_bytes() for name in FIGURES}
    pictures = {name: (png, FIGURES[name](read(made())).get_label()) for name, png in pngs.items()}
    page = html_page(read(made()), REPORT.answer, report.all_tables(read(made()), REPORT), pictures)
    assert page == (written / "report.html").read_text("utf-8")
    assert matplotlib.image.imread(written / "figures/flow.png").shape[1] == round(6.75 * 200)
    assert b"/FontFile2" in (written / "figures/flow.pdf").read_bytes()  # TrueType, type 42: text stays text


def test_what_fails_while_a_report_is_made_says_that_the_results_are_saved(tmp_path):
    """A forgotten return in one line; what is no experiment's own error keeps its traceback, with a note."""
    module = types.ModuleType("mine")
    module.__file__, module.report = "mine.py", lambda results: None
    with pytest.raises(SettingError, match=r"^mine\.py: report gave NoneType, .*; the results are saved in"):
        report.asked(module, read(made()), tmp_path)
    module.report = lambda results: results.arms["absent"]
    with pytest.raises(KeyError) as caught:
        report.asked(module, read(made()), tmp_path)
    assert f"the results are saved in {tmp_path}, and the same command" in caught.value.__notes__[0]


def test_a_smoke_run_answers_nothing_and_claims_nothing(tmp_path):
    module = types.ModuleType("mine")
    module.report = lambda results: REPORT
    assert report.asked(module, read(made()), tmp_path) == REPORT
    smoke = report.asked(module, results_from(whole(made()) | {"tier": "smoke"}), tmp_path)
    assert "mean nothing" in smoke.answer and not smoke.claims and smoke.figures == REPORT.figures


def test_a_table_without_rows_is_left_out():
    found = report.all_tables(read(made()), report.Report("So.", {}, tables=[claims_table([])]))
    assert len(found) == 2 and all(table.rows for table in found)


def test_figures_and_tables_show_the_arms_that_a_report_names(tmp_path):
    chosen = list(read(made()).arms)[:2]
    found = report.Report("So.", {"flow": figures.flow}, arms=chosen)
    assert [row[0] for row in report.all_tables(read(made()), found)[0].rows] == chosen
    some = report.among(figures.flow, chosen)(read(made()))
    assert [axes.get_title() for axes in some.axes[:1]] == ["Adding 200"] and len(some.axes) == 2
    assert report.among(figures.flow, ["no such arm"])(read(made())) is None


def test_a_failed_write_keeps_the_old_page(written, monkeypatch):
    before = {path: path.read_bytes() for path in written.rglob("*.*")}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rnnlab.runs.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(read(made(seeds=1)), report.Report("Another.", {}), written)
    assert {path: path.read_bytes() for path in written.rglob("*.*")} == before


def test_a_figure_that_fails_is_a_line_and_all_else_stands(tmp_path):
    def broken(results):
        raise KeyError("absent")

    said, results = [], read(made())
    made_of = report.Report("It reaches.", {"broken": broken, "horizons": figures.horizons})
    pngs = report.write(results, made_of, tmp_path, report.all_tables(results, made_of), said.append)
    assert said == ["figure broken could not be drawn: KeyError: 'absent'"] and list(pngs) == ["horizons"]
    assert '<figure id="horizons">' in (tmp_path / "report.html").read_text()
    assert [path.name for path in (tmp_path / "figures").iterdir() if "broken" in path.name] == []
