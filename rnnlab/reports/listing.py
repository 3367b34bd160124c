"""Every cell and every task, described by its own code: what `--cells` and `--tasks` print, and README shows."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from rnnlab.cells import CellSpec
from rnnlab.cells.flax_cell import FlaxCell, foreign_cells
from rnnlab.model.layer import internals
from rnnlab.reports.tables import Table, format_number
from rnnlab.runs.gather_results import stop_rule
from rnnlab.scan.projected import hidden
from rnnlab.settings.errors import SettingError
from rnnlab.settings.experiments import experiment_files, experiment_folders, load_experiment
from rnnlab.specs.discover import subclasses
from rnnlab.specs.errors import UserError
from rnnlab.tasks import Task
from rnnlab.training.arrays import Arrays

WIDTH = 64  # H
INPUTS = 1  # D


def load_own(exp: str | None, warn: Callable[[str], None]) -> None:
    """Imports a user's own cells and tasks: the experiment's of this name, else those of all in ./experiments.

    Raises SettingError where the named one cannot be imported; of any other `warn` is told.
    """
    here = experiment_folders()[0]
    for name in [exp] if exp else [name for name, path in experiment_files().items() if path.parent == here]:
        try:
            load_experiment(name)
        except SettingError as error:
            if exp:
                raise
            warn(str(error))


def cells() -> dict[str, type]:
    """Every cell that has been imported, by what one writes for it: rnnlab's, then Flax's, then a user's own."""
    found = {name: kind for name, kind in subclasses(CellSpec).items() if kind not in (FlaxCell, CellSpec)}
    found |= {f"FlaxCell module={kind.__name__}": kind for kind in foreign_cells()}
    return _ordered({name: kind for name, kind in found.items() if getattr(kind, "build", None) is not CellSpec.build})


def tasks() -> dict[str, type]:
    """Every task that has been imported and can be written in a command: rnnlab's, then a user's own."""
    return _ordered({name: kind for name, kind in subclasses(Task).items() if kind is not Arrays})


def is_shipped(kind: type) -> bool:
    """Whether a cell, or a task, comes with rnnlab or Flax."""
    return kind.__module__.startswith(("rnnlab.", "flax."))


def cells_table(kinds: Mapping[str, type]) -> Table:
    """A row a cell: its equation's source, parameters, whether its steps can run in parallel, and its gates."""
    heads = ["cell", "equation", f"parameters (H = {WIDTH}, D = {INPUTS})", "parallel in time", "gates and candidates"]
    caption = (
        "Cells, by what one writes for them. Parallel in time: a recurrence that is linear in its state. Gates and "
        "candidates: named internals that can be read."
    )
    return Table(caption, heads, [[name, *_told(_cell, kind, len(heads) - 1)] for name, kind in kinds.items()])


def tasks_table(kinds: Mapping[str, type]) -> Table:
    """A row a task, at its default settings: its sizes, the lag it needs, the loss at chance, and when it is solved."""
    heads = ["task", "T", "D", "K", "needed lag", "chance loss", "stop rule"]
    caption = (
        "Tasks, at the settings that they have by default: T steps, D inputs, K outputs. Needed lag: steps that every "
        "answer asks to be bridged. Chance: the loss without memory. Each task's source stands in its docstring."
    )
    return Table(caption, heads, [[name, *_told(_task, kind, len(heads) - 1)] for name, kind in kinds.items()])


def _cell(kind: type) -> list[str]:
    if not issubclass(kind, CellSpec):
        size = _size(jax.eval_shape(lambda: kind(INPUTS, WIDTH, rngs=nnx.Rngs(0))))
        return [FlaxCell.source if is_shipped(kind) else _file(kind), size, "no", "not named"]
    cell = jax.eval_shape(lambda: kind(features=WIDTH).build(INPUTS, rngs=nnx.Rngs(0)))
    parallel = "yes" if hasattr(cell, "coefficients") else "no"
    return [vars(kind).get("source") or _file(kind), _size(cell), parallel, _gates(cell)]


def _size(cell: Any) -> str:
    return f"{sum(leaf.size for leaf in jax.tree.leaves(cell)):,}"


def _gates(cell: Any) -> str:
    """Their names in the order in which the cell gives them."""
    found: list[str] = []

    def names(cell):
        x = jnp.zeros((1, INPUTS), cell.dtype)
        carry = cell.initialize_carry(x.shape, nnx.Rngs(0))
        found.extend(internals(cell, carry, cell.project(hidden(carry), x)) if hasattr(cell, "gates") else ())

    jax.eval_shape(names, cell)
    return ", ".join(found) or "none"


def _task(kind: type) -> list[str]:
    task = kind()
    lag = "not stated" if task.needed_lag is None else f"{task.needed_lag:,}"
    sizes = [f"{size:,}" for size in (task.length, task.in_features, task.out_features)]
    return [*sizes, lag, format_number(task.chance), stop_rule(task) or "none"]


def _told(describe: Callable[[type], list[str]], kind: type, columns: int) -> list[str]:
    """What is told of a class; of a user's own that fails, how, as `rnnlab.check` tells in full.

    Likewise of a shipped one whose data is not installed.
    """
    try:
        return describe(kind)
    except Exception as error:
        if is_shipped(kind) and not isinstance(error, UserError):
            raise
        told = f"cannot be made: {type(error).__name__}: {' '.join(str(error).split())[:100]}"
        return [told, *[""] * (columns - 1)]


def _file(kind: type) -> str:
    """Where a user's own class stands."""
    try:
        return os.path.relpath(inspect.getfile(kind))
    except (OSError, TypeError):  # typed into a prompt
        return "yours"


def _ordered(kinds: Mapping[str, type]) -> dict[str, type]:
    """rnnlab's first, then Flax's, then others, each by name; without those whose file has changed since."""
    rooms = ("rnnlab.", "flax.")
    keys = {name: next((n for n, room in enumerate(rooms) if kind.__module__.startswith(room)), len(rooms))
            for name, kind in kinds.items() if kind.__name__.isidentifier()}  # fmt: skip
    return {name: kinds[name] for name in sorted(keys, key=lambda name: (keys[name], name.lower()))}
