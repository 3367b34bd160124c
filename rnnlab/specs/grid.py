"""What varies: dicts {name: {dotted path: value}}. Unions are Python's `|`.

    grid({"cell": [VanillaRNN, LSTM], "task.length": [100, 500], "seed": range(3)})
    zipped({"cell.features": [32, 64], "train.batch_size": [64, 32]})
    random(50, {"train.learning_rate": log_uniform(1e-4, 1e-1), "cell.features": log_integers(16, 128)})

A name is its settings, the task's before a "/": `length=100/LSTM`. So the same settings have the same name in every
design, and a design that grows keeps the arms it had.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy

from rnnlab.specs.fields import Number

Settings = Mapping[str, Any]
Distribution = Callable[[float], Any]  # from a number in [0, 1) to a value
DIGITS = 3  # significant digits of a value drawn: enough for any axis, and a name can hold them
TRIALS = ("seeds", "first_seed")  # settings of every arm, which no name repeats


class Arms(dict[str, dict[str, Any]]):
    """A dict of arms whose unions lose nothing.

    Raises:
      ValueError: `|` of one name with two settings, or of one setting with two names.
    """

    def __or__(self, other):
        return _union(self, other)

    def __ror__(self, other):
        return _union(other, self)

    def __ior__(self, other):
        return _union(self, other)


def _union(first: Mapping[str, Settings], second: Mapping[str, Settings]) -> Arms:
    names = {_key(settings): name for name, settings in first.items()}
    for name, settings in second.items():
        if name in first and first[name] != settings:
            raise ValueError(f"{name!r}: one name for {_text(first[name])} and for {_text(settings)}")
        if names.get(_key(settings), name) != name:
            raise ValueError(f"{_text(settings)}: one setting under two names, {names[_key(settings)]!r} and {name!r}")
    return Arms({**first, **second})


def product(*axes: Mapping[str, Settings]) -> Arms:
    """Every combination of named settings, one from each axis, named `A/B`; a later axis wins where two set a path."""
    found = Arms()
    for combination in itertools.product(*(axis.items() for axis in axes)):
        settings: dict[str, Any] = {}
        for _, values in combination:
            settings |= values
        found["/".join(name for name, _ in combination)] = settings
    return found


def zipped(axes: Mapping[str, Iterable[Any]]) -> Arms:
    """The first value of every path together, then the second, ...

    Raises:
      ValueError: a path without values, paths with different numbers of them, the same arm twice, or `seed`.
    """
    columns = {path: list(values) for path, values in axes.items()}
    _check_paths(columns)
    counts = {path: len(values) for path, values in columns.items()}
    if len(set(counts.values())) > 1:
        lengths = ", ".join(f"{path} has {n}" for path, n in counts.items())
        raise ValueError(f"zipped: as many values for every path, but {lengths}")
    return _named(dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))


def grid(axes: Mapping[str, Iterable[Any]]) -> Arms:
    """Every combination of one value a path. `seed`, a range, is no axis: it sets which trials every arm has.

    Raises:
      ValueError: a path without values, or with one twice; seeds that are not consecutive.
    """
    seeds = {path: values for path, values in axes.items() if path == "seed"}
    found = cross(*(zipped({path: values}) for path, values in axes.items() if path != "seed"))
    return with_seeds(found, seeds["seed"]) if seeds else found


def random(n: int, axes: Mapping[str, Distribution], seed: int = 0) -> Arms:
    """`n` points that fill the space evenly: a scrambled Halton sequence (Halton 1960; Owen 2017).

    The first n of a longer design with the same seed are this one. Numbers have three significant digits.

    Raises:
      ValueError: n below 1, no path, or a point drawn twice, as happens where a grid would do.
    """
    _check_paths(axes)
    if n < 1:
        raise ValueError(f"random: {n} points; at least 1")
    points = scipy.stats.qmc.Halton(len(axes), scramble=True, seed=np.random.default_rng(seed)).random(n)
    return _named(
        {path: draw(float(u)) for (path, draw), u in zip(axes.items(), point, strict=True)} for point in points
    )


def some(n: int, arms: Mapping[str, Settings], seed: int = 0) -> Arms:
    """`n` of a design's arms, none twice. The first n of a larger choice with the same seed are this one."""
    names = list(arms)
    return Arms({names[i]: dict(arms[names[i]]) for i in np.random.default_rng(seed).permutation(len(names))[:n]})


def cross(*designs: Mapping[str, Settings]) -> Arms:
    """Every combination of one arm from each design, named anew by its settings.

    Raises:
      ValueError: no design, or a path that two designs set.
    """
    if not designs:
        raise ValueError("a sweep needs a path and its values, as in task.length=100,500")
    rows = []
    for combination in itertools.product(*(design.values() for design in designs)):
        paths = [path for settings in combination for path in settings]
        if twice := [path for path in paths if paths.count(path) > 1]:
            raise ValueError(f"{twice[0]}: a path is swept once, and here it is twice")
        rows.append({path: value for settings in combination for path, value in settings.items()})
    return _named(rows)


def with_seeds(arms: Mapping[str, Settings], seeds: Iterable[int]) -> Arms:
    """The arms, each with one trial a seed.

    Raises:
      ValueError: seeds that do not follow each other: an arm's trials are first_seed, first_seed + 1, ...
    """
    wanted = list(seeds)
    if not wanted or wanted[0] < 0 or wanted != list(range(wanted[0], wanted[0] + len(wanted))):
        raise ValueError(f"seed={','.join(map(str, wanted))}: must be whole numbers in a row from 0 or above, as 0:10")
    trials = dict(zip(TRIALS, (len(wanted), wanted[0]), strict=True))
    return Arms({name: {**settings, **trials} for name, settings in arms.items()})


def uniform(low: Number, high: Number) -> Distribution:
    """Uniform in [low, high]."""
    _check_ends("uniform", low, high)
    return lambda u: _rounded(low + u * (high - low), low, high)


def log_uniform(low: Number, high: Number) -> Distribution:
    """Uniform in the logarithm, in [low, high]; for scales such as a learning rate (Bergstra & Bengio 2012)."""
    _check_ends("log_uniform", low, high, above=0)
    return lambda u: _rounded(low * (high / low) ** u, low, high)


def integers(low: int, high: int) -> Distribution:
    """Whole numbers, low and high included."""
    _check_ends("integers", low, high)
    return lambda u: min(low + int(u * (high - low + 1)), high)


def log_integers(low: int, high: int) -> Distribution:
    """Whole numbers uniform in the logarithm, low and high included; for sizes such as a width."""
    _check_ends("log_integers", low, high, above=0)
    return lambda u: min(max(round((low - 0.5) * ((high + 0.5) / (low - 0.5)) ** u), low), high)


def choice(values: Sequence[Any]) -> Distribution:
    """One of these, each as often."""
    if not values:
        raise ValueError("choice: no values")
    return lambda u: values[int(u * len(values))]


def name(settings: Settings) -> str:
    """What an arm with these settings is called: `Adding 100/LSTM learning_rate=0.01`, the task before the "/"."""
    paths = [path for path in settings if path not in TRIALS]
    last = [path.rpartition(".")[2] for path in paths]
    words: dict[bool, list[str]] = {True: [], False: []}
    for path, word in sorted(zip(paths, last, strict=True), key=lambda both: "." in both[0]):  # the class leads
        value = shown(settings[path])
        plain = path in ("cell", "task") or (path == "task.length" and "task" in settings)
        setting = value if plain else f"{word if last.count(word) == 1 else path}={value}"
        words[path.split(".")[0] == "task"].append(setting)
    return "/".join(" ".join(part) for part in words.values() if part)


def shown(value: Any) -> str:
    """A value as one types it."""
    if isinstance(value, float):
        short = f"{value:g}".replace("e+", "e")  # a file's name would make a minus of a plus
        return short if float(short) == value else repr(value)
    if isinstance(value, tuple | list):
        return ",".join(map(shown, value))
    return value.__name__ if isinstance(value, type) else str(value)


def _named(rows: Iterable[Settings]) -> Arms:
    found = Arms()
    for settings in rows:
        if (named := name(settings)) in found:
            raise ValueError(f"{_text(settings)}: twice in one design")
        found[named] = dict(settings)
    return found


def _check_paths(axes: Mapping[str, Any]) -> None:
    if not axes:
        raise ValueError("a sweep needs a path and its values, as in task.length=100,500")
    if "seed" in axes:
        raise ValueError("seed: it sets which trials every arm has; give it to grid")
    empty = [path for path, values in axes.items() if isinstance(values, list) and not values]
    if empty:
        raise ValueError(f"{empty[0]}: no values")


def _check_ends(kind: str, low: Number, high: Number, above: Number = -math.inf) -> None:
    if not above < low < high < math.inf:
        least = "" if above == -math.inf else f", above {above:g}"
        raise ValueError(f"{kind}({low:g}, {high:g}): must rise from low to high{least}")


def _rounded(value: float, low: Number, high: Number) -> float:
    return min(max(float(f"{value:.{DIGITS}g}"), float(low)), float(high))


def _key(settings: Settings) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((path, shown(value)) for path, value in settings.items()))


def _text(settings: Settings) -> str:
    return " ".join(f"{path}={shown(value)}" for path, value in settings.items())
