"""What a sweep varied, read back from its results: the value of each setting in each arm, and trials by value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy

from rnnlab.runs.results import Results, Trial, typed
from rnnlab.settings.errors import SettingError, nearest
from rnnlab.settings.resolve import varied
from rnnlab.specs.grid import TRIALS
from rnnlab.stats.fanova import Scale

LEVELS = 8  # values, up to which an axis is a grid's
DECADE = 10  # an axis of positive numbers that spans more is logarithmic
SAME = 0.99  # rank correlation, from which two axes of draws are one

LABELS = {
    "cell": "cell",
    "cell.features": "hidden units H",
    "task.length": "sequence length T (steps)",
    "train.batch_size": "sequences an update",
    "train.clip_norm": "clipping norm",
    "train.learning_rate": "learning rate",
}


def label(path: str) -> str:
    """A setting's name for an axis of a figure, with its unit where it has one."""
    return LABELS.get(path, path.rpartition(".")[2].replace("_", " "))


def axis(results: Results, path: str) -> dict[str, Any]:
    """One setting's value by arm: numbers where all arms have one, else text; "n/a" where an arm has no such setting.

    Raises:
      SettingError: no arm has such a setting.
    """
    settings = results.settings
    known = dict.fromkeys(path for values in settings.values() for path in values)
    if path not in known:
        raise SettingError(f"{path}: no arm has such a setting{nearest(path, known)}")
    texts = {arm: values.get(path, "n/a") for arm, values in settings.items()}
    values = {arm: typed(text) for arm, text in texts.items()}
    return values if all(isinstance(value, int | float) for value in values.values()) else texts


def design(results: Results, trials: Sequence[Trial], paths: Sequence[str] = ()) -> dict[str, list[Any]]:
    """{path: its value in each trial}, for `stats.fanova.importance`; `paths` left out: all that differ between arms.

    `trials` are those of the results, or some of them: an importance is of trials with a finite outcome. Arms
    that set several at once, as steps with a length, make axes that no design can tell apart: see `apart`.
    """
    values = {path: axis(results, path) for path in paths or varied(results.settings)}
    return {path: [of_arm[trial.arm] for trial in trials] for path, of_arm in values.items()}


def scales(design: Mapping[str, Sequence[Any]]) -> dict[str, Scale]:
    """How `rnnlab.stats.fanova.importance` is to average over each axis of numbers; "linear" where nothing is said.

    Few values that come again are a grid's, and count alike; of the others those that span a decade are logarithmic.
    """
    found: dict[str, Scale] = {}
    for path, values in design.items():
        if any(isinstance(value, str) for value in values):
            continue
        if len(set(values)) <= min(LEVELS, len(values) - 1):
            found[path] = "levels"
        elif min(values) > 0 and max(values) > DECADE * min(values):
            found[path] = "log"
    return found


def apart(design: Mapping[str, Sequence[Any]]) -> tuple[dict[str, Sequence[Any]], dict[str, str]]:
    """The axes that can be told apart, and each other one with the axis that it varies with, as zipped settings do.

    Few values of one that leave the other no choice make it the one's, and so do draws of equal order. Of two such
    axes the one of more values is kept, of equals the first.
    """
    paths = sorted(design, key=lambda path: -len(set(design[path])))  # stable: of equals the first
    with_: dict[str, str] = {}
    for place, path in enumerate(paths):
        ahead = (name for name in paths[:place] if name not in with_ and _decides(design[name], design[path]))
        if (name := next(ahead, None)) is not None:
            with_[path] = name
    return {path: values for path, values in design.items() if path not in with_}, with_


def _decides(a: Sequence[Any], b: Sequence[Any]) -> bool:
    if len(set(a)) <= LEVELS or any(isinstance(value, str) for value in a):
        return len(set(zip(a, b, strict=True))) == len(set(a))
    if any(isinstance(value, str) for value in b) or len(set(b)) < 2:
        return False
    return bool(abs(scipy.stats.spearmanr(np.asarray(a), np.asarray(b)).statistic) > SAME)


def mixed(results: Results, trials: Sequence[Trial], shown: Sequence[str]) -> list[str]:
    """The settings besides those shown by which trials that stand together differ: their mean is of no one setting."""
    settings = {arm: results.settings[arm] for arm in dict.fromkeys(trial.arm for trial in trials)}
    return [path for path in varied(settings) if path not in (*shown, *TRIALS)]


def grouped(results: Results, *paths: str) -> dict[tuple[Any, ...], list[Trial]]:
    """Trials by the values of some settings, numbers rising, text as it first appears."""
    values = [axis(results, path) for path in paths]
    places = [{v: number for number, v in enumerate(ordered(of_arm.values()))} for of_arm in values]
    found: dict[tuple[Any, ...], list[Trial]] = {}
    for trial in results.trials:
        found.setdefault(tuple(of_arm[trial.arm] for of_arm in values), []).append(trial)
    return dict(sorted(found.items(), key=lambda item: [p[v] for p, v in zip(places, item[0], strict=True)]))


def ordered(values: Any) -> list[Any]:
    """Each value once: numbers rising, text as it first appears."""
    once = list(dict.fromkeys(values))
    return once if any(isinstance(v, str) for v in once) else sorted(once)
