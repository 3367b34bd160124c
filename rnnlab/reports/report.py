"""What an experiment makes of its results, and the files that show it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from matplotlib.figure import Figure

from rnnlab.reports.arm_columns import COLUMNS, MAIN, Column
from rnnlab.reports.arm_tables import arms_csv, arms_table, trials_csv
from rnnlab.reports.claims import claims_table
from rnnlab.reports.data_table import data_table
from rnnlab.reports.html import html_page
from rnnlab.reports.style import rendered
from rnnlab.reports.tables import Table, csv, latex, markdown
from rnnlab.runs.drawing import drawn_or_said
from rnnlab.runs.files import write_whole
from rnnlab.runs.results import Claim, Results
from rnnlab.settings.errors import SettingError
from rnnlab.settings.experiments import own_error
from rnnlab.specs.contract import forgotten

# (results, **options) -> a figure whose label is its caption; None: nothing to draw
Draw = Callable[..., Figure | None]


@dataclasses.dataclass(frozen=True)
class Report:
    """What an experiment's `report(results)` returns; rnnlab draws it.

    A page shows the answer, the first figure, the main table and the claims, in this order; all else is folded.
    """

    answer: str  # two short sentences that answer the question with two or three numbers, as they came out
    figures: Mapping[str, Draw]  # by file name without an ending, the main one first
    claims: Sequence[Claim] = ()
    columns: Sequence[str | Column] = MAIN  # of the main table: names in `arm_columns.COLUMNS`, or one's own
    tables: Sequence[Table] = ()  # further ones
    arms: Sequence[str] | None = None  # those that tables and figures show; None: all
    main: Table | None = None  # in place of the table of arms, where --columns does not ask for it
    parts: Mapping[str, str] = dataclasses.field(default_factory=dict)  # further ones of the page, HTML by title

    def wrong(self) -> str | None:
        """What is not as it must be and would fail after everything was drawn; None where nothing is."""
        if not isinstance(self.answer, str):
            return f"answer is {type(self.answer).__name__}, where text is needed"
        if not isinstance(self.figures, Mapping) or not all(map(callable, self.figures.values())):
            return "figures must be functions by name, as in {'flow': figures.flow}"
        for name, kind in (("claims", Claim), ("tables", Table)):
            for part in getattr(self, name):
                if not isinstance(part, kind):
                    return f"{name} holds {type(part).__name__}, where {kind.__name__} is needed"
        for claim in self.claims:
            if claim.met not in (True, False, None):
                return f"met={claim.met!r} of the claim {claim.says!r}: must be True, False, or None where it is open"
        return None

    def shown(self, results: Results) -> Results:
        """What tables and figures show of the results."""
        return results.only(self.arms) if self.arms else results


def among(draw: Draw, arms: Sequence[str]) -> Draw:
    """A figure of some of the arms, whatever others there are."""

    @functools.wraps(draw)
    def drawn(results: Results, **options: Any) -> Figure | None:
        chosen = [name for name in results.arms if name in arms]
        return draw(results.only(chosen), **options) if chosen else None

    return drawn


def asked(module: ModuleType, results: Results, folder: Path) -> Report:
    """What a module's `report(results)` says. Raises SettingError where it fails: `folder` holds the results by then.

    At the smoke tier nothing is answered and no claim is judged: it is too short to tell.
    """
    again = f"the results are saved in {folder}, and the same command makes the report again"
    try:
        report = ask(module, results)
    except Exception as error:
        if said := own_error(error):
            raise SettingError(f"{said}; {again}") from error
        error.add_note(again)
        raise
    return report if results.judged else dataclasses.replace(report, answer=SMOKE, claims=())


def ask(module: ModuleType, results: Results) -> Report:
    """What a module's `report(results)` gives, which must be a Report; its errors are passed on."""
    report = module.report(results)
    if not isinstance(report, Report):
        gave = f"report gave {type(report).__name__}, where a rnnlab.reports.report.Report is needed"
        raise SettingError(f"{module.__file__}: {gave}{forgotten(report)}")
    if wrong := report.wrong():
        raise SettingError(f"{module.__file__}: Report: {wrong}")
    return report


WIDEST = 8  # columns of a table in a paper
SMOKE = "A smoke run: it shows that everything works, and its numbers mean nothing. Run --tier=quick for an answer."


def all_tables(results: Results, report: Report, columns: Sequence[str] | None = None) -> list[Table]:
    """The main table, the claims, all columns of all arms, and the experiment's further tables; without empty ones."""
    shown = report.shown(results)
    main = arms_table(shown, columns or report.columns) if columns or report.main is None else report.main
    every = [main, claims_table(report.claims), arms_table(shown, [*COLUMNS, *report.columns]), *report.tables]
    every.append(data_table(shown))
    return [table for table in every if table.rows]


def write(
    results: Results, report: Report, folder: Path, tables: Sequence[Table], warn: Callable[[str], None]
) -> dict[str, bytes]:
    """Writes figures/*.png and *.pdf, table.md and .tex (then table_2, ...), table.csv, trials.csv and report.html.

    `tables` are those of `all_tables`. Each file is replaced whole; the page comes last, so that it never shows what
    is not there. A figure that cannot be drawn is left out, and `warn` told why. Returns the figures' PNGs.
    """
    shown = report.shown(results)
    captions, pngs = {}, {}
    for name, draw in report.figures.items():
        found = drawn_or_said(f"figure {name}", functools.partial(_drawn, draw, shown), warn)
        if found is not None:
            files, captions[name] = found
            pngs[name] = files["png"]
            for kind, content in files.items():
                write_whole(folder / "figures" / f"{name.replace('/', ', ')}.{kind}", content)
    for number, table in enumerate(tables, start=1):
        name = "table" if number == 1 else f"table_{number}"
        write_whole(folder / f"{name}.md", markdown(table).encode())
        if len(table.columns) <= WIDEST:  # no paper has room for more
            write_whole(folder / f"{name}.tex", latex(table, label=f"{results.experiment}-{name}").encode())
        if number > 1:
            write_whole(folder / f"{name}.csv", csv(table).encode())
    write_whole(folder / "table.csv", arms_csv(results, report.columns).encode())
    write_whole(folder / "trials.csv", trials_csv(results).encode())
    pictures = {name: (png, captions[name]) for name, png in pngs.items()}
    write_whole(folder / "report.html", html_page(results, report.answer, tables, pictures, report.parts).encode())
    return pngs


def _drawn(draw: Draw, results: Results) -> tuple[dict[str, bytes], str] | None:
    """A figure's files and its caption; None where there is nothing to draw."""
    figure = draw(results)
    return None if figure is None else (rendered(figure), figure.get_label())
