"""Trials of a run that were run by other code than that of now: said, refused, or run again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from rnnlab.runs.job import Job
from rnnlab.runs.ledger import Ledger, Trial, all_trials
from rnnlab.runs.sources import changed, digest, sources_of
from rnnlab.settings.errors import SettingError


def settle_code(job: Job, ledger: Ledger, redo: bool, warn: Callable[[str], None]) -> None:
    """Enters by which code trials run from now on, and deals with those that other code ran.

    Where all trials have ended a report may be made of them, with a warning; with `redo` those of other code run
    again.

    Raises:
      SettingError: some trials have not ended, and others were run, or begun, by other code: a report would mix both.
    """
    now, trials = sources_of(job.arms, job.module), all_trials(job.arms)
    known = ledger.folder.add_sources({digest(found): found for found in now.values()})
    ledger.sources = {arm: digest(found) for arm, found in now.items()}
    codes = {trial: ledger.ran_by(trial) for trial in trials}
    stale = _stale(codes, now, known)
    if not stale:
        return
    if redo:
        for name in ("results.json", "report.html"):  # what was made of them is no result any more
            (job.workdir / name).unlink(missing_ok=True)
        for trial in stale:
            if not ledger.forget(trial, codes[trial]):
                warn(f"{trial}: another process is running it; it is left to that one")
        return
    files = _files(stale)
    shown = ", ".join(files[:3]) + f" and {len(files) - 3} more" * (len(files) > 3)
    told = (
        f"{shown} changed since {len(stale)} of its trials were begun; --redo runs these again, another --workdir all"
    )
    if not all(map(ledger.ended, trials)):
        raise SettingError(f"--workdir={job.workdir}: {told}")
    warn(f"{job.workdir}: {told}")


def files_changed(job: Job, codes: Mapping[Trial, str | None], known: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The files that have changed since trials were run by the code of these digests, of those that are known."""
    return _files(_stale(codes, sources_of(job.arms, job.module), known))


def _files(stale: Mapping[Trial, Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in stale.values() for name in names))


def _stale(
    codes: Mapping[Trial, str | None], now: Mapping[str, Mapping[str, str]], known: Mapping[str, Mapping[str, str]]
) -> dict[Trial, list[str]]:
    """The trials that other code ran, or began, each with the files that differ."""
    found = {}
    for trial, code in codes.items():
        before = known.get(code or "")
        if before and (names := changed(before, now[trial.arm])):
            found[trial] = names
    return found
