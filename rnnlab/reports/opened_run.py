"""A finished run, opened to look at it again: its results, its figures with other arms or axes, its tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from matplotlib.figure import Figure

from rnnlab.reports.arm_tables import arms_table
from rnnlab.reports.report import Report
from rnnlab.reports.reporting import report_on
from rnnlab.reports.style import WIDTHS, Scale
from rnnlab.reports.tables import Table
from rnnlab.runs.load_network import load
from rnnlab.runs.results import Arm, Results, Trial
from rnnlab.runs.results_file import open_results
from rnnlab.runs.trained import Trained
from rnnlab.settings.errors import SettingError, nearest


class Run:
    """A finished run's folder.

    Attributes:
      folder: where it stands.
      results: all that was found, as objects.
    """

    def __init__(self, folder: Path, results: Results):
        self.folder = folder
        self.results = results

    def __repr__(self) -> str:
        return f"<Run {self.folder}: {self.results.experiment}, {self.results.tier} tier, {len(self.arms)} arms>"

    @property
    def arms(self) -> Mapping[str, Arm]:
        """The arms by name, in their declared order."""
        return self.results.arms

    @property
    def trials(self) -> list[Trial]:
        """The trials of all arms."""
        return self.results.trials

    @property
    def verdict(self) -> str:
        """The answer to the experiment's question."""
        return self.results.verdict

    @cached_property
    def report(self) -> Report:
        """What the experiment makes of its results: claims, and which figures there are."""
        return report_on(self.results, self.folder)

    def _shown(self, arms: str | Iterable[str] | None) -> Results:
        """What figures and tables show: the report's arms, or those that were asked for."""
        return self.report.shown(self.results) if arms is None else self.results.only(arms)

    def figure(self, name: str, arms: str | Iterable[str] | None = None, **options: Any) -> Figure | None:
        """One of the report's figures again; None where there is nothing to draw.

        Args:
          name: as in figures/NAME.png: `run.report.figures` lists them.
          arms: those to draw: names, or a shell pattern as `"*/LSTM*"`.
          options: of that figure, such as `x="log"` for an axis of lags or `width="column"`.

        Raises:
          SettingError: there is no such figure, arm or option.
        """
        if name not in self.report.figures:
            raise SettingError(f"{name}: no such figure{nearest(name, self.report.figures)}")
        for option, choices in (("width", WIDTHS), ("x", get_args(Scale))):
            if option in options and options[option] not in choices:
                value = options[option]
                raise SettingError(f"figure {name}, {option}={value}: no such choice{nearest(str(value), choices)}")
        try:
            return self.report.figures[name](self._shown(arms), **options)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
            raise SettingError(f"figure {name}: {error}") from error

    def table(self, columns: Sequence[str] | None = None, arms: str | Iterable[str] | None = None) -> Table:
        """The main table again, with other columns or arms. Raises SettingError."""
        return arms_table(self._shown(arms), self.report.columns if columns is None else columns)

    def load(self, arm: str | None = None, seed: int | None = None, at: str = "end") -> Trained:
        """The trained network of one trial; see `rnnlab.load`."""
        return load(self.folder, arm, seed, at)


def open_run(folder: str | Path) -> Run:
    """A finished run's folder. Raises SettingError for one that holds none, or one that has not ended."""
    return Run(Path(folder), open_results(Path(folder)))
