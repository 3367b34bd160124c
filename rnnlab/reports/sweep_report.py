"""The report of a sweep that a user typed: an experiment's own judges the arms that its author chose, and no others."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rnnlab.reports import figures, many_arms, scatter, sentences, sweep_axes, sweep_figures
from rnnlab.reports.arm_columns import SWEEP
from rnnlab.reports.pairs import paired_table, stopped_early
from rnnlab.reports.report import Draw, Report
from rnnlab.reports.style import COLOURS
from rnnlab.reports.tables import Table, format_interval, listed
from rnnlab.runs.results import Arm, Results, Trial
from rnnlab.settings.resolve import varied
from rnnlab.specs.grid import TRIALS
from rnnlab.stats.bootstrap import interquartile_mean
from rnnlab.stats.fanova import FEW, Importance, importance, logs
from rnnlab.stats.survival import median_time


class Shares(NamedTuple):
    """What settings make of the variance of an outcome."""

    outcome: str
    found: Importance
    tied: dict[str, str]  # settings that were left out, each with the one it varies with


def report(results: Results) -> Report:
    """Who learned and how soon; with draws enough, which setting mattered.

    Curves are drawn where every arm of a task has a look of its own.
    """
    tasks = results.tasks
    few = max(map(len, tasks.values())) <= len(COLOURS)
    drawn: dict[str, Draw] = {"flow": figures.flow, "horizons": figures.horizons} if few else {}
    if not any(arm.trained for arm in results.arms.values()):
        return Report(sentences.half_lives(results.longest), drawn)
    paths = [path for path in varied(results.settings) if path not in TRIALS]
    numbers = [path for path in paths if _numeric(results, path)]
    if not few and len(numbers) < len(paths):  # a choice of cells, say
        drawn["arms"] = many_arms.losses_and_horizons
    if not few and numbers:
        drawn["losses"] = functools.partial(scatter.losses_over, settings=numbers)
    if few:
        drawn = {"learning": figures.learning, "solving": sweep_figures.survival} | drawn
    if "task.length" in varied(results.settings):
        drawn["success"] = sweep_figures.success
    if grid := _grid(results):
        across, up = grid
        drawn["success_map"] = functools.partial(
            sweep_figures.heat_map, across=across, up=up, outcome=_share, name="share of trials that learned",
            between=(0.0, 1.0),
        )  # fmt: skip
    if shares := importances(results):
        drawn["importance"] = functools.partial(_importance, shares)
    scores = _accuracies(tasks) if few and len(tasks) > 1 else {}
    if scores:
        drawn["profile"] = functools.partial(_profile, scores)
    pairs = [paired_table(results, next(iter(arms.values())).name) for arms in tasks.values() if _paired(arms)]
    means = [_means(scores)] if scores else []
    return Report(" ".join(map(_learned, tasks.values())), drawn, columns=SWEEP, tables=[*pairs, *means])


def _numeric(results: Results, path: str) -> bool:
    return all(not isinstance(value, str) for value in sweep_axes.axis(results, path).values())


def _paired(arms: Mapping[str, Arm]) -> bool:
    """Few arms with several seeds: the first of many draws is nobody's baseline, and one seed is no pair to test."""
    return 1 < len(arms) <= len(COLOURS) and max(len(arm.trials) for arm in arms.values()) > 1


def _accuracies(tasks: Mapping[str, Mapping[str, Arm]]) -> dict[str, list[list[float]]]:
    """Held-out accuracies by label, of each task; of a diverged trial 0. Empty where a task lacks a label or score."""
    labels = list(dict.fromkeys(label for arms in tasks.values() for label in arms))
    if any(label not in arms for arms in tasks.values() for label in labels):
        return {}
    every = [trial for arms in tasks.values() for arm in arms.values() for trial in arm.trials]
    if any(not trial.diverged and "accuracy" not in trial.held_out for trial in every):
        return {}
    return {label: [[_accuracy(trial) for trial in arms[label].trials] for arms in tasks.values()] for label in labels}


def _accuracy(trial: Trial) -> float:
    value = 0.0 if trial.diverged else trial.held_out["accuracy"]
    return value if math.isfinite(value) else 0.0


def _means(scores: Mapping[str, Sequence[Sequence[float]]]) -> Table:
    rows = []
    for label, groups in scores.items():
        found = interquartile_mean(groups)
        if not math.isnan(found.low):  # few trials have a wide interval, and an accuracy its bounds
            found = found._replace(low=max(found.low, 0.0), high=min(found.high, 1.0))
        rows.append([label, str(len(groups)), str(found.n), format_interval(found)])
    caption = (
        "Held-out accuracy over tasks: the mean of the middle half of all trials (Agarwal et al. 2021), in brackets "
        "the 95 % interval of a bootstrap within tasks, which are the ones chosen. A diverged trial counts as 0."
    )
    return Table(caption, ["arm", "tasks", "trials", "interquartile mean of accuracy"], rows)


def _profile(scores, results: Results, **options):
    labels = {arm.label for arm in results.arms.values()}
    chosen = {label: groups for label, groups in scores.items() if label in labels}
    return sweep_figures.performance_profile(chosen, "held-out accuracy", np.linspace(0, 1, 201), **options)


def _grid(results: Results) -> tuple[str, str] | None:
    """Two settings of which every pair of values occurs, the first that there are."""
    values = {path: sweep_axes.axis(results, path) for path in varied(results.settings) if path not in TRIALS}
    for (across, one), (up, two) in itertools.combinations(values.items(), 2):
        if len({(one[arm], two[arm]) for arm in one}) == len(set(one.values())) * len(set(two.values())):
            return across, up
    return None


def _share(trials: Sequence[Trial]) -> float:
    return sum(trial.learned for trial in trials) / len(trials)


def importances(results: Results) -> Shares | None:
    """Shares of the variance of an outcome; None for few trials, one axis, or tasks that do not compare.

    Of settings that vary together one takes part.
    """
    paths = [path for path in varied(results.settings) if path not in TRIALS]
    trials = [trial for trial in results.trials if trial.trained]
    if len(trials) < FEW or len(paths) < 2 or "task" in paths:
        return None
    design, tied = sweep_axes.apart(sweep_axes.design(results, trials, paths))
    name, values = _outcome(results, trials)
    if len(design) < 2 or len(set(values)) < 2:
        return None
    found = importance(design, values, sweep_axes.scales(design))
    return Shares(name, found, tied) if found.effects else None


def _outcome(results: Results, trials: Sequence[Trial]) -> tuple[str, list[float]]:
    """The log loss; where trials stop at the rule, losses tell of the rule, and the log of sequences is taken."""
    if stopped_early(trials):
        ends = [trial.sequences_to_learn if trial.learned else trial.budget for trial in trials]
        return "log sequences to solve (unsolved: the budget)", logs(ends)
    losses = [trial.held_out.get("loss", math.nan) for trial in trials]
    chances = [results.arms[trial.arm].chance for trial in trials]
    known = [loss if math.isfinite(loss) else chance for loss, chance in zip(losses, chances, strict=True)]
    return "log held-out loss", logs(known)


def _importance(shares: Shares, results: Results, **options):
    del results  # shares are of the whole sweep
    figure = sweep_figures.importance(shares.found, shares.outcome, **options)
    if shares.tied:
        said = [f"{sweep_axes.label(path)} with {sweep_axes.label(other)}" for path, other in shares.tied.items()]
        figure.set_label(f"{figure.get_label()} Not told apart, and left out: {listed(said)}.")
    return figure


def _learned(arms: Mapping[str, Arm]) -> str:
    """Every arm's count, or of many arms how many learned and which did soonest."""
    if len(arms) <= len(COLOURS) or next(iter(arms.values())).rule is None:
        return sentences.learned_by(arms)
    task = next(iter(arms.values())).task
    most = {label: arm for label, arm in arms.items() if 2 * arm.learned > len(arm.trials)}
    said = f"{task} was learned in most trials by {len(most) or 'none'} of {len(arms)} arms"
    if not most:
        return f"{said}."
    times = {label: median_time(arm.times()).estimate for label, arm in most.items()}
    soonest = min(times, key=times.__getitem__)
    return f"{said}, soonest by {soonest} ({times[soonest]:,.0f} sequences)."
