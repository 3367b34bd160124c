"""Replay the update at which a trial diverged: `python -m rnnlab.postmortem runs/FOLDER`."""

from __future__ import annotations

import functools
import math
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rnnlab.probes.training.divergence import Divergence, first_divergence
from rnnlab.runs.console import Screen, one_line
from rnnlab.runs.files import Damaged
from rnnlab.runs.folder import RunFolder
from rnnlab.runs.ledger import Ledger, all_trials
from rnnlab.runs.load_network import last_state, read_arms
from rnnlab.settings.errors import SettingError
from rnnlab.settings.resolve import ArmSpec
from rnnlab.tasks.base import steps_of
from rnnlab.training.spec import precision_of
from rnnlab.training.updates import next_update, training_loss


def examine(spec: ArmSpec, state: Any) -> tuple[Divergence | None, dict[str, float]]:
    """(first divergence, loss and gradient norm) of the update that one trial's state stands before."""
    batch, more = next_update(spec, state)
    losses = functools.partial(spec.task.losses, batch=batch)
    divergence = first_divergence(
        state.model, batch.inputs, losses, min(spec.task.answers, len(batch.inputs)), **steps_of(batch)
    )
    objective = functools.partial(training_loss, spec, batch, **more)
    loss, gradient = jax.jit(jax.value_and_grad(lambda model: objective(model, None)[0]))(state.model)
    square = sum(float(np.sum(np.square(np.asarray(leaf, np.float64)))) for leaf in jax.tree.leaves(gradient))
    return divergence, {"loss": float(loss), "gradient norm": math.sqrt(square)}


def postmortem(folder: Path) -> list[str]:
    """A line for each diverged trial of a run: the update, what its loss and gradient were, what went wrong first.

    Raises:
      SettingError: the folder holds no run, or one with settings that are none here.
      Damaged: a file of it is not what was written.
    """
    specs, lines = read_arms(folder), []
    ledger = Ledger(RunFolder.to_read(folder))
    for trial in all_trials(specs):
        if not (ledger.place(trial) / "result.json").exists() or ledger.result(trial)["status"] != "diverged":
            continue
        try:
            with precision_of(trial.spec):
                state = last_state(ledger, trial)
                divergence, found = examine(trial.spec, state)
        except Damaged as error:
            lines.append(str(error))
            continue
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
        bound = trial.spec.train.bound
        beyond = [name for name, value in found.items() if bound is not None and not value <= bound]
        above = (
            f"{' and '.join(beyond)} above train.bound={bound:g}" if beyond else "nothing is beyond float32 by itself"
        )
        first = f"first: {divergence}" if divergence else above
        lines.append(f"{trial}, update {int(state.step) + 1}: {numbers}; {first}")
    return lines or [f"{folder}: no trial has diverged"]


USAGE = "python -m rnnlab.postmortem FOLDER, a run's folder: replays the update at which a trial diverged"


@functools.partial(one_line, usage=USAGE)
def main(argv: list[str]) -> None:
    if len(argv) != 2:
        raise SettingError(USAGE)
    Screen().say("\n".join(postmortem(Path(argv[1]))))


def program() -> None:
    """The command line, with its exit status."""
    sys.exit(main(sys.argv))


if __name__ == "__main__":
    program()
