"""The trial of a run whose network one would use: that of the lowest held-out loss."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rnnlab.runs.folder import RunFolder
from rnnlab.runs.ledger import Ledger, Trial, all_trials
from rnnlab.runs.load_network import read_arms
from rnnlab.runs.other_code import warn_of_other_code
from rnnlab.settings.errors import SettingError, nearest
from rnnlab.tasks import Task


def best_trial(
    folder: str | Path,
    kind: type[Task],
    made_by: str,
    arm: str | None = None,
    seed: int | None = None,
    preferred: Callable[[Any], bool] = lambda task: True,
) -> Trial:
    """Of the trials on one task that have ended, that of the lowest held-out loss at any evaluation.

    Args:
      folder: of a run, finished or not.
      kind: the class of its task.
      made_by: what makes such a run, as in `--exp=text`.
      arm: its name, or a shell pattern; left out, any arm.
      seed: the trial's; left out, any.
      preferred: of a task, whether its arms are meant where none is named.

    Raises:
      SettingError: there is no such run, arm or seed, none of its trials has ended with a finite loss, or they are of
        several tasks, whose losses do not compare.
    """
    folder = Path(folder)
    arms = {name: spec for name, spec in read_arms(folder).items() if isinstance(spec.task, kind)}
    if not arms:
        raise SettingError(f"{folder}: no arm has the task {kind.__name__}; rnnlab run {made_by} makes such a run")
    if arm is None:
        arms = {name: spec for name, spec in arms.items() if preferred(spec.task)} or arms
    else:
        found = [arm] if arm in arms else [name for name in arms if fnmatch.fnmatchcase(name, arm)]
        if not found:
            raise SettingError(f"{folder}: arm={arm}: no such arm of {kind.__name__}{nearest(arm, arms)}")
        arms = {name: arms[name] for name in found}
    first = {spec.task: name for name, spec in reversed(arms.items())}
    if len(first) > 1:
        names = [first[task] for task in reversed(first)]
        shown = ", ".join(names[:3]) + f" and {len(names) - 3} more" * (len(names) > 3)
        raise SettingError(f"{folder}: holds networks of {len(first)} tasks ({shown}): choose one, --arm='{names[0]}'")
    trials = [trial for trial in all_trials(arms) if seed in (None, trial.seed)]
    if not trials:
        seeds = next(iter(arms.values())).trial_seeds()
        raise SettingError(f"{folder}: seed={seed}: no such trial; there are {seeds[0]} to {seeds[-1]}")
    ledger = Ledger(RunFolder.to_read(folder))
    losses = {trial: loss for trial in trials if (loss := _lowest_loss(ledger, trial)) < math.inf}
    if not losses:
        raise SettingError(f"{folder}: no such trial has ended with a finite loss; the run's own command resumes it")
    best = min(losses, key=losses.__getitem__)
    warn_of_other_code(folder, best)
    return best


def _lowest_loss(ledger: Ledger, trial: Trial) -> float:
    """Over its evaluations; inf where it has not ended, or where none is finite."""
    curve = (ledger.ended(trial) or {}).get("curve", {}).get("eval/loss", [])
    return min((loss for loss in curve if loss is not None and math.isfinite(loss)), default=math.inf)
