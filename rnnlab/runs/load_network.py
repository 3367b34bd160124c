"""A trained network out of a run's folder."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import jax
import numpy as np

from rnnlab.runs.files import Damaged, read_json
from rnnlab.runs.folder import RunFolder, check_run
from rnnlab.runs.ledger import Ledger, Trial
from rnnlab.runs.trained import At, Trained, snapshots
from rnnlab.settings.errors import SettingError, nearest
from rnnlab.settings.experiments import load_experiment
from rnnlab.settings.resolve import ArmSpec, from_flat
from rnnlab.training.spec import needs_float64, precision_of
from rnnlab.training.state import TrainState
from rnnlab.training.updates import blank_state, program_key


def load(folder: str | Path, arm: str | None = None, seed: int | None = None, at: str = "end") -> Trained:
    """The trained network of a trial that has ended: `load("runs/long_memory-quick", "Adding 200/LSTM", seed=0)`.

    Args:
      folder: of a run, finished or not.
      arm: the arm's name, or a shell pattern that matches one; left out, the run's only arm.
      seed: the trial's; left out, the arm's first.
      at: the trial's end, of which its results are, or its best held-out evaluation (the lowest loss).

    Returns:
      The network, with its spec, task, held-out metrics and curves; `model(inputs)` takes [T, B, D].

    Raises:
      SettingError: there is no such run, arm or seed, the trial has not ended, or its best network was not kept.
      Damaged: its file is not what was written.
    """
    path = Path(folder)
    if at not in get_args(At):
        raise SettingError(f"at={at}: no such choice{nearest(str(at), get_args(At))}")
    specs = read_arms(path)
    arm = _chosen(path, specs, arm)
    spec = specs[arm]
    chosen = spec.first_seed if seed is None else seed
    if chosen not in spec.trial_seeds():
        seeds = spec.trial_seeds()
        raise SettingError(f"{path}: {arm} has no seed {chosen}; it has {seeds[0]} to {seeds[-1]}")
    if needs_float64(spec):  # for good: whoever loads the network uses it
        jax.config.update("jax_enable_x64", True)
    ledger = Ledger(RunFolder.to_read(path))
    trial = Trial(arm, chosen, spec)
    result = ledger.ended(trial)
    if not result:
        raise SettingError(f"{path}: {trial} has not ended; the run's own command resumes it")
    history = {name: np.asarray(values) for name, values in result["curve"].items()}
    with precision_of(spec):
        state = last_state(ledger, trial)
        end, best = snapshots(state, history)
    if at == "best" and best is None:
        why = "no evaluation of it was finite" if state.best is not None else "rnnlab did not keep it then"
        raise SettingError(
            f"{path}: {trial} has no network at its best evaluation ({why}); at='end' loads the last one"
        )
    return Trained(spec.task, spec.train, spec, chosen, result["status"], end, best, at, history)


def _chosen(path: Path, arms: Mapping[str, ArmSpec], name: str | None) -> str:
    """The one arm that is meant."""
    found = [name] if name in arms else [arm for arm in arms if name is None or fnmatch.fnmatchcase(arm, name)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise SettingError(f"{path}: no arm {name}{nearest(str(name), arms)}")
    several = f"{len(found)} arms" + (f" match {name}" if name else "")
    shown = ", ".join(found[:3]) + f" and {len(found) - 3} more" * (len(found) > 3)
    raise SettingError(f"{path}: {several}; name one of {shown}")


def read_arms(folder: Path) -> Mapping[str, ArmSpec]:
    """The arms of a run's folder, by name.

    Raises:
      SettingError: the folder holds no run, or one with settings that are none here.
      Damaged: its configuration is none.
    """
    check_run(folder)
    file = folder / "config.json"
    config = read_json(file)
    try:
        name, arms = str(config["experiment"]), {arm: dict(values) for arm, values in config["arms"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{file}: damaged (no configuration)") from error
    load_experiment(name)  # it may define cells and tasks of its own
    try:
        return {arm: from_flat(values) for arm, values in arms.items()}
    except SettingError as error:
        raise SettingError(f"{file}: {error}") from error


def last_state(ledger: Ledger, trial: Trial) -> TrainState:
    """The state in which a trial ended.

    Raises:
      Damaged: it is missing, or is not what was written.
      SettingError: its weights are of other shapes than the task's data asks for by now.
    """
    warnings: list[str] = []
    blank = blank_state(program_key(trial.spec))

    def like(host):
        return blank if host.get("best") else blank._replace(best=None)

    found = ledger.last_state(trial).restore(like, warnings.append, put_aside=False)
    if found is None:
        raise Damaged("; ".join([*warnings, f"{trial}: its last state is missing"]))
    then, now = ([np.shape(leaf) for leaf in jax.tree.leaves(state.model)] for state in (found[0], blank))
    if then != now:
        raise SettingError(f"{trial}: its weights are of other shapes than its task's data asks for: it has changed")
    return found[0]
