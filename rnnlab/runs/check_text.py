"""Whether a task's text is still the one that a trial was trained on."""

from __future__ import annotations

from pathlib import Path

from rnnlab.runs.files import Damaged, read_json
from rnnlab.runs.folder import RunFolder
from rnnlab.runs.ledger import Ledger, Trial
from rnnlab.runs.sources import data_digests
from rnnlab.settings.errors import SettingError


def check_text(run: Path, trial: Trial, tokens: str) -> None:
    """Raises SettingError where its tokens (`characters`, say) have the numbers of another text than the trial's.

    A file's digest is known from a trial's beginning on; that of a text without one since the run has ended.
    """
    ledger = Ledger(RunFolder.to_read(run))
    then = ledger.folder.sources().get(ledger.ran_by(trial) or "", {})
    for file, now in data_digests(trial.spec.task.files).items():
        _compare(run, file, now, then.get(file, now), tokens)
    try:
        before = read_json(run / "results.json")["arms"][trial.arm]["card"]["sha256"]
    except (FileNotFoundError, Damaged, KeyError, TypeError):  # a run that has not ended has no report yet
        return
    card = trial.spec.task.card
    _compare(run, card.source, card.sha256, before, tokens)


def _compare(run: Path, source: str, now: str, then: str, tokens: str) -> None:
    if now != then:
        told = f"{source} is another text than the one it was trained on (SHA-256 {then} then, {now} now)"
        raise SettingError(f"{run}: {told}, so its {tokens} have other numbers")
