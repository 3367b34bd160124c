"""What a sweep varied, read back from its results: the value of each setting in each arm, and trials by value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rnnlab.settings import SettingError, nearest, varied

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


def axis(results: Mapping[str, Any], path: str) -> dict[str, Any]:
    """One setting's value by arm: numbers where all arms have one, else text; "n/a" where an arm has no such setting.

    Raises:
      SettingError: no arm has such a setting.
    """
    settings = results["settings"]
    known = dict.fromkeys(path for values in settings.values() for path in values)
    if path not in known:
        raise SettingError(f"{path}: no arm has such a setting{nearest(path, known)}")
    texts = {arm: values.get(path, "n/a") for arm, values in settings.items()}
    try:
        return {arm: _number(text) for arm, text in texts.items()}
    except ValueError:
        return texts


def design(results: Mapping[str, Any], trials: Sequence[Any], paths: Sequence[str] = ()) -> dict[str, list[Any]]:
    """{path: its value in each trial}, for `rnnlab.fanova.importance`; `paths` left out: all that differ between arms.

    `trials` are those of the results, or some of them: an importance is of trials with a finite outcome. Give
    `paths` where arms set several at once, as steps with a length: no design can tell those apart.
    """
    values = {path: axis(results, path) for path in paths or varied(results["settings"])}
    return {path: [of_arm[trial["arm"]] for trial in trials] for path, of_arm in values.items()}


def grouped(results: Mapping[str, Any], *paths: str) -> dict[tuple[Any, ...], list[Any]]:
    """Trials by the values of some settings, numbers rising, text as it first appears."""
    values = [axis(results, path) for path in paths]
    places = [{v: number for number, v in enumerate(ordered(of_arm.values()))} for of_arm in values]
    found: dict[tuple[Any, ...], list[Any]] = {}
    for trial in results["trials"]:
        found.setdefault(tuple(of_arm[trial["arm"]] for of_arm in values), []).append(trial)
    return dict(sorted(found.items(), key=lambda item: [p[v] for p, v in zip(places, item[0], strict=True)]))


def ordered(values: Any) -> list[Any]:
    """Each value once: numbers rising, text as it first appears."""
    once = list(dict.fromkeys(values))
    return once if any(isinstance(v, str) for v in once) else sorted(once)


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)
