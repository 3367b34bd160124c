"""Figures show the numbers of their results: curves, axes with units, captions."""

import math

import matplotlib
import numpy as np
import pytest
from made_results import CELLS, made, read, trial

from rnnlab.reports import figures
from rnnlab.reports.style import rendered
from rnnlab.runs.tensorboard import heat_map_png


def drawn(found):
    return {name: getattr(figures, name)(read(found)) for name in ("flow", "horizons", "learning")}


def test_every_axis_is_labelled_with_its_unit():
    """Axes that share a label have it at the outer edge; nothing is drawn of a cell path that does not exist."""
    found = drawn(made())
    grid = np.array(found["flow"].axes).reshape(2, 2)
    assert [panel.get_xlabel() for panel in grid[1]] == ["lag k (steps back from the loss)"] * 2
    assert [panel.get_ylabel() for panel in grid[:, 0]] == ["at initialisation", "after training"]
    assert "log" in found["flow"].get_supylabel() and "relative to lag 0" in found["flow"].get_supylabel()
    assert [panel.get_xlabel() for panel in found["learning"].axes] == ["update"] * 2
    assert found["learning"].axes[0].get_ylabel() == "held-out loss"
    assert found["horizons"].axes[-1].get_xlabel().endswith("(steps)")
    assert [text.get_text() for text in found["horizons"].axes[0].get_yticklabels()] == list(CELLS)
    assert all(figure.get_label() for figure in found.values())
    thick = [line for line in grid[0, 0].get_lines() if line.get_marker() in set("os^")]
    assert len(thick) == 5  # h of three arms, the cell path of two


def test_the_curves_are_those_of_the_results():
    """Mean over trials relative to lag 0; an adjoint of exactly zero falls out of the frame."""
    panel = figures.flow(read(made())).axes[1]
    lags, heights = panel.get_lines()[0].get_data()
    assert lags[0] == 0 and heights[0] == 0
    np.testing.assert_allclose(heights[100], 100 * -0.35 * 1.05 / math.log(10), rtol=1e-9)
    assert heights[350] < panel.get_ylim()[0]
    learning = figures.learning(read(made())).axes[1]
    last = learning.get_lines()[4]  # the thin line of the third arm: it had stopped at 1,000
    assert last.get_linewidth() < 1 and last.get_xdata().tolist()[0] == 1000 and last.get_xdata()[-1] == 2000


def test_the_frame_ends_three_decades_below_the_threshold_and_holds_all_that_grows():
    """Exponential decay is straight on the axis of lags; where a gradient explodes the frame is as high as it is."""
    figure = figures.flow(read(made()))
    assert figure.axes[0].get_ylim()[0] == -6 and figure.axes[0].get_xscale() == "linear"
    assert figures.flow(read(made()), x="log").axes[0].get_xscale() == "symlog"
    found = made()
    for one in found["trials"]:
        one["profiles"]["init"]["h"] = [0.1 * k for k in one["profiles"]["init"]["lag"]]
    low, high = figures.flow(read(found)).axes[0].get_ylim()
    assert high > 0.1 * 199 and low <= -0.1 * 199


def test_a_figure_is_as_wide_as_a_column_or_a_page():
    for draw in (figures.flow, figures.learning, figures.horizons):
        assert draw(read(made()), width="column").get_figwidth() == 3.3
        assert draw(read(made()), width="page").get_figwidth() == 6.75


def test_a_lone_arm_that_diverged_at_once_is_still_drawn():
    """No curve, no state after training, no task in its name: what there is is drawn."""
    lone = trial("Adding 200", "VanillaRNN", 0, "diverged")
    lone |= {"arm": "mine", "curve": {"step": [], "eval/loss": [], "eval/accuracy": []}}
    lone["reach"].pop("trained")
    lone["profiles"].pop("trained")
    settings = {"mine": {"cell": "Mine", "task": "Adding", "task.length": "200"}}
    found = drawn({"trials": [lone], "settings": settings, "chance": {"mine": 1.0}})
    assert found["learning"] is None and found["flow"] and found["horizons"]
    assert list(read({"trials": [lone], "settings": settings}).tasks) == ["Adding 200"]


@pytest.mark.slow
def test_a_users_matplotlibrc_changes_no_picture():
    """White text on white, LaTeX, a comma for a point, another resolution: to the byte what they are without it."""
    norms = -np.arange(8.0).reshape(2, 4)
    plain = rendered(figures.flow(read(made()))), heat_map_png(norms, [0, 100], range(4), "LSTM")
    theirs = {"text.usetex": True, "text.color": "white", "axes.labelcolor": "white", "lines.linewidth": 9,
              "axes.formatter.use_locale": True, "savefig.dpi": 30, "savefig.transparent": True,
              "axes.prop_cycle": "cycler('color', ['w'])", "savefig.bbox": "tight", "image.cmap": "gray"}  # fmt: skip
    with matplotlib.rc_context(theirs):
        figure = figures.flow(read(made()))
        assert (rendered(figure), heat_map_png(norms, [0, 100], range(4), "LSTM")) == plain
        assert matplotlib.rcParams["text.usetex"]  # and theirs stay as they were


def test_a_line_ends_in_a_cross_where_a_gradient_is_not_finite():
    """It is not drawn as one that vanishes, and not left out."""
    found = made()
    for one in found["trials"]:
        if one["arm"] == "Adding 200/VanillaRNN":
            one["profiles"]["init"]["h"] = [float(k) if k < 60 else math.inf for k in range(200)]
    figure = figures.flow(read(found))
    [cross] = [line for line in figure.axes[0].get_lines() if line.get_marker() == "x"]
    assert [float(x) for x in (*cross.get_xdata(), *cross.get_ydata())] == [59, 59]
    assert "not finite beyond" in [text.get_text() for text in figure.legends[0].get_texts()]
