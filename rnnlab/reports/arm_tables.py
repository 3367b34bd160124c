"""A run's arms, a row each: the columns that there are, their text in a table and their numbers in a CSV file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rnnlab.reports.tables import Table, format_interval, format_number
from rnnlab.runs.results import Arm, Results, When
from rnnlab.settings.errors import SettingError, nearest
from rnnlab.settings.resolve import varied
from rnnlab.specs.grid import TRIALS
from rnnlab.stats import estimates
from rnnlab.stats.estimates import Interval
from rnnlab.stats.survival import Times, median_time

NOTHING = ("", "n/a", "none", "not trained")  # what a cell says where there is nothing to say


class Column(NamedTuple):
    """A quantity of an arm."""

    head: str  # with its unit
    number: Callable[[Arm], Interval | float | None]
    text: Callable[[Arm], str]


def format_time(time: Interval, longest: float | int) -> str:
    """A median time to solve in whole units: `81,277 [71,638, >= 100,000]`; what was not reached is ">= longest"."""

    def shown(value: float) -> str:
        return f"{value:,.0f}" if math.isfinite(value) else f">= {longest:,.0f}"

    if math.isnan(time.estimate):
        return "n/a"
    return shown(time.estimate) + ("" if math.isnan(time.low) else f" [{shown(time.low)}, {shown(time.high)}]")


def format_rate(successes: int, n: int) -> str:
    """`3/4 [0.30, 0.95]`, with Wilson's interval."""
    rate = estimates.proportion(successes, n)
    return f"{successes}/{n} [{rate.low:.2f}, {rate.high:.2f}]"


def format_horizon(arm: Arm, when: When, name: str) -> str:
    """The median horizon; ">=" stands before what the length of the sequence cut off."""
    reached = [found for trial in arm.trials if (found := trial.horizon(when, name))]
    seen = max((r.horizon for r in reached if not r.censored), default=-1)
    estimate, low, high, n = arm.horizon(when, name)
    if n == 0:
        return "n/a"
    middle, *ends = (f"{'>= ' if value > seen else ''}{value:g}" for value in (estimate, low, high))
    return middle if n == 1 or low > seen else f"{middle} [{', '.join(ends)}]"


def _trials(arm: Arm) -> str:
    seeds = [str(trial.seed) for trial in arm.trials if trial.diverged]
    named = f" ({len(seeds)} diverged: seed{'s' * (len(seeds) > 1)} {', '.join(seeds)})" if seeds else ""
    return f"{len(arm.trials)}{named}"


def _half_life(arm: Arm) -> str:
    life = arm.half_life()
    if life.estimate == math.inf:
        return f"does not fall [{format_number(life.low, 2)}, inf]" if life.low < math.inf else "does not fall"
    return format_interval(life, 2)


def _median_time(arm: Arm) -> Interval | None:
    times = arm.times()
    return median_time(times) if any(map(len, times)) else None


def _sequences(arm: Arm) -> str:
    found = _median_time(arm)
    return "not trained" if found is None else format_time(found, longest(arm.times()))


def longest(times: Times) -> float:
    """The last sequence that any trial saw."""
    return float(max([*times.solved, *times.unsolved]))


def _guessed(arm: Arm) -> tuple[int, int]:
    found = [trial.guesses for trial in arm.trials if trial.guesses]
    return sum(g.solved for g in found), sum(g.guesses for g in found)


def guessing(arm: Arm) -> str:
    """Random weight guessing: networks that solve the task, of all that were drawn, with Wilson's interval."""
    solved, drawn = _guessed(arm)
    if not drawn:
        return "n/a"
    rate = estimates.proportion(solved, drawn)
    return f"{solved}/{drawn} [{format_number(rate.low, 2)}, {format_number(rate.high, 2)}]"


def _decay(name: str, what: str) -> Column:
    def number(arm: Arm) -> Interval | None:
        found = arm.decay_rate("init", name)
        return found if found.n else None

    def text(arm: Arm) -> str:
        found = number(arm)
        return "none" if found is None else format_interval(found, 2)

    return Column(f"decay {what} at init (nats/step)", number, text)


def _horizon(when: When, name: str) -> Column:
    said = {"init": "at init", "trained": "after training"}[when]
    of = "horizon" if name == "h" else f"horizon of dL/d{name}"
    return Column(
        f"{of} {said} (steps)", lambda arm: arm.horizon(when, name), lambda arm: format_horizon(arm, when, name)
    )


def _held_out(name: str) -> Column:
    return Column(f"held-out {name}", lambda arm: arm.held_out(name), lambda arm: format_interval(arm.held_out(name)))


def _fit(arm: Arm) -> Mapping[str, Any] | None:
    """What was fitted to dL/dh's mean profile over trials at initialisation, with bootstrap intervals over seeds."""
    return arm.fits.get("init", {}).get("h")


def _fitted(quantity: str, head: str) -> Column:
    def number(arm: Arm) -> Interval | None:
        fit = _fit(arm)
        return None if fit is None else Interval(**fit[quantity])

    def text(arm: Arm) -> str:
        fit, found = _fit(arm), number(arm)
        if fit is None or found is None:
            return "n/a"
        if quantity != "horizon":
            return format_interval(found, 2)
        ends = "" if math.isnan(found.low) else f" [{found.low:g}, {found.high:g}]"
        return f"{'>= ' * fit['censored']}{found.estimate:g}{ends}"

    return Column(head, number, text)


def _one_rate(arm: Arm) -> str:
    fit = _fit(arm)
    if fit is None:
        return "n/a"
    line = fit["line"]
    return "yes" if line["exponential"] else f"no: {line['early']:.2g}, then {line['late']:.2g}"


COLUMNS: dict[str, Column] = {
    "trials": Column("trials", lambda arm: len(arm.trials), _trials),
    "learned": Column(
        "learned",
        lambda arm: arm.success if arm.trained else None,
        lambda arm: format_rate(arm.learned, len(arm.trials)) if arm.trained else "not trained",
    ),
    "sequences": Column("sequences to solve", _median_time, _sequences),
    "decay": _decay("h", "of dL/dh"),
    "decay_c": _decay("c", "of dL/dc"),
    "path_decay": _decay("c cell path", "along the cell path"),
    "half_life": Column("half-life of dL/dh at init (steps)", lambda arm: arm.half_life(), _half_life),
    "horizon": _horizon("init", "h"),
    "horizon_trained": _horizon("trained", "h"),
    "horizon_c": _horizon("init", "c"),
    "horizon_c_trained": _horizon("trained", "c"),
    "fit_decay": _fitted("decay_rate", "decay of the mean dL/dh at init (nats/step)"),
    "fit_half_life": _fitted("half_life", "half-life of the mean dL/dh at init (steps)"),
    "fit_horizon": _fitted("horizon", "horizon of the mean dL/dh at init (steps)"),
    "one_rate": Column(
        "one decay rate for all lags?", lambda arm: float(fit["line"]["exponential"]) if (fit := _fit(arm)) else None,
        _one_rate,
    ),
    "loss": _held_out("loss"),
    "accuracy": _held_out("accuracy"),
    "chance": Column("chance loss", lambda arm: arm.chance, lambda arm: format_number(arm.chance)),
    "guessing": Column(
        "solved by guessing weights",
        lambda arm: estimates.proportion(*_guessed(arm)) if _guessed(arm)[1] else None,
        guessing,
    ),
}  # fmt: skip
MAIN = ("learned", "decay", "path_decay", "horizon", "horizon_trained", "accuracy")
SWEEP = ("trials", "learned", "sequences", "loss", "horizon", "horizon_trained")


def chosen(columns: Iterable[str | Column]) -> dict[str, Column]:
    """Columns by name; an experiment's own is named by its head. Raises SettingError for a name that is none."""
    found = {}
    for column in columns:
        if isinstance(column, Column):
            found[column.head] = column
        elif column in COLUMNS:
            found[column] = COLUMNS[column]
        else:
            raise SettingError(f"--columns={column}: no such column{nearest(column, COLUMNS)}")
    return found


def arms_table(results: Results, columns: Sequence[str | Column] = tuple(COLUMNS)) -> Table:
    """A row an arm, in their declared order; a column that says nothing of any arm is left out.

    Rates are means with Student's interval, success a proportion with Wilson's, sequences Kaplan & Meier's median, all
    else medians with theirs. A diverged trial counts as one that did not learn; its state after training is left out.

    Raises:
      SettingError: there is no such column.
    """
    arms = list(results.arms.values())
    texts = {column: [column.text(arm) for arm in arms] for column in chosen(columns).values()}
    kept = {column: cells for column, cells in texts.items() if any(cell not in NOTHING for cell in cells)}
    rows = [[arm.name, *cells] for arm, *cells in zip(arms, *kept.values(), strict=True)]
    names = [name for name, column in chosen(columns).items() if column in kept]
    return Table(_caption(results, names), ["arm", *(column.head for column in kept)], rows)


def _caption(results: Results, columns: Sequence[str]) -> str:
    said = [f"{'All quantities' if len(columns) > 7 else 'Arms'} of {results.experiment}."]
    if any("horizon" in name for name in columns):
        said.append(f"Horizon: the largest lag whose dL/dh is above {results.fraction:g} of lag 0.")
    rules: dict[str, dict[str, None]] = {}
    for arm in results.arms.values():
        if arm.rule and arm.trained:
            rules.setdefault(arm.rule, {})[arm.task] = None
    if rules and "learned" in columns:
        told = [rule + (f" ({', '.join(tasks)})" if len(rules) > 1 else "") for rule, tasks in rules.items()]
        said.append(f"Learned: {'; '.join(told)}.")
    if "sequences" in columns:
        said.append(
            "Sequences to solve: Kaplan & Meier's median, in brackets where its 95 % band crosses 1/2; >= the longest "
            "budget where it was not reached."
        )
    if any(len(arm.trials) > 1 for arm in results.arms.values()):
        said.append("In brackets: 95 % intervals over trials, for a median of up to 5 trials their range.")
    if "fit_decay" in columns:
        said.append(
            "Of the mean dL/dh: the profile averaged over trials, with bootstrap intervals over seeds (over examples "
            "where there is one); where one rate does not describe its decay, the slopes of the first and second half "
            "of the lags stand beside it."
        )
    if "guessing" in columns:
        counts = sorted({trial.guesses.guesses for trial in results.trials if trial.guesses})
        said.append(f"Guessing: of {' to '.join(map(str, counts[:1] + counts[1:][-1:]))} networks beside each trial.")
    return " ".join(said)


def _settings(results: Results) -> list[str]:
    """The settings that differ between arms; of a single arm those that name it."""
    found = [path for path in varied(results.settings) if path not in TRIALS]
    return found or [
        path for path in ("cell", "task", "task.length") if path in next(iter(results.arms.values())).settings
    ]


def _written(rows: Sequence[Mapping[str, Any]]) -> str:
    file = io.StringIO()
    columns = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(file, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def arms_csv(results: Results, own: Sequence[str | Column] = ()) -> str:
    """A row an arm, one number a cell: the settings that vary, then every column with the ends of its interval.

    `own`: an experiment's columns, of which those that are its own come last.
    """
    rows = []
    for arm in results.arms.values():
        row = {"arm": arm.name, "task": arm.task, "label": arm.label, "n": len(arm.trials)}
        row |= {path: arm.settings.get(path, "") for path in _settings(results)}
        for name, column in (COLUMNS | chosen(own)).items():
            found = column.number(arm)
            if isinstance(found, Interval):
                row |= {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}
            elif found is not None and name != "trials":
                row[name] = found
        rows.append(row)
    return _written(rows)


def trials_csv(results: Results) -> str:
    """A row a trial, one number a cell: what a statistics program reads."""
    rows = []
    for arm in results.arms.values():
        settings = {path: arm.settings.get(path, "") for path in _settings(results)}
        for trial in arm.trials:
            row = {"arm": arm.name, "task": arm.task, "label": arm.label, "seed": trial.seed, **settings}
            row |= {name: getattr(trial, name) for name in ("status", "steps", "learned_at", "sequences", "budget")}
            row |= {f"held_out_{name}": value for name, value in trial.held_out.items()}
            for when, by_name in trial.horizons.items():
                if trial.measured(when):
                    for name, reached in by_name.items():
                        place = f"{when}_{name.replace(' ', '_')}"
                        row |= {f"{place}_{quantity}": value for quantity, value in reached._asdict().items()}
            rows.append(row)
    return _written(rows)
