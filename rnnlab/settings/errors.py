"""What is wrong with a setting, in one line: its path, its value and the nearest right answer."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import chz
from chz.blueprint import (
    Castable,
    ConstructionException,
    ExtraneousBlueprintArg,
    InvalidBlueprintArg,
    MissingBlueprintArg,
)

from rnnlab.cells import CellSpec
from rnnlab.cells.flax_cell import foreign_cells
from rnnlab.specs.discover import subclasses
from rnnlab.specs.errors import UserError, nearest
from rnnlab.tasks import Task


class SettingError(UserError):
    """What a user wrote cannot be run. One line: what, where, and the nearest right answer."""


WRONG = (TypeError, ValueError, ConstructionException, ExtraneousBlueprintArg, InvalidBlueprintArg, MissingBlueprintArg)
SHORT = {  # what other programs and papers call a setting
    "lr": "train.learning_rate", "batch": "train.batch_size", "bs": "train.batch_size", "epochs": "train.steps",
    "iterations": "train.steps", "updates": "train.steps", "num_steps": "train.steps", "max_steps": "train.steps",
    "clip": "train.clip_norm", "grad_clip": "train.clip_norm", "hidden": "cell.features",
    "hidden_size": "cell.features", "hidden_dim": "cell.features", "units": "cell.features",
    "num_units": "cell.features", "width": "cell.features",
    "H": "cell.features", "num_layers": "layers", "depth": "layers", "T": "task.length", "seq_len": "task.length",
    "sequence_length": "task.length", "timesteps": "task.length", "num_seeds": "seeds", "seed": "first_seed",
}  # fmt: skip
GROUPS = ("dropout", "train", "flow")
KINDS = {"int": "a whole number", "float": "a number", "float | None": "a number or None", "bool": "True or False"}


def nearest_path(path: str, known: Iterable[str]) -> str:
    """The same for a dotted path: by its short name, its last part, or the whole."""
    known = [one for one in known if one not in GROUPS]
    last = path.rpartition(".")[2]
    if SHORT.get(last) in known:
        return f"; the nearest is {SHORT[last]}"
    ends = {one.rpartition(".")[2]: one for one in known if one.startswith(path.rpartition(".")[0])}
    if found := difflib.get_close_matches(last.lower(), ends, n=1, cutoff=0.6):
        return f"; the nearest is {ends[found[0]]}"
    return nearest(path, known)


def check_class(path: str, name: Any) -> None:
    """Raises SettingError for a cell, or a task, that there is none of."""
    options = {"cell": CellSpec, "task": Task}.get(path)
    typed = shown(name)
    if path == "cell" and typed in {kind.__name__ for kind in foreign_cells()} - set(subclasses(CellSpec)):
        raise SettingError(f"cell={typed}: a cell of Flax's kind; write cell=FlaxCell cell.module={typed}")
    if options is not None and isinstance(name, type) and not issubclass(name, options):
        told = f"is no {options.__name__}{nearest(name.__name__, subclasses(options))}"
        raise SettingError(f"{path}={name.__name__}: {told}")
    if options is not None and isinstance(name, str) and ":" not in name and name not in (known := subclasses(options)):
        raise SettingError(f"{path}={name}: no such {path}{_elsewhere(name) or nearest(name, known)}")


def _elsewhere(name: str) -> str:
    """Which file of ./experiments defines a class of this name, where one does."""
    for file in sorted(Path("experiments").glob("*.py")):
        if re.search(rf"^class {re.escape(name)}\b", file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE):
            return f" in this experiment; {file} has one: write --exp={file.stem}, or import it where it is needed"
    return ""


def explain(error: Exception, values: Mapping[str, Any], spec: type) -> str:
    """chz's several lines, or a validator's one without its path, about {path: value} of a `spec`.

    `error` is one of WRONG: what chz and the specs' own checks raise of a setting.
    """
    text = str(error)
    if match := re.match(r"Extraneous argument '([^']*)'", text):
        path = match[1]
        part = path.split(".")[0]
        owner = f" of {part}={shown(values[part])}" if part in ("cell", "task") and part in values else ""
        given = f"{path}={shown(values.get(path, ''))}"
        return f"{given}: no such setting{owner}{nearest_path(path, _paths(values, spec))}"
    if match := re.match(r"""Could not interpret argument (['"])(.*)\1 provided for param '([^']*)'""", text):
        value, path = match[2], match[3]
        if path in ("cell", "task"):
            options = subclasses(CellSpec if path == "cell" else Task)
            return f"{path}={value}: no such {path}{_elsewhere(value) or nearest(value, options)}"
        if literal := re.search(r"to Literal\[(.*)\]", text):
            choices = re.findall(r"'([^']*)'", literal[1])
            return f"{path}={value}: no such choice{nearest(value, choices)}"
        kind = re.search(r"cast '.*' to (\S.*)", text)
        if path in GROUPS:
            return f"{path}={value}: a group of settings; write {path}.NAME=VALUE (--help lists them)"
        quoted = "; write it without quotes" if value[:1] in "'\"" and value[:1] else ""
        return f"{path}={value}: not {KINDS.get(kind[1], kind[1]) if kind else 'a value'}{quoted}"
    if match := re.match(r"(?:X_)?(\w+)=", text):
        paths = [path for path, value in values.items() if path.split(".")[-1] == match[1]]
        prefix = paths[0].rpartition(".")[0] if paths else ""
        return f"{prefix}.{text}" if prefix else text
    return " ".join(text.split())


def described(blueprint: chz.Blueprint) -> list[list[str]]:
    """[path, type, value and where it comes from, doc] of every setting."""
    text = re.sub(r"rnnlab\.[\w.]+:", "", blueprint.get_help().split("Arguments:\n")[-1])
    return [re.split(r"\s{2,}", line.strip(), maxsplit=3) for line in text.splitlines() if line.strip()]


def _paths(values: Mapping[str, Any], spec: type) -> list[str]:
    """Every path that exists with these cell and task."""
    chosen = {path: values[path] for path in ("cell", "task") if path in values}
    typed = {path: Castable(value) if isinstance(value, str) else value for path, value in chosen.items()}
    known = chz.Blueprint(spec).apply(typed)
    return [path for path, *_ in described(known)]


def shown(value: Any) -> Any:
    """A value without chz's wrapping, a class by its name."""
    if isinstance(value, Castable):
        return value.value
    return value.__name__ if isinstance(value, type) else value
