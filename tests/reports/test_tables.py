"""A table is the same in every form: no cell is lost, cut, or taken for markup."""

import csv
import io
import math
import re
from collections import Counter

import pytest
from rich.console import Console

from rnnlab.reports import folding, tables
from rnnlab.stats import estimates

NAMES = ["Adding 200/VanillaRNN", "Adding 200/LSTM forget bias 1", "PaddedDigits 500/LSTM chrono [b]"]


def numbers(columns):
    return tables.Table(
        "The reach of 3 arms; a caption that says in so many words what is to be seen, so that it fills a line.",
        ["arm", *(f"quantity {number} by its name (steps)" for number in range(columns))],
        [
            [name, *(f"-0.{row}{number}7 [-0.{row}{number}9, -0.{row}{number}4]" for number in range(columns))]
            for row, name in enumerate(NAMES)
        ],
    )


MAIN, WIDE = numbers(6), numbers(19)
SAYS = "Adding 50: of the three gates the output gate is the least missed, said with p < 0.05"
TOLD = tables.Table("Claims.", ["claim", "n", "verdict"], [[SAYS, "12", "met"], ["short", "3", "not comparable"]])


def test_numbers_end_at_the_same_place_as_their_interval():
    assert tables.format_interval(estimates.Interval(-0.046, -0.0481, -0.0439, 3), 2) == "-0.046 [-0.048, -0.044]"
    assert tables.format_interval(estimates.Interval(1234.0, -0.2, 2000.0, 3)) == "1234 [0, 2000]"
    assert tables.format_interval(estimates.Interval(2.5e-9, 1e-9, 4e-9, 3), 2) == "2.5e-09 [1e-09, 4e-09]"
    assert tables.format_interval(estimates.Interval(-math.inf, -math.inf, -0.5, 3)) == "-inf [-inf, -0.5]"
    assert tables.format_interval(estimates.median([])) == "n/a"


def test_numbers_are_told_from_words():
    for column in (
        ["-0.25 [-0.30, -0.21]", "none"],
        [">= 49"],
        ["3 (1 diverged: seed 1)"],
        ["37600 (p 0.048)"],
        ["5/5"],
    ):
        assert folding.numeric(column)
    for column in (["yes", "no: -0.15, then -0.088"], ["26.5 [24, 31] steps"], ["Adding"], [], ["3", SAYS]):
        assert not folding.numeric(column)


def test_an_estimate_is_told_from_what_stands_in_brackets_behind_it():
    assert folding.apart("-0.25 [-0.30, -0.21]") == ("-0.25", "[-0.30, -0.21]")
    assert folding.apart("0.01 [0, 1] (4 pairs)") == ("0.01", "[0, 1] (4 pairs)")
    assert folding.apart("does not fall [50, inf]") == ("does not fall", "[50, inf]")
    for whole in (">= 49", "LSTM (4/4), RNN (0/4)", "0.6 [0, 1], n = 5"):
        assert folding.apart(whole) == (whole, "")


def test_arms_stand_under_their_task_wherever_they_are_declared():
    rows = [["A 1/x", "1"], ["B 1/x", "2"], ["A 1/y", "3"]]
    assert folding.by_task(["arm", "n"], rows) == [("A 1", [["x", "1"], ["y", "3"]]), ("B 1", [["x", "2"]])]
    for columns, kept in ((["claim", "n"], rows), (["arm", "n"], rows[:2]), (["arm", "n"], [*rows, ["mine", "4"]])):
        assert folding.by_task(columns, kept) == [("", kept)]


def test_latex_balances_and_escapes():
    """Every brace and environment closes, every row has the columns of its tabular, and no character is left active."""
    odd = tables.Table("100 % of $x_1 & #2", ["a_b", "c^d"], [["~\\{x}", "-0.5 [-1, >= 2]"]])
    for table in (MAIN, WIDE, TOLD, odd):
        text = tables.latex(table, label="x_1-table")
        bare = re.sub(r"\\[&%$#_{}\\]", "", text.replace(r"\label{tab:x_1-table}", ""))
        assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0 and not set("#^~_") & set(bare)
        begun, ended = (re.findall(rf"\\{word}{{(.*?)}}", text) for word in ("begin", "end"))
        assert begun[0] in ("table", "table*") and begun[1:] == ["tabular"] and ended == begun[::-1]
        assert text.count(r"\label{tab:x_1-table}") == text.count(r"\caption{") == text.count(r"\toprule") == 1
        rows = [line.replace(r"\&", "") for line in text.split("\n") if " & " in line]
        assert rows and {row.count("&") for row in rows} == {len(table.columns) - 1}
        assert all(re.search(r"\\\\(\[2pt\])?$", row) for row in rows)
    assert r"100 \% of \$x\_1 \& \#2" in text and r"$-$0.5 {[}$-$1, $\geq$ 2]" in text


@pytest.mark.parametrize(("columns", "environment", "folded"), [(1, "table", False), (2, "table", True),
                                                                (3, "table*", False), (6, "table*", True)])  # fmt: skip
def test_latex_takes_a_column_of_a_paper_where_that_is_enough(columns, environment, folded):
    """Else both; where one line a row is too wide, arms stand below their task and intervals below their estimates."""
    text = tables.latex(numbers(columns))
    assert rf"\begin{{{environment}}}" in text and (r"\scriptsize {[}" in text) == folded
    if folded:
        assert rf"\multicolumn{{{columns + 1}}}{{@{{}}l}}{{\emph{{Adding 200}}}} \\" in text
        assert r"LSTM forget bias 1 & $-$0.107" in text and "wider than a page" not in text


def test_latex_says_that_a_table_is_wider_than_a_page():
    assert tables.latex(WIDE).startswith("% \\usepackage{booktabs}; wider than a page: choose fewer --columns")


def test_prose_is_broken_into_lines_of_a_column_and_numbers_are_not():
    r"""A claim runs to the right edge of a paper otherwise: such columns are p{...}, ragged right, and all fit."""
    text = tables.latex(TOLD)
    assert r"\begin{tabular}{@{}p{17.0em}rl@{}}" in text and text.count(r"\raggedright ") == 2
    assert r"0.05 & 12 & met \\[2pt]" in text and "p{" not in tables.latex(WIDE)
    last = tables.latex(tables.Table("", ["n", "why"], [["1", SAYS]]))  # there \\ would end a line of the paragraph
    assert r"0.05 \tabularnewline[2pt]" in last


def test_csv_and_markdown_hold_every_cell():
    assert list(csv.reader(io.StringIO(tables.csv(WIDE)))) == [list(WIDE.columns), *map(list, WIDE.rows)]
    lines = tables.markdown(tables.Table("c", ["a", "b", "c"], [["x|y", "1", "1_2 <b>"]])).splitlines()
    assert lines[2:] == ["| a | b | c |", "| --- | ---: | --- |", r"| x\|y | 1 | 1\_2 \<b> |"]


def printed(table, width):
    file = io.StringIO()
    tables.terminal(table, Console(file=file, width=width or 90, force_terminal=bool(width), color_system=None))
    return re.sub(r"\x1b\[\d*m", "", file.getvalue())


@pytest.mark.parametrize("width", [40, 80, 120, 300, None])
@pytest.mark.parametrize("table", [MAIN, WIDE, TOLD])
def test_a_terminal_shows_every_cell_uncut(table, width):
    """No word of a cell or header is lost, and no line is wider than the terminal, or than 120 characters of a log."""
    text = printed(table, width)
    assert max(map(len, text.splitlines())) <= (width or 120) and "…" not in text
    cells = [cell for row in (table.columns, *table.rows) for cell in row]
    wanted = Counter(word for cell in cells for word in re.split("[ /]", cell))
    found = Counter(re.split(r"[\s/]+", text))
    tasks = ("Adding", "200", "PaddedDigits", "500")  # once for all its arms
    assert {word for word in wanted if found[word] < (1 if word in tasks else wanted[word])} == set()


@pytest.mark.parametrize("width", [80, 100, 120, None])
def test_seven_columns_are_one_table_of_a_terminal(width):
    """One rule below one header: nothing stands in a block of its own."""
    text = printed(MAIN, width)
    assert len(re.findall("^---", text, re.MULTILINE)) == 1 and "\nAdding 200\n" in text
    assert len(re.findall("^---", printed(WIDE, width), re.MULTILINE)) > 1


def test_a_table_that_fits_is_not_folded():
    lines = printed(MAIN, 200).splitlines()
    assert lines[-3].startswith("Adding 200/LSTM forget bias 1") and "-0.107 [-0.109, -0.104]" in lines[-3]
    assert printed(tables.Table("", ["arm", "n"], []), 80).split() == ["arm", "n", "---", "-"]
