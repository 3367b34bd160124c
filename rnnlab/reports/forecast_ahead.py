"""What follows a series' end: as a table, a file and a figure."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnlab.data.series import Series
from rnnlab.forecasting.scaling import MEDIAN, QUANTILES
from rnnlab.reports.forecast_figures import ACTUAL, band_entries, bands, dates
from rnnlab.reports.style import COLOURS, legend, panels, rendered, styled
from rnnlab.reports.tables import Table, format_number
from rnnlab.runs.files import write_whole
from rnnlab.settings.errors import SettingError

BEFORE = 3  # times the forecast's steps, of the series before it that is drawn


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Forecast:
    """What follows a series' end.

    Attributes:
      arm: whose network it is.
      seed: its trial's.
      series: what is gone on from.
      time: [h] of datetime64[s]; None where the series has no times, or uneven ones.
      quantiles: [h, Q] in the series' unit, at the levels `rnnlab.forecasting.scaling.QUANTILES`.
    """

    arm: str
    seed: int
    series: Series
    time: np.ndarray | None
    quantiles: Float[np.ndarray, "h Q"]

    def __repr__(self) -> str:
        return f"<Forecast of {self.series.name}: {len(self.quantiles)} steps of one {self.series.step}, by {self.arm}>"

    @property
    def median(self) -> Float[np.ndarray, " h"]:
        """The point forecast."""
        return self.quantiles[:, MEDIAN]

    @property
    def labels(self) -> list[str]:
        """Times as text, or steps from 1 on."""
        if self.time is None:
            return [str(step) for step in range(1, len(self.quantiles) + 1)]
        whole_days = np.all(self.time == self.time.astype("datetime64[D]"))
        return [str(time.astype("datetime64[D]")) if whole_days else str(time).replace("T", " ") for time in self.time]

    def table(self) -> Table:
        """A row a step."""
        heads = ["step" if self.time is None else "time", *(f"{q:g}" for q in QUANTILES)]
        rows = [[label, *map(_shown, row)] for label, row in zip(self.labels, self.quantiles, strict=True)]
        end = self.series.when(len(self.series) - 1)
        caption = f"Quantiles of {self.series.name} ({self.series.unit}) after {end}, by {self.arm}, seed {self.seed}."
        return Table(caption, heads, rows)

    def csv(self) -> str:
        """forecast.csv: time, or step; the median; the quantiles."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step" if self.time is None else "time", "forecast", *(f"q{q:g}" for q in QUANTILES)])
        for label, middle, row in zip(self.labels, self.median, self.quantiles, strict=True):
            writer.writerow([label, *(f"{value:.7g}" for value in (middle, *row))])
        return file.getvalue()

    @styled
    def figure(self) -> Figure:
        """The series' end and the forecast with its bands."""
        figure, [[panel]] = panels(1, 1, 2.2, "page")
        series, steps = self.series, len(self.quantiles)
        start = max(0, len(series) - max(BEFORE * steps, 30))
        past = np.where(series.observed, series.values, math.nan)[start:]
        dated = self.time is not None
        before = series.time[start:] if dated else np.arange(start, len(series))
        after = self.time if dated else len(series) + np.arange(steps)
        panel.plot(before, past, **ACTUAL)
        bands(panel, after, self.quantiles, COLOURS[0])
        panel.set(title=series.name, ylabel=series.unit)
        dates(panel, dated)
        legend(figure, [Line2D([], [], label="measured", **ACTUAL), *band_entries(COLOURS[0], self.arm)], [])
        figure.set_label(self.table().caption)
        return figure

    def write(self, folder: str | Path) -> None:
        """FOLDER/forecast.csv and forecast.png. Raises SettingError where it cannot be written."""
        try:
            write_whole(Path(folder) / "forecast.csv", self.csv().encode())
            write_whole(Path(folder) / "forecast.png", rendered(self.figure())["png"])
        except OSError as error:
            raise SettingError(f"--out={folder}: {error.strerror}; name a folder of your own") from error


def _shown(value: float) -> str:
    return format_number(float(value), 5)
