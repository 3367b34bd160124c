"""A report says what its results say, whole and alone: numbers, pictures, one page, the same bytes every time."""

import math
import re
import types

import matplotlib.image
import numpy as np
import pytest

from made_results import made, trial

from rnnlab.reports import figures, report
from rnnlab.reports.claims import published_table
from rnnlab.reports.horizon_tables import reach_table
from rnnlab.reports.html import html_page
from rnnlab.settings.errors import SettingError
from rnnlab.stats import estimates

def verdict(results):
    drawn = {name: getattr(figures, f"{name}_figure")(results) for name in ("flow", "reach", "learning")}
    return report.Verdict("It reaches <200 & more>.", [reach_table(results)], drawn)


def cells(table, arm):
    [row] = [row for row in table.rows if row[0] == arm]
    return dict(zip(table.columns, row, strict=True))


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)]


def test_the_table_follows_from_the_results():
    """Rates are means with t intervals, horizons medians with their range, and both equal those of the trials."""
    row = cells(reach_table(made()), "PaddedDigits 500/LSTM forget bias 1")
    rate = estimates.mean([-0.12, -0.126, -0.132])
    np.testing.assert_allclose(numbers(row["decay of dL/dh at init (nats/step)"]), rate[:3], atol=0.005)
    path = estimates.mean([-0.33, -0.3465, -0.363])
    np.testing.assert_allclose(numbers(row["decay along the cell path at init (nats/step)"]), path[:3], atol=0.005)
    np.testing.assert_allclose(numbers(row["half-life of dL/dh at init (steps)"]), [5.5, 5.25, 5.78], atol=0.06)
    assert row["horizon at init (steps)"] == "54 [52, 57]"  # ln 1000 / .126, / .132, / .12
    assert row["horizon after training (steps)"] == "219 [209, 230]"
    assert row["learned"] == "3/3 [0.44, 1.00]"
    assert (row["trials"], row["held-out accuracy"], row["chance loss"]) == ("3", "0.990 [0.990, 0.990]", "2.30")


def test_a_diverged_trial_is_counted_named_and_not_measured_after_training():
    row = cells(reach_table(made()), "Adding 200/VanillaRNN")
    assert row["trials"] == "3 (1 diverged: seed 1)" and row["learned"].startswith("0/3")
    assert row["horizon at init (steps)"] == "18 [17, 19]"  # of all three
    assert row["horizon after training (steps)"] == "74.5 [71, 78]"  # of two
    assert row["decay along the cell path at init (nats/step)"] == "none"
    assert "nan" not in row["held-out loss"]


def test_what_the_sequence_cuts_off_is_a_lower_bound():
    """A horizon of T-1 may be longer, and an adjoint that grows has no half-life."""
    row = cells(reach_table(made()), "Adding 200/LSTM chrono")
    assert row["horizon at init (steps)"] == ">= 199" and row["half-life of dL/dh at init (steps)"] == "does not fall"
    some = made()
    some["trials"][6]["reach"]["init"]["h"] = {"decay_rate": -0.1, "half_life": 7.0, "horizon": 69, "censored": False}
    row = cells(reach_table(some), "Adding 200/LSTM chrono")
    assert row["horizon at init (steps)"] == ">= 199 [69, >= 199]"
    assert row["half-life of dL/dh at init (steps)"] == "does not fall [7.0, inf]"


def test_one_trial_has_no_interval():
    row = cells(reach_table(made(seeds=1)), "Adding 200/LSTM forget bias 1")
    bare = {name: text for name, text in row.items() if name != "learned"}
    assert not any("[" in text or "nan" in text for text in bare.values())
    assert row["horizon at init (steps)"] == "57" and row["learned"] == "1/1 [0.21, 1.00]"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    report.write(made(), verdict(made()), folder)
    return folder


def test_writing_twice_gives_the_same_bytes_and_leaves_nothing_else(written, tmp_path):
    drawn = verdict(made())
    names = {f"figures/{name}.{kind}" for name in drawn.figures for kind in ("png", "pdf")}
    tables = {"table.md", "table.tex", "table.csv"}
    files = {str(path.relative_to(written)) for path in written.rglob("*") if path.is_file()}
    assert files == names | tables | {"report.html", "trials.csv"}
    report.write(made(), drawn._replace(figures={"reach": drawn.figures["reach"]}), tmp_path)
    again = tables | {"figures/reach.png", "figures/reach.pdf"}
    assert [file for file in again if (written / file).read_bytes() != (tmp_path / file).read_bytes()] == []
    pngs = {name: (written / f"figures/{name}.png").read_bytes() for name in drawn.figures}
    pictures = {name: (png, drawn.figures[name].get_label()) for name, png in pngs.items()}
    assert html_page(made(), drawn.sentence, drawn.tables, pictures) == (written / "report.html").read_text("utf-8")
    assert matplotlib.image.imread(written / "figures/flow.png").shape[1] == round(6.75 * 200)


def test_what_fails_while_a_report_is_made_says_that_the_results_are_saved(tmp_path):
    """A forgotten return in one line; what is no experiment's own error keeps its traceback, with a note."""
    module = types.ModuleType("mine")
    module.__file__, module.report = "mine.py", lambda results: None
    with pytest.raises(SettingError, match=r"^mine\.py: report gave NoneType, .*; the results are saved in"):
        report.asked(module, {}, tmp_path)
    module.report = lambda results: results["absent"]
    with pytest.raises(KeyError) as caught:
        report.asked(module, {}, tmp_path)
    assert f"the results are saved in {tmp_path}, and the same command" in caught.value.__notes__[0]


def test_a_table_without_rows_is_left_out(tmp_path):
    empty = published_table([])
    found = report.Verdict("So.", [empty, reach_table(made()), empty], {})
    report.write(made(), found, tmp_path)
    assert not (tmp_path / "table_2.md").exists() and "Reach by arm" in (tmp_path / "table.md").read_text()
    assert empty.caption not in (tmp_path / "report.html").read_text()


def test_a_failed_write_keeps_the_old_page(written, monkeypatch):
    before = {path: path.read_bytes() for path in written.rglob("*.*")}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rnnlab.runs.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        report.write(made(seeds=1), report.Verdict("Another.", [reach_table(made(seeds=1))], {}), written)
    assert {path: path.read_bytes() for path in written.rglob("*.*")} == before


def test_every_axis_is_labelled_with_its_unit():
    """Axes that share a label have it at the outer edge; nothing is drawn of a cell path that does not exist."""
    drawn = verdict(made()).figures
    grid = np.array(drawn["flow"].axes).reshape(2, 2)
    assert [panel.get_xlabel() for panel in grid[1]] == ["lag k (steps back from the loss)"] * 2
    assert [panel.get_ylabel() for panel in grid[:, 0]] == ["at initialisation", "after training"]
    assert "log" in drawn["flow"].get_supylabel() and "relative to lag 0" in drawn["flow"].get_supylabel()
    assert [panel.get_xlabel() for panel in drawn["learning"].axes] == ["update"] * 2
    assert drawn["learning"].axes[0].get_ylabel() == "held-out loss"
    assert drawn["reach"].axes[-1].get_xlabel().endswith("(steps)")
    assert [text.get_text() for text in drawn["reach"].axes[0].get_yticklabels()] == list(CELLS)
    assert all(figure.get_label() for figure in drawn.values())
    thick = [line for line in grid[0, 0].get_lines() if line.get_marker() in set("os^")]
    assert len(thick) == 5  # h of three arms, the cell path of two


def test_the_curves_are_those_of_the_results():
    """Mean over trials relative to lag 0; an adjoint of exactly zero falls out of the frame."""
    panel = figures.flow_figure(made()).axes[1]
    lags, heights = panel.get_lines()[0].get_data()
    assert lags[0] == 0 and heights[0] == 0
    np.testing.assert_allclose(heights[100], 100 * -0.35 * 1.05 / math.log(10), rtol=1e-9)
    assert heights[350] < panel.get_ylim()[0]
    learning = figures.learning_figure(made()).axes[1]
    last = learning.get_lines()[4]  # the thin line of the third arm: it had stopped at 1,000
    assert last.get_linewidth() < 1 and last.get_xdata().tolist()[0] == 1000 and last.get_xdata()[-1] == 2000


def test_the_underflow_line_says_for_which_norm_it_stands():
    """What float32 loses depends on the norm itself, and the axis is relative to lag 0; drawn where curves go low."""
    high = made() | {"trials": [trial for trial in made()["trials"] if trial["arm"].endswith("chrono")]}
    for results, drawn in ((made(), True), (high, False)):
        figure = figures.flow_figure(results)
        said = "float32 underflow, if 1 at lag 0" in [text.get_text() for text in figure.legends[0].get_texts()]
        ends = [line.get_ydata()[0] for line in figure.axes[0].get_lines() if line.get_linestyle() == ":"]
        assert said == drawn and ends == [math.log10(1.17549435e-38)] * drawn


def test_a_lone_arm_that_diverged_at_once_is_still_drawn(tmp_path):
    """No curve, no state after training, no task in its name: the report is thin but whole."""
    results = made(seeds=1)
    lone = trial("Adding 200", "VanillaRNN", 0, "diverged")
    lone |= {"arm": "mine", "curve": {"step": [], "eval/loss": [], "eval/accuracy": []}}
    lone["reach"].pop("trained")
    lone["profiles"].pop("trained")
    results |= {
        "trials": [lone],
        "settings": {"mine": {"cell": "Mine"}},
        "chance": {"mine": 1.0},
        "needed_lag": {},
        "rule": {},
    }
    drawn = verdict(results)
    assert drawn.figures["learning"] is None and len(report.write(results, drawn, tmp_path)) == 2
    [row] = reach_table(results).rows
    assert row[1] == "1 (1 diverged: seed 0)" and row[7:10] == ["n/a"] * 3
