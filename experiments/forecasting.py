"""Does memory help to forecast a series, and does an LSTM beat the best model without a network?

Question. A vanilla RNN, a GRU and an LSTM read the last T values of a series and answer with quantiles of the next h.
Each is scored on the last part of the series beside what needs no network: the last value, the value one season
before, a line, an autoregression (AR), exponential smoothing (ETS) and ridge regression on the same T values. How far
back does a network look, beside the lags at which the series is correlated with itself?

Expectation. On daily stock prices nothing beats the last value by more than chance: prices in an efficient market are
close to a martingale (Fama 1970), so that what is past holds next to nothing of the mean return. On series with a
season or a cycle memory helps; whether a network beats simple statistical models on a single short series is open: in
the M4 competition of 100,000 series pure machine learning lost to them (Makridakis, Spiliotis & Assimakopoulos 2018).

Command. python -m rnnlab.run --exp=forecasting [--tier=smoke|quick|paper]
On a file of one's own: --exp=forecasting task.csv=prices.csv task.column=close [task.time=date task.horizon=12]
Refitted as the series goes on: task.folds=3; the paper tier does.
"""

from pathlib import Path

from rnnlab.cells import GRU, LSTM, VanillaRNN
from rnnlab.probes.forecasts import forecasts
from rnnlab.probes.gradients.input_gradient import input_gradient_of_last_answer
from rnnlab.reports import figures, forecast_figures, forecast_lags, forecast_verdicts
from rnnlab.reports.forecasts import fold_name, kinds_table, last_folds, models_table, steps_table
from rnnlab.reports.report import Report
from rnnlab.specs.grid import product
from rnnlab.tasks import Series

CELLS = {"VanillaRNN": {"cell": VanillaRNN}, "GRU": {"cell": GRU}, "LSTM": {"cell": LSTM}}
SERIES = {  # windows of about two seasons, forecasts of one month, one cycle, half a year and one day
    "sp500": {"task.length": 60, "task.horizon": 20},
    "sunspots": {"task.length": 44, "task.horizon": 11, "task.test": 0.3},
    "co2": {"task.length": 104, "task.horizon": 26},
    "electricity": {"task.length": 336, "task.horizon": 48},
}


def config(tier):
    """The network of the lowest loss on the validation part is the one that forecasts."""
    common = {"task": Series, "cell.features": 32, "train.learning_rate": 3e-3, "train.schedule": "cosine"}
    common |= {"train.keep": "best", "train.stop_when_solved": False, "train.batch_size": 32, "flow.examples": 16}
    tiers = {
        "smoke": {"seeds": 1, "cell.features": 8, "train.steps": 20, "train.window": 10, "train.eval_size": 32},
        "quick": {"seeds": 3, "train.steps": 1000, "train.window": 25, "train.eval_size": 128},
        "paper": {
            "seeds": 10,
            "cell.features": 128,
            "train.steps": 10_000,
            "train.window": 100,
            "train.eval_size": 512,
        },
    }
    return common | tiers[tier]


def arms(tier, settings=None):
    """Every series with every cell; `settings` of the command line take the place of a series' own."""
    settings = settings or {}
    chosen = {"sunspots": SERIES["sunspots"]} if tier == "smoke" else SERIES
    if "task.csv" in settings:
        own: dict = {Path(settings["task.csv"]).stem: {}}
    else:
        if "task.series" in settings:
            chosen = {settings["task.series"]: SERIES.get(settings["task.series"], {})}
        own = {name: {"task.series": name} | values for name, values in chosen.items()}
    own = {name: {path: value for path, value in of.items() if path not in settings} for name, of in own.items()}
    return product(in_folds(own, settings, 3 if tier == "paper" else 1), CELLS)


def in_folds(series, settings, folds):
    """Every fold of every series; a number that is none is refused later, by its path."""
    given = {} if "task.folds" in settings else {"task.folds": folds}
    folds = str(settings.get("task.folds", folds))
    if "task.fold" in settings or not folds.isdecimal() or int(folds) < 2:
        return series
    each = range(1, int(folds) + 1)
    return {fold_name(name, k): of | given | {"task.fold": k} for name, of in series.items() for k in each}


def learning(results, **options):
    return figures.learning(last_folds(results), **options)


def probes(spec):
    return {"forecasts": forecasts(spec.task), "gradient": input_gradient_of_last_answer}


def report(results):
    return Report(
        answer=forecast_verdicts.answer(results),
        claims=forecast_verdicts.claims(results),
        main=models_table(results),
        tables=[steps_table(results), kinds_table(results)],
        figures={
            "forecasts": forecast_figures.forecasts,
            "steps": forecast_figures.by_step,
            "calibration": forecast_figures.calibration,
            "lags": forecast_lags.by_lag,
            "learning": learning,
        },
    )
