"""Who reports on a run: its experiment, or of a typed sweep the report that fits any."""

from __future__ import annotations

from pathlib import Path

from rnnlab.reports import sweep_report
from rnnlab.reports.report import Report, asked
from rnnlab.runs.results import Results
from rnnlab.settings.experiments import load_experiment


def report_on(results: Results, folder: Path) -> Report:
    """The report on results that stand in `folder`. Raises SettingError where an experiment's own fails."""
    return asked(sweep_report if results.swept else load_experiment(results.experiment), results, folder)
