"""Whether a cell, a task or an experiment keeps its contract, told before anything is trained."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from rnnlab.cells import CellSpec
from rnnlab.cells.contract import check_cell
from rnnlab.cells.flax_cell import cell_class
from rnnlab.reports.rehearsal import made_up, rehearse
from rnnlab.runs.job import Job, make_job
from rnnlab.settings.errors import SettingError
from rnnlab.settings.experiments import own_error
from rnnlab.settings.resolve import as_text
from rnnlab.specs.contract import where
from rnnlab.specs.errors import UserError
from rnnlab.tasks import Task
from rnnlab.tasks.contract import check_task
from rnnlab.training.spec import TrialSpec, precision_of

NUMBERS = (ArithmeticError, IndexError, StopIteration, ValueError)  # errors that other numbers may not bring
VARIANTS = 3  # settings of one cell, or task, that are tried: a sweep may have thousands


def check(what: Any, *, tier: str = "quick", settings: Mapping[str, Any] | None = None) -> None:
    """Checks a cell, a task, or an experiment with its cells, tasks, probes and report; nothing is trained.

    Args:
      what: a spec of a cell, a task, or the name of an experiment.
      tier: of the experiment.
      settings: of the experiment, by dotted path, as in {"task.length": 100}.

    Raises:
      SettingError: the first breach found, in one line: file, line, what was found and what is expected.
    """
    if isinstance(what, str):
        overrides = {path: as_text(value) for path, value in (settings or {}).items()}
        check_job(_tried(make_job, what, tier, overrides), warnings.warn)
    elif isinstance(what, CellSpec):
        with precision_of(TrialSpec(cell=what)):
            _tried(check_cell, what)
    elif isinstance(what, Task):
        _tried(check_task, what)
    else:
        kind = getattr(what, "__name__", type(what).__name__)
        raise SettingError(
            f"check({kind}): needs a cell's spec or a task, as in check({kind}()), or an experiment's name"
        )


def check_job(job: Job, warn: Callable[[str], None] = lambda text: None) -> None:
    """The cells and tasks of a job that do not come with rnnlab, then, but for a typed sweep, its probes and report.

    Raises SettingError. `warn` is told where a report fails for the made-up numbers that it is tried on, which others
    may not.
    """
    check_own(job, warn)
    if job.swept:  # its report is rnnlab's
        return
    results = _tried(made_up, job)
    try:
        _tried(rehearse, job, results)
    except SettingError as error:
        if not isinstance(error.__cause__, NUMBERS) or isinstance(error.__cause__, UserError):
            raise
        warn(f"{error}; tried on made-up results, so it may be that only these numbers do not fit")


def check_own(job: Job, warn: Callable[[str], None] = lambda text: None) -> None:
    """The cells and tasks of a job that do not come with rnnlab: at once where there are none. Raises SettingError."""
    cells = _own({spec.cell: spec for spec in job.arms.values()})
    tasks = _own({spec.task: spec for spec in job.arms.values()})
    for task in tasks:
        _tried(check_task, task, warn)
    for cell, spec in cells.items():
        with precision_of(spec):
            _tried(check_cell, cell, spec.task.in_features, warn)


def _own(specs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Those that are not rnnlab's or Flax's, a few of each class."""
    found: dict[type, dict[Any, Any]] = {}
    for spec, of in specs.items():
        if not (kind := _class(spec)).__module__.startswith(("rnnlab.", "flax.")):
            found.setdefault(kind, {})[spec] = of
    return {spec: of for kind in found.values() for spec, of in list(kind.items())[:VARIANTS]}


def _class(spec: CellSpec | Task) -> type:
    """What it is written in."""
    return cell_class(spec) if isinstance(spec, CellSpec) else type(spec)


def _tried(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except Exception as error:
        said = own_error(error, checked=True)
        if said is None and isinstance(args[0], CellSpec | Task):  # its signature, say
            said = f"{where(_class(args[0]), '')}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        if said:
            raise SettingError(said) from error
        raise
