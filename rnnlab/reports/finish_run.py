"""The end of a run: results.json, the report's files, what TensorBoard and the terminal show of it."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

from rnnlab.reports.definitions import glossary
from rnnlab.reports.report import all_tables, write
from rnnlab.reports.reporting import report_on
from rnnlab.reports.tables import line_width, listed, markdown, terminal
from rnnlab.runs.arm_events import write_arms
from rnnlab.runs.compiled_programs import forget_compiled
from rnnlab.runs.console import Screen
from rnnlab.runs.files import write_line
from rnnlab.runs.gather_results import gather
from rnnlab.runs.job import Job
from rnnlab.runs.ledger import Ledger
from rnnlab.runs.results import Results
from rnnlab.runs.results_file import results_from


def finish(
    job: Job, ledger: Ledger, console: Screen, columns: Sequence[str] | None = None, every_table: bool = False
) -> None:
    """Writes all that is made from the ledger, and says the answer.

    Args:
      job: what was run.
      ledger: every trial stands in it.
      console: gets the main table and the answer.
      columns: of the main table, in place of the report's own.
      every_table: the console gets all tables.
    """
    folder = ledger.folder.path
    found = gather(job, ledger)
    write_line(folder / "results.json", found)  # first: a report that fails loses nothing
    results = results_from(found)
    report = report_on(results, folder)
    tables = all_tables(results, report, columns)
    told = {"verdict": report.answer, "claims": [claim._asdict() for claim in report.claims]}
    write_line(folder / "results.json", found | told)
    pngs = write(results, report, folder, tables, lambda text: console.say(f"warning: {text}"))
    forget_compiled(folder)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # empty folders, or what a killed process left
    write_arms(ledger.folder, results, report.answer, markdown(tables[0]), pngs)
    for table in tables if every_table else tables[:1]:
        terminal(table, console)
    for line in without_probes(job, results):
        console.say(textwrap.fill(line, line_width(console), subsequent_indent="    "))
    for line in glossary(tables[:1], results.fraction):
        console.say(textwrap.fill(line, line_width(console), subsequent_indent="    "))
    console.say("\n" + textwrap.fill(report.answer, line_width(console)))


def without_probes(job: Job, results: Results) -> list[str]:
    """A line a probe of the experiment that is not defined for the cell of some arms, which have nothing of it."""
    lacking: dict[str, list[str]] = {}
    for name, arm in results.arms.items():
        found = arm.trials[0].probes
        for probe in job.probes(job.arms[name]) if found else ():
            if probe not in found[0]:
                lacking.setdefault(probe, []).append(name)
    return [f"Probe {probe}: not defined for the cell of {listed(names)}." for probe, names in lacking.items()]
