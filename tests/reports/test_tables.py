"""A table is the same in every form: no cell is lost, cut, or taken for markup."""

import csv
import io
import math
import re

import pytest
from rich.console import Console

from rnnlab.reports import tables
from rnnlab.stats import estimates

NAMES = ["Adding 200/VanillaRNN", "Adding 200/LSTM forget bias 1", "PaddedDigits 500/LSTM chrono [b]"]
WIDE = tables.Table(
    "The reach of 3 arms; a caption that says in so many words what is to be seen, so that it fills a line.",
    ["arm", *(f"quantity {number} by its name (nats/step)" for number in range(8))],
    [
        [name, *(f"-0.{row}{number}7 [-0.{row}{number}9, -0.{row}{number}4]" for number in range(8))]
        for row, name in enumerate(NAMES)
    ],
)


def test_numbers_end_at_the_same_place_as_their_interval():
    assert tables.format_interval(estimates.Interval(-0.046, -0.0481, -0.0439, 3), 2) == "-0.046 [-0.048, -0.044]"
    assert tables.format_interval(estimates.Interval(1234.0, -0.2, 2000.0, 3)) == "1234 [0, 2000]"
    assert tables.format_interval(estimates.Interval(2.5e-9, 1e-9, 4e-9, 3), 2) == "2.5e-09 [1e-09, 4e-09]"
    assert tables.format_interval(estimates.Interval(-math.inf, -math.inf, -0.5, 3)) == "-inf [-inf, -0.5]"
    assert tables.format_interval(estimates.median([])) == "n/a"


def test_latex_balances_and_escapes():
    """Every brace and environment closes, every row of a block has its columns, and no character is left active."""
    odd = tables.Table("100 % of $x_1 & #2", ["a_b", "c^d"], [["~\\{x}", "-0.5 [-1, >= 2]"]])
    for text in (tables.latex(WIDE), tables.latex(odd)):
        bare = re.sub(r"\\[&%$#_{}\\]", "", text)
        assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0 and not set("#^~") & set(bare)
        begun, ended = (re.findall(rf"\\{word}{{(.*?)}}", text) for word in ("begin", "end"))
        assert sorted(begun) == sorted(ended)
        for spec, body in re.findall(r"\\begin{tabular}{(lr+)}(.*?)\\bottomrule", text, re.DOTALL):
            rows = [line for line in body.split("\n") if line.endswith(r"\\")]
            assert rows and {row.replace(r"\&", "").count("&") for row in rows} == {len(spec) - 1}
    assert r"100 \% of \$x\_1 \& \#2" in text and r"$-$0.5 {[}$-$1, $\geq$ 2]" in text
    blocks = tables.latex(WIDE).count(r"\toprule")
    assert 1 < blocks == tables.latex(WIDE).count("Adding 200/VanillaRNN")


def test_prose_is_broken_into_lines_of_a_column_and_numbers_are_not():
    r"""A claim runs to the right edge of a paper otherwise: such columns are p{...}, ragged right, and all fit."""
    says = "Adding 50: of the three gates the output gate is the least missed, said with p < 0.05"
    told = tables.Table("Claims.", ["claim", "n", "verdict"], [[says, "12", "met"], ["short", "3", "not comparable"]])
    text = tables.latex(told)
    assert r"\begin{tabular}{p{16em}rr}" in text and text.count(r"\toprule") == 1
    assert text.count(r"{\raggedright ") == 2 and r"0.05\par} & 12 & met \\" in text
    assert "p{" not in tables.latex(WIDE) and "raggedright" not in tables.latex(WIDE)


def test_csv_and_markdown_hold_every_cell():
    assert list(csv.reader(io.StringIO(tables.csv(WIDE)))) == [list(WIDE.columns), *map(list, WIDE.rows)]
    lines = tables.markdown(tables.Table("c", ["a", "b"], [["x|y", "1_2"]])).splitlines()
    assert lines[2:] == ["| a | b |", "| --- | ---: |", r"| x\|y | 1\_2 |"]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_shows_every_cell_uncut(is_terminal):
    file = io.StringIO()
    tables.terminal(WIDE, Console(file=file, width=90, force_terminal=is_terminal, color_system=None))
    text = file.getvalue()
    assert all(cell in text for row in WIDE.rows for cell in row) and "…" not in text
    assert max(map(len, text.splitlines())) <= (90 if is_terminal else 120)
