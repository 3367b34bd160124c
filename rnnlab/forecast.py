"""Forecasts on from a series' end: `python -m rnnlab.forecast RUN --steps=48 [--csv=newer.csv] [--out=FOLDER]`.

The network is that of a run of the task Series; its window is the end of the run's own series, or of a newer file.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from rnnlab.data.csv_series import csv_series
from rnnlab.data.series import Series as Data
from rnnlab.data.time_index import Step, later
from rnnlab.forecasting.scaling import Scaling
from rnnlab.probes.forecasts import quantiles
from rnnlab.reports.forecast_ahead import Forecast
from rnnlab.reports.tables import terminal
from rnnlab.runs.best_trial import best_trial
from rnnlab.runs.callable_module import callable_as
from rnnlab.runs.console import Screen, one_line, parsed
from rnnlab.runs.load_network import load
from rnnlab.runs.results import Arm
from rnnlab.runs.results_file import open_results
from rnnlab.settings.errors import SettingError
from rnnlab.tasks import Series

PATHS = 1000  # of a network that forecasts one step at a time
LINES = 12  # of the forecast on the terminal

FLAGS = flags.FlagValues()
flags.DEFINE_integer(
    "steps", None, "steps after the series' end; left out, the network's horizon", 1, flag_values=FLAGS
)
flags.DEFINE_string("csv", None, "a newer file of the same columns, whose end is gone on from", flag_values=FLAGS)
flags.DEFINE_string(
    "arm", None, "the arm, or a shell pattern; left out, that of the lowest held-out loss", flag_values=FLAGS
)
flags.DEFINE_integer("seed", None, "the trial's; left out, that of the lowest held-out loss", flag_values=FLAGS)
flags.DEFINE_string(
    "out", None, "a folder for forecast.csv and forecast.png; left out, RUN/forecast", flag_values=FLAGS
)


def forecast(
    folder: str | Path,
    *,
    steps: int | None = None,
    csv: str | Path | None = None,
    arm: str | None = None,
    seed: int | None = None,
) -> Forecast:
    """What follows the end of a run's series, or of a newer file, by one of its networks.

    Weights and scaling are those of the run's training part; what is read are the series' last T values.

    Args:
      folder: of a finished run of the task Series.
      steps: after the end; left out, the network's horizon.
      csv: a newer file with the columns of the run's own.
      arm: its name, or a shell pattern; left out, the arm of the lowest held-out loss, where all are of one series.
      seed: the trial's; left out, that of the lowest held-out loss.

    Returns:
      Times and quantiles; `write(folder)` makes forecast.csv and forecast.png.

    Raises:
      SettingError: there is no such run, arm or seed, or the network cannot forecast so far.
      UserError: the file cannot be read, or is too short.
    """
    best = best_trial(folder, Series, "--exp=forecasting", arm, seed, lambda task: task.fold == task.folds)
    chosen = open_results(Path(folder)).arms[best.arm]
    trained = load(folder, best.arm, best.seed, at="best")
    task, scaling = trained.task, Scaling.from_json(chosen.baselines["scaling"])
    steps = task.horizon if steps is None else steps
    if steps > task.horizon and not task.autoregressive:
        told = f"{chosen.name} forecasts {task.horizon} steps at once"
        raise SettingError(
            f"steps={steps}: {told}: ask for {task.horizon} at most, or train a network with task.horizon={steps} or "
            "task.mode=autoregressive"
        )
    if csv is not None and not task.csv:
        raise SettingError(f"csv={csv}: {chosen.name} was trained on {task.series}, which is no file")
    if csv is None and task.csv and not Path(task.csv).exists():
        raise SettingError(
            f"{task.csv}: no such file from here, which {chosen.name} was trained on: name it with --csv=FILE"
        )
    column = task.column or chosen.baselines["unit"]  # of a file's series the unit is its column
    series = csv_series(str(csv), column, task.time, task.covariates) if csv else task.read_series()
    _check_fits(series, task, scaling, chosen)
    read = scaling.inputs(series.values, series.covariates)[-task.length :, None]
    window, last = (jnp.asarray(part.astype(np.float32)) for part in (read, series.values[-1:]))
    found = quantiles(trained.model, window, last, task, scaling, steps, jax.random.key(0), PATHS)[0]
    time = None if series.offset is None else later(series.time[-1], Step(series.step, series.offset), steps)
    return Forecast(chosen.name, best.seed, series, time, np.asarray(found, np.float64))


def _check_fits(series: Data, task: Series, scaling: Scaling, arm: Arm) -> None:
    if len(series) <= task.length:
        raise SettingError(f"{series.name}: {len(series)} rows: {arm.name} reads {task.length}, and one before them")
    step = arm.baselines["step"]
    if series.step != step:
        raise SettingError(f"{series.name}: steps of one {series.step}: {arm.name} was trained on steps of one {step}")
    if scaling.transform == "returns" and series.values[-task.length - 1 :].min() <= 0:
        raise SettingError(f"{series.name}: a value is not above 0: {arm.name} reads relative changes")


USAGE = "python -m rnnlab.forecast RUN [--steps=48] [--csv=newer.csv] [--arm=NAME] [--seed=0] [--out=FOLDER]"


@functools.partial(one_line, usage=USAGE)
def main(argv: list[str]) -> None:
    [folder] = parsed(FLAGS, argv, USAGE)
    given = {name: FLAGS[name].value for name in FLAGS if name != "out"}
    found, out = forecast(folder, **given), Path(FLAGS.out or Path(folder) / "forecast")
    found.write(out)
    table, screen = found.table(), Screen()
    terminal(table._replace(rows=table.rows[:LINES]), screen)
    rest = len(table.rows) - LINES
    screen.say(f"and {rest:,} steps more: " * (rest > 0) + f"{out / 'forecast.csv'}, {out / 'forecast.png'}")
    for repair in found.series.repairs:
        screen.say(f"{found.series.name}: {repair}")


def program() -> None:
    """The command line, with its exit status."""
    sys.exit(main(sys.argv))


callable_as(__name__, forecast)

if __name__ == "__main__":
    program()
