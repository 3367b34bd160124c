"""How every figure looks, and how it becomes files: sans-serif at 9 pt, axes with units, legends beside the data.

Colours are those of Okabe & Ito 2008, safe for the colour-blind; markers and dashes tell arms apart in a grey print.
"""

from __future__ import annotations

import base64
import io
import itertools
import re
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from rnnlab.runs.drawing import style

NARROW, WIDE = 3.3, 6.75  # inches: one column, and both, of a two-column paper
DPI = 200
ROW = 0.167  # inches, a row of a legend at 8 pt
ROOM = 2  # rows that `panels` leaves room for
CHARACTERS = 15  # an inch of a legend's text at 8 pt
HANDLE = 7  # characters that a line and its gap take in a legend
GREY = "0.35"
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000"]
DASHES = ["-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1.2)), (0, (8, 2)), (0, (1, 2))]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "<", "p"]  # two more than colours: no two of 63 names look the same

STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so a figure is the same everywhere
    "pdf.fonttype": 42,  # text in a PDF stays text; journals refuse type 3
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
}
STYLE |= dict.fromkeys(["font.size", "axes.titlesize", "axes.labelsize", "figure.labelsize"], 9)
STYLE |= dict.fromkeys(["legend.fontsize", "xtick.labelsize", "ytick.labelsize"], 8)
STYLE |= dict.fromkeys(["axes.linewidth", "xtick.major.width", "ytick.major.width"], 0.7)
STYLE |= dict.fromkeys(["axes.spines.top", "axes.spines.right"], False)

styled = style(STYLE)  # a decorator: what the function draws has this style


class Drawing(Figure):
    """A figure that keeps this style when it is saved, and that a notebook shows."""

    savefig = styled(Figure.savefig)

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=DPI // 2)
        return file.getvalue()


def marks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, dashes and marker of each name, by order of appearance."""
    looks = zip(*map(itertools.cycle, (COLOURS, DASHES, MARKERS)), strict=False)
    return {n: {"color": c, "ls": d, "marker": m} for n, (c, d, m) in zip(dict.fromkeys(names), looks, strict=False)}


Width = Literal["column", "page"]
WIDTHS = {"column": NARROW, "page": WIDE}


def panels(
    rows: int, columns: int, height: float, width: Width | None = None, **shared: Any
) -> tuple[Figure, np.ndarray]:
    """A figure with a grid of axes [rows, columns], each row `height` inches high, and room for a legend below.

    `width` is that of a column or a page of a two-column paper; left out, a column for a single panel, else a page,
    or more where panels would be too narrow.
    """
    wide = WIDTHS[width] if width else NARROW if columns == 1 else max(WIDE, 1.35 * columns)
    figure = Drawing((wide, height * rows + 0.8), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08)  # inches, between the last tick of one panel and the first of the next
    return figure, figure.subplots(rows, columns, squeeze=False, **shared)


Scale = Literal["linear", "log"]


def lags_across(axes: Axes, scale: Scale = "log") -> None:
    """Lags on an axis that has a lag 0, also where it is logarithmic: exponential decay is straight on a linear one."""
    if scale == "log":
        axes.set_xscale("symlog", linthresh=1, linscale=0.4)
        axes.xaxis.set_major_formatter("{x:g}")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter("{x:,.0f}")


def losses_up(axes: Axes) -> None:
    """Plain numbers on a logarithmic axis of losses, between its powers of ten too where they are few."""
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
    axes.yaxis.set_minor_formatter("{x:g}" if high < 60 * low else NullFormatter())


def legend(figure: Figure, arms: list[Any], lines: list[Any]) -> float:
    """Below the panels, where it hides nothing: arms in the first rows, lines in the next; each a line or a patch.

    The figure grows by what the legend needs, so that the panels do not shrink. Returns its part of the height.
    """
    longest = max(len(re.sub(r"\\[a-z]+|[${}^_]", "", entry.get_label())) for entry in arms + lines)
    room = int(CHARACTERS * figure.get_figwidth()) // (longest + HANDLE)
    columns = max(1, min(5, room, max(len(arms), len(lines))))
    gap = [Line2D([], [], ls="", label=" ")]
    if len(arms) + len(lines) > columns:
        arms = arms + gap * (-len(arms) % columns)
    entries = arms + lines + gap * (-len(arms + lines) % columns)
    by_column = [entry for column in range(columns) for entry in entries[column::columns]]
    figure.legend(handles=by_column, loc="outside lower center", ncols=columns, frameon=False, handlelength=2.6)
    rows = len(entries) // columns
    figure.set_figheight(figure.get_figheight() + ROW * max(0, rows - ROOM))
    return ROW * rows / figure.get_figheight()


def plain(text: str) -> str:
    """A user's text as a label: matplotlib reads no mathematics in it, and hides none that begins with a dash below."""
    if text == " ":
        return "\N{OPEN BOX}"
    return ("\N{ZERO WIDTH SPACE}" if text.startswith("_") else "") + text.replace("$", r"\$")


def rendered(figure: Figure) -> dict[str, bytes]:
    """A figure as `png` and `pdf`. They carry no date, so equal figures are equal files."""
    made = {}
    for kind, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
        file = io.BytesIO()
        figure.savefig(file, format=kind, dpi=DPI, metadata=metadata)
        made[kind] = file.getvalue()
    return made


def png_data_uri(png: bytes) -> str:
    """A PNG as an address that holds the picture itself, for a page of one file."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
