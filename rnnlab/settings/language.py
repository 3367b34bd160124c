"""A sweep as a user types it: `--sweep='cell=VanillaRNN,LSTM task.length=100,500 seed=0:10'`.

path=a,b,c                      values, one arm each; (a,b) in parentheses is one value
path=0:10  path=0:10:2          whole numbers from 0 to below 10, every second one
zip(path=a,b path=c,d)          a with c, then b with d
path=log(1e-4,1e-1) random=50   50 points; log, uniform, integers, log_integers (ends included), choice(a,b,c)
path=a,b path=c,d random=3      3 of a grid's points: where no distribution is written, every path is drawn
seed=0:10                       the trials of every arm
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from rnnlab.settings.errors import SettingError, nearest
from rnnlab.specs import grid

DISTRIBUTIONS: Mapping[str, Callable[..., grid.Distribution]] = {
    "log": grid.log_uniform,
    "uniform": grid.uniform,
    "integers": grid.integers,
    "log_integers": grid.log_integers,
}
LAST_SEED = 2**31
RANGE = re.compile(r"(-?\d+):(-?\d+)(?::(-?\d+))?")
CALL = re.compile(r"(\w+)\((.*)\)", re.DOTALL)


def parse_sweep(text: str) -> grid.Arms:
    """The arms {name: {dotted path: text}} that a sweep's text means; `seeds` and `first_seed` are numbers.

    Every combination of axes, zips and random points is an arm. Raises SettingError.
    """
    try:
        return _parse(text)[0]
    except ValueError as error:
        raise SettingError(f"--sweep: {error}") from error


def how_many(text: str) -> str:
    """How the axes of a sweep multiply, as in `2 values of cell.features x 30 draws of train.learning_rate`."""
    return _parse(text)[1]


def _parse(text: str) -> tuple[grid.Arms, str]:
    designs: list[grid.Arms] = []
    drawn: dict[str, grid.Distribution] = {}
    special: dict[str, str] = {}
    told: list[str] = []
    taken: set[str] = set()
    for word in _words(text):
        if word.startswith("zip("):
            together = _axes(_words(_inside(word)))
            designs.append(grid.zipped(together))
            told.append(f"{len(designs[-1])} of {' with '.join(together)}")
            continue
        path, value = _pair(word)
        if path in taken:
            raise ValueError(f"{path}: a path is swept once, and here it is twice")
        taken.add(path)
        if path in ("seed", "random"):
            special[path] = value
        elif (draw := _distribution(value)) is not None:
            drawn[path] = draw
        else:
            designs.append(grid.zipped({path: _values(path, value)}))
            told.append(f"{len(designs[-1])} of {path}")
    if drawn:
        count = _count(special, drawn)
        designs.append(grid.random(count, drawn))
        told.append(f"{count} draws of {', '.join(drawn)}")
    elif "random" in special:
        every = grid.cross(*designs) if designs else grid.Arms()
        count = _count(special, special)
        if count > len(every):
            only = f"there are only {len(every)} points; leave random out for all of them"
            raise ValueError(f"random={count}: {only if every else 'no path is drawn; write one, as log(1e-4,1e-1)'}")
        designs = [grid.some(count, every)]
        told = [f"{count} of the {len(every)} points of {' x '.join(told)}"]
    return _seeded(designs, special), " x ".join(told)


def _seeded(designs: list[grid.Arms], special: Mapping[str, str]) -> grid.Arms:
    if "seed" not in special:
        return grid.cross(*designs)
    if not designs:
        raise ValueError(f"seed={special['seed']}: no axis but seed; without a sweep, write seeds=N")
    return grid.with_seeds(grid.cross(*designs), _seeds(special["seed"]))


def _axes(words: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in words:
        path, value = _pair(word)
        if path in found:
            raise ValueError(f"{path}: a path is swept once, and here it is twice")
        found[path] = _values(path, value)
    return found


def _words(text: str) -> list[str]:
    """`path=values` and `zip(...)`; a word without "=" belongs to the value before it."""
    found: list[str] = []
    for word in filter(None, _split(text, " \t\n")):
        if "=" in word or not found:
            found.append(word)
        else:
            found[-1] += f" {word}"
    return found


def _pair(word: str) -> tuple[str, str]:
    path, equals, value = word.partition("=")
    if not equals or not re.fullmatch(r"\w+(\.\w+)*", path):
        raise ValueError(f"{word}: axes are written path=values, as in task.length=100,500")
    return path, value


def _values(path: str, text: str) -> list[str]:
    found: list[str] = []
    for item in (item.strip() for item in _split(text, ",")):
        if match := RANGE.fullmatch(item):
            start, stop, step = (int(part) if part else 1 for part in match.groups())
            if not step or not range(start, stop, step):
                raise ValueError(f"{path}={item}: no number lies in this range")
            found += map(str, range(start, stop, step))
        elif item:
            found.append(_inside(item) if item.startswith("(") else item)
        else:
            raise ValueError(f"{path}={text}: no value before or after a comma" if text else f"{path}: no values")
    return found


def _distribution(text: str) -> grid.Distribution | None:
    match = CALL.fullmatch(text)
    if match is None:
        return None
    kind, inside = match.groups()
    words = [item.strip() for item in _split(inside, ",")]
    if kind == "choice":
        return grid.choice(words)
    if kind not in DISTRIBUTIONS:
        raise ValueError(f"{text}: no such distribution{nearest(kind, [*DISTRIBUTIONS, 'choice'])}")
    number = int if "integers" in kind else float
    try:
        low, high = map(number, words)
    except ValueError as error:
        wanted = "two whole numbers" if number is int else "two numbers"
        raise ValueError(f"{text}: needs {wanted}, low and high") from error
    draw = DISTRIBUTIONS[kind](low, high)
    return lambda u: grid.shown(draw(u))


def _count(special: Mapping[str, str], drawn: Mapping[str, Any]) -> int:
    if "random" not in special:
        raise ValueError(f"{next(iter(drawn))}: how many points are to be drawn? write random=50")
    if not special["random"].isdecimal():
        raise ValueError(f"random={special['random']}: not a whole number")
    return int(special["random"])


def _seeds(text: str) -> list[int]:
    try:
        found = [int(value) for value in _values("seed", text)]
    except ValueError as error:
        raise ValueError(f"seed={text}: must be whole numbers in a row, as 0:10") from error
    if max(found) > LAST_SEED:
        raise ValueError(f"seed={text}: must be at most {LAST_SEED}")
    return found


def _inside(text: str) -> str:
    """What stands between the first parenthesis and the last character, which must close it."""
    if not text.endswith(")"):
        raise ValueError(f"{text}: something follows the parenthesis")
    return text[text.index("(") + 1 : -1]


def _split(text: str, marks: str) -> list[str]:
    """`text` cut at any of `marks` that stand in no parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            break
        if letter in marks and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    if depth:
        raise ValueError(f"{text}: parentheses do not match")
    return parts
