"""A trained network out of a run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnlab.model import SequenceModel
from rnnlab.runs.files import Damaged, read_json
from rnnlab.runs.folder import RunFolder, check_run
from rnnlab.runs.ledger import Ledger, Trial
from rnnlab.settings.errors import SettingError, nearest
from rnnlab.settings.experiments import load_experiment
from rnnlab.settings.resolve import ArmSpec, from_flat
from rnnlab.training.spec import needs_float64, precision_of
from rnnlab.training.state import TrainState, blank_state


class Loaded(NamedTuple):
    """A trained network and what it was trained as."""

    model: SequenceModel
    spec: ArmSpec  # spec.task.sample(key, batch_size) draws what it was trained on
    seed: int
    steps: int  # updates made


def load(folder: str | Path, arm: str, seed: int | None = None) -> Loaded:
    """The trained network of a trial that has ended: `load("runs/long_memory-quick", "Adding 200/LSTM", seed=0)`.

    Args:
      folder: of a run, finished or not.
      arm: the arm's name.
      seed: the trial's; left out, the arm's first.

    Returns:
      The model in the state in which its training ended; `model(inputs)` takes [T, B, D].

    Raises:
      SettingError: there is no such run, arm or seed, or the trial has not ended.
      Damaged: its file is not what was written.
    """
    path = Path(folder)
    specs = read_arms(path)
    if arm not in specs:
        raise SettingError(f"{path}: no arm {arm}{nearest(arm, specs)}")
    spec = specs[arm]
    chosen = spec.first_seed if seed is None else seed
    if chosen not in spec.trial_seeds():
        seeds = spec.trial_seeds()
        raise SettingError(f"{path}: {arm} has no seed {chosen}; it has {seeds[0]} to {seeds[-1]}")
    if needs_float64(spec):  # for good: whoever loads the network uses it
        jax.config.update("jax_enable_x64", True)
    ledger = Ledger(RunFolder.to_read(path))
    trial = Trial(arm, chosen, spec)
    if not ledger.ended(trial):
        raise SettingError(f"{path}: {trial} has not ended; the run's own command resumes it")
    with precision_of(spec):
        state = last_state(ledger, trial)
    model = jax.tree.map(jnp.asarray, state.model)
    return Loaded(model, spec, chosen, int(state.step))


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
    """The state in which a trial ended. Raises Damaged where it is missing, or is not what was written."""
    warnings: list[str] = []
    like = jax.device_get(blank_state(trial.spec))
    found = ledger.last_state(trial).restore(lambda host: like, warnings.append, put_aside=False)
    if found is None:
        raise Damaged("; ".join([*warnings, f"{trial}: its last state is missing"]))
    return found[0]
