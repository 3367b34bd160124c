"""A trained network that is used by other code than it was trained by."""

from __future__ import annotations

import sys
from pathlib import Path

from rnnlab.runs.files import Damaged, read_json
from rnnlab.runs.folder import RunFolder
from rnnlab.runs.ledger import Ledger, Trial
from rnnlab.runs.sources import changed, sources
from rnnlab.settings.errors import SettingError
from rnnlab.settings.experiments import load_experiment

READ = ("rnnlab/cells/", "rnnlab/data/", "rnnlab/model/", "rnnlab/scan/", "rnnlab/tasks/")  # what a network is made of


def warn_of_other_code(run: Path, trial: Trial) -> None:
    """Says on the standard error which files of a network's code, and of what it reads, have changed since."""
    ledger = Ledger(RunFolder.to_read(run))
    then = ledger.folder.sources().get(ledger.ran_by(trial) or "", {})
    try:
        module = load_experiment(read_json(run / "config.json")["experiment"])
    except (FileNotFoundError, SettingError, Damaged, KeyError):  # the experiment is not here any more
        return
    files = [file for file in changed(then, sources(trial.spec, module)) if file.startswith(READ)] if then else []
    if files:
        shown = ", ".join(files[:3]) + f" and {len(files) - 3} more" * (len(files) > 3)
        print(f"rnnlab: {run}: {shown} changed since {trial} was trained: it may read otherwise now", file=sys.stderr)
