"""The quantities of an arm that a table can show: their heads, numbers and texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from rnnlab.reports.tables import format_interval, format_number
from rnnlab.runs.results import Arm, When
from rnnlab.settings.errors import SettingError, nearest
from rnnlab.stats import estimates
from rnnlab.stats.estimates import Interval
from rnnlab.stats.survival import median_time


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


def _finite(arm: Arm, when: When, name: str, text: str) -> str:
    """The text of a quantity over the trials whose adjoint is finite, and how many others there are, and from where."""
    lost, where = arm.not_finite(when, name), arm.not_finite_from(when, name)
    if not lost:
        return text
    told = "not finite" if where is None else f"not finite from lag {where.lag}"
    if where and where.examples < where.of:
        told += f" in {where.examples} of {where.of} examples"
    return told if lost == len(arm.trials) else f"{text} ({lost} of {len(arm.trials)} {told})"


def format_horizon(arm: Arm, when: When, name: str) -> str:
    """The median horizon; ">=" stands before what the length of the sequence cut off."""
    return _finite(arm, when, name, _horizon_text(arm, when, name))


def _horizon_text(arm: Arm, when: When, name: str) -> str:
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
    if not life.n:
        return _finite(arm, "init", "h", "n/a")
    if life.estimate == math.inf:
        return f"does not fall [{format_number(life.low, 2)}, inf]" if life.low < math.inf else "does not fall"
    return format_interval(life, 2)


def _learned(arm: Arm) -> str:
    if not arm.trained:
        return "not trained"
    return "n/a" if arm.rule is None else format_rate(arm.learned, len(arm.trials))


def _median_time(arm: Arm) -> Interval | None:
    return median_time(arm.times()) if arm.trained and arm.rule is not None else None


def _sequences(arm: Arm) -> str:
    found, times = _median_time(arm), arm.times()
    return _learned(arm) if found is None else format_time(found, max([*times.solved, *times.unsolved]))


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


def _decay(name: Callable[[Arm], str | None], what: str) -> Column:
    """`name` gives the component, or path, of an arm."""

    def number(arm: Arm) -> Interval | None:
        of = name(arm)
        found = arm.decay_rate("init", of) if of else None
        return found if found and found.n else None

    def text(arm: Arm) -> str:
        found, of = number(arm), name(arm)
        return _finite(arm, "init", of, "none" if found is None else format_interval(found, 2)) if of else "none"

    return Column(f"decay {what} at init (nats/step)", number, text)


def _horizon(when: When, name: str) -> Column:
    said = {"init": "at init", "trained": "after training"}[when]
    of = "horizon" if name == "h" else f"horizon of dL/d{name}"
    return Column(
        f"{of} {said} (steps)", lambda arm: arm.horizon(when, name), lambda arm: format_horizon(arm, when, name)
    )


def _held_out(name: str) -> Column:
    return Column(f"held-out {name}", lambda arm: arm.held_out(name), lambda arm: format_interval(arm.held_out(name)))


def _fitted(quantity: str, head: str) -> Column:
    def number(arm: Arm) -> Interval | None:
        return None if arm.fit is None else getattr(arm.fit, quantity)

    def text(arm: Arm) -> str:
        if arm.fit is None:
            return "n/a"
        found = getattr(arm.fit, quantity)
        if quantity != "horizon":
            return format_interval(found, 2)
        cut = ">= " * arm.fit.censored  # the sequence ended before the upper end; before the estimate too if they agree
        if math.isnan(found.low):
            return f"{cut}{found.estimate:g}"
        middle = f"{cut * (found.estimate == found.high)}{found.estimate:g}"
        return middle if found.low == found.high else f"{middle} [{found.low:g}, {cut}{found.high:g}]"

    return Column(head, number, text)


def _one_rate(arm: Arm) -> str:
    if arm.fit is None or math.isnan(arm.fit.line.misfit):  # too few lags
        return "n/a"
    line = arm.fit.line
    return "yes" if line.exponential else f"no: {line.early:.2g}, then {line.late:.2g}"


COLUMNS: dict[str, Column] = {
    "trials": Column("trials", lambda arm: len(arm.trials), _trials),
    "learned": Column("learned", lambda arm: arm.success if arm.trained and arm.rule is not None else None, _learned),
    "sequences": Column("sequences to solve", _median_time, _sequences),
    "decay": _decay(lambda arm: "h", "of dL/dh"),
    "decay_c": _decay(lambda arm: "c", "of dL/dc"),
    "path_decay": _decay(lambda arm: arm.cell_path, "along the cell path"),
    "half_life": Column("half-life of dL/dh at init (steps)", lambda arm: arm.half_life(), _half_life),
    "horizon": _horizon("init", "h"),
    "horizon_trained": _horizon("trained", "h"),
    "horizon_c": _horizon("init", "c"),
    "horizon_c_trained": _horizon("trained", "c"),
    "fit_decay": _fitted("decay_rate", "decay of the mean dL/dh at init (nats/step)"),
    "fit_half_life": _fitted("half_life", "half-life of the mean dL/dh at init (steps)"),
    "fit_horizon": _fitted("horizon", "horizon of the mean dL/dh at init (steps)"),
    "one_rate": Column(
        "one decay rate for all lags?", lambda arm: float(arm.fit.line.exponential) if arm.fit else None, _one_rate
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
