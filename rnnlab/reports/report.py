"""What an experiment says of its results, and the folder of files that shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from rnnlab.reports.horizon_tables import trials_table
from rnnlab.reports.html import html_page
from rnnlab.reports.style import save
from rnnlab.reports.tables import Table, csv, write_forms
from rnnlab.runs.files import write_whole
from rnnlab.settings.errors import SettingError
from rnnlab.settings.experiments import own_error


class Verdict(NamedTuple):
    """What an experiment's report function returns; a figure's label (`figure.set_label`) is its caption."""

    sentence: str  # it follows from the numbers, also where they contradict the textbook
    tables: Sequence[Table]
    figures: Mapping[str, Figure | None]  # by file name, without an ending; None: there is nothing to draw


def asked(module: ModuleType, results: Mapping[str, Any], folder: Path) -> Verdict:
    """What a module's report function says. Raises SettingError where it fails: `folder` holds the results by then."""
    again = f"the results are saved in {folder}, and the same command makes the report again"
    try:
        verdict = module.report(results)
    except Exception as error:
        if said := own_error(error):
            raise SettingError(f"{said}; {again}") from error
        error.add_note(again)
        raise
    if not isinstance(verdict, Verdict):
        gave = f"report gave {type(verdict).__name__}, where a rnnlab.reports.report.Verdict is needed"
        raise SettingError(f"{module.__file__}: {gave}; {again}")
    return verdict


def write(results: Mapping[str, Any], verdict: Verdict, folder: Path) -> dict[str, bytes]:
    """Writes figures/*.png and *.pdf, table.md, .tex and .csv (then table_2, ...), and report.html.

    Each file is replaced whole; the page comes last, so it never shows what is not there. Returns the figures' PNGs.
    """
    figures = {name: figure for name, figure in verdict.figures.items() if figure is not None}
    pngs = {name: save(figure, folder / "figures", name) for name, figure in figures.items()}
    tables = [table for table in verdict.tables if table.rows]  # a choice of arms may leave one nothing to say
    for number, table in enumerate(tables, start=1):
        name = "table" if number == 1 else f"table_{number}"
        write_forms(table, folder, name)
    write_whole(folder / "trials.csv", csv(trials_table(results)).encode())
    pictures = {name: (png, figures[name].get_label()) for name, png in pngs.items()}
    write_whole(folder / "report.html", html_page(results, verdict.sentence, tables, pictures).encode())
    return pngs
