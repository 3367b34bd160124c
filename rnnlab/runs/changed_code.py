"""Trials of a run that were run by other code than that of now: said, refused, or run again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rnnlab.runs.job import Job
from rnnlab.runs.ledger import Ledger, Trial, all_trials
from rnnlab.runs.sources import changed, digest, sources
from rnnlab.settings.errors import SettingError


def settle_code(job: Job, ledger: Ledger, redo: bool, warn: Callable[[str], None]) -> None:
    """Enters by which code trials run from now on, and deals with those that other code ran.

    Where all trials have ended a report may be made of them, with a warning; with `redo` those of other code run
    again.

    Raises:
      SettingError: some trials have not ended, and others were run, or begun, by other code: a report would mix both.
    """
    now = {arm: sources(spec, job.module) for arm, spec in job.arms.items()}
    by_digest = {digest(found): found for found in now.values()}
    known = ledger.folder.add_sources(by_digest)
    ledger.sources = {arm: digest(found) for arm, found in now.items()}
    stale = _stale(ledger, all_trials(job.arms), now, known)
    if redo:
        if stale:  # what was made of them is no result any more
            for name in ("results.json", "report.html"):
                (job.workdir / name).unlink(missing_ok=True)
        for trial in stale:
            before = ledger.ran_by(trial)
            if not ledger.forget(trial, before):
                warn(f"{trial}: another process is running it; it is left to that one")
        return
    if not stale:
        return
    files = list(dict.fromkeys(name for names in stale.values() for name in names))
    shown = ", ".join(files[:3]) + f" and {len(files) - 3} more" * (len(files) > 3)
    told = f"{shown} changed since {len(stale)} of its trials were run; --redo runs them again, another --workdir all"
    if not all(ledger.ended(trial) for trial in all_trials(job.arms)):
        raise SettingError(f"--workdir={job.workdir}: {told}")
    warn(f"{job.workdir}: {told}")


def files_changed(job: Job, ledger: Ledger) -> list[str]:
    """The files that have changed since the trials of a run were run by them."""
    now = {arm: sources(spec, job.module) for arm, spec in job.arms.items()}
    stale = _stale(ledger, all_trials(job.arms), now, ledger.folder.sources())
    return list(dict.fromkeys(name for names in stale.values() for name in names))


def _stale(
    ledger: Ledger,
    trials: list[Trial],
    now: Mapping[str, Mapping[str, str]],
    known: Mapping[str, Mapping[str, str]],
) -> dict[Trial, list[str]]:
    """The trials that other code ran, or began, each with the files that differ."""
    found = {}
    for trial in trials:
        before = known.get(ledger.ran_by(trial) or "")
        if before and (names := changed(before, now[trial.arm])):
            found[trial] = names
    return found
