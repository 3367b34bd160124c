"""The tables of every report: reach by arm with intervals, and one row a trial for a statistics program."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rnnlab.reports.figures import by_arm, settled
from rnnlab.reports.tables import Table, format_interval, format_number
from rnnlab.stats import estimates
from rnnlab.stats.survival import trained


def reach_table(results: Mapping[str, Any]) -> Table:
    """How far back the loss is felt and whether the task is learned: a row an arm, an interval over its trials.

    Rates are means with Student's interval, success a proportion with Wilson's, all else medians with theirs
    (`rnnlab.stats.estimates`). A diverged trial counts as one that did not learn; its state after training is left out.
    """
    columns = {
        "trials": lambda ts, arm: _trials(ts),
        "learned": lambda ts, arm: _learned(ts),
        "decay of dL/dh at init (nats/step)": lambda ts, arm: _rate(ts, "h"),
        "decay along the cell path at init (nats/step)": lambda ts, arm: _rate(ts, "c cell path"),
        "half-life of dL/dh at init (steps)": lambda ts, arm: _half_life(ts),
        "horizon at init (steps)": lambda ts, arm: _horizon(ts, "init"),
        "horizon after training (steps)": lambda ts, arm: _horizon(ts, "trained"),
        "held-out loss": lambda ts, arm: _final(ts, "loss"),
        "held-out accuracy": lambda ts, arm: _final(ts, "accuracy"),
        "chance loss": lambda ts, arm: format_number(float(results["chance"][arm])),
    }
    if any(trial.get("guessing") for trial in results["trials"]):
        columns["solved by guessing weights"] = lambda ts, arm: guessing(ts)
    arms = by_arm(results)
    rows = [[arm] + [cell(trials, arm) for cell in columns.values()] for arm, trials in arms.items()]
    caption = f"Reach by arm; a horizon is the largest lag whose dL/dh is above {results['fraction']:g} of lag 0."
    rules: dict[str, list[str]] = {}
    for task, rule in results["rule"].items():
        rules.setdefault(rule, []).append(task)
    if rules:
        caption += " Learned: " + "; ".join(f"{rule} ({', '.join(tasks)})" for rule, tasks in rules.items()) + "."
    if any(len(trials) > 1 for trials in arms.values()):
        caption += " In brackets: 95 % intervals over trials, for a median of up to 5 trials their range."
    caption += guesses_said(results["trials"])
    return Table(caption, ["arm", *columns], rows)


def _trials(trials: Sequence[Any]) -> str:
    seeds = [str(trial["seed"]) for trial in trials if trial["status"] == "diverged"]
    named = f" ({len(seeds)} diverged: seed{'s' * (len(seeds) > 1)} {', '.join(seeds)})" if seeds else ""
    return f"{len(trials)}{named}"


def _learned(trials: Sequence[Any]) -> str:
    if not any(map(trained, trials)):
        return "not trained"
    learned = sum(trial["status"] == "learned" for trial in trials)
    rate = estimates.proportion(learned, len(trials))
    return f"{learned}/{len(trials)} [{rate.low:.2f}, {rate.high:.2f}]"


def _rate(trials: Sequence[Any], name: str) -> str:
    reached = [t["reach"]["init"][name] for t in settled(trials, "init") if name in t["reach"]["init"]]
    return format_interval(estimates.mean([r["decay_rate"] for r in reached]), 2) if reached else "none"


def _half_life(trials: Sequence[Any]) -> str:
    life = estimates.median([t["reach"]["init"]["h"]["half_life"] for t in settled(trials, "init")])
    if life.estimate == math.inf:
        return f"does not fall [{format_number(life.low, 2)}, inf]" if life.low < math.inf else "does not fall"
    return format_interval(life, 2)


def _horizon(trials: Sequence[Any], when: str) -> str:
    """The median horizon; ">=" stands before what the length of the sequence cut off."""
    reached = [t["reach"][when]["h"] for t in settled(trials, when)]
    seen = max((r["horizon"] for r in reached if not r["censored"]), default=-1)
    estimate, low, high, n = estimates.median([r["horizon"] for r in reached])
    if n == 0:
        return "n/a"
    middle, *ends = (f"{'>= ' if value > seen else ''}{value:g}" for value in (estimate, low, high))
    return middle if n == 1 or low > seen else f"{middle} [{', '.join(ends)}]"


def _final(trials: Sequence[Any], name: str) -> str:
    return format_interval(
        estimates.median([t["eval"][name] for t in trials if t["status"] != "diverged" and t["eval"]])
    )


def guessing(trials: Sequence[Any]) -> str:
    """Random weight guessing: networks that solve the task, of all that were drawn, with Wilson's interval."""
    found = [trial["guessing"] for trial in trials if trial["guessing"]]
    solved, drawn = (sum(g[name] for g in found) for name in ("solved", "guesses"))
    if not drawn:
        return "n/a"
    rate = estimates.proportion(solved, drawn)
    return f"{solved}/{drawn} [{format_number(rate.low, 2)}, {format_number(rate.high, 2)}]"


def guesses_said(trials: Sequence[Any]) -> str:
    """A caption's sentence on how many networks were drawn beside each trial; empty where none was."""
    counts = sorted({trial["guessing"]["guesses"] for trial in trials if trial.get("guessing")})
    if not counts:
        return ""
    of_each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f" Solved by guessing weights: of {of_each} networks drawn beside each trial, Wilson's 95 % intervals."


def trials_table(results: Mapping[str, Any]) -> Table:
    """One row a trial, one number a cell: what a statistics program reads."""
    rows = []
    for trial in results["trials"]:
        row = {name: trial[name] for name in ("arm", "seed", "status", "steps", "learned_at", "sequences")}
        row |= {f"held-out {name}": value for name, value in trial["eval"].items()}
        for when, reached in trial["reach"].items():
            for name, values in reached.items():
                row |= {f"{when} {name} {quantity}": value for quantity, value in values.items()}
        rows.append(row)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return Table("Trials.", columns, [[str(row.get(column, "")) for column in columns] for row in rows])
