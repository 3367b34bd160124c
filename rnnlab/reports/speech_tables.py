"""Errors of transcripts and of speakers: of networks, and of what has none.

Reads the probes of `experiments/speech.py` (`heard`, `speakers`) and the baselines of their tasks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rnnlab.data.log_mel import HOP, RATE, STACK
from rnnlab.data.transcripts import edits, error_rate
from rnnlab.probes.speech.prefix_beam import WIDTH
from rnnlab.reports.tables import Table, format_interval
from rnnlab.runs.results import Arm, Results, Trial
from rnnlab.stats import estimates
from rnnlab.stats.estimates import Interval

LENGTHS = 8  # of transcripts, at most, by which errors are told
STEP = 1000 * HOP * STACK // RATE  # milliseconds
Rows = Sequence[Sequence[float | int]]  # labels of each recording, 0 behind their end
PUBLISHED = {  # on JapaneseVowels in the UEA archive, the table of arXiv 2311.12214 on multivariate data sets
    "Toth, Oberhauser & Szabo 2023, signature kernel": 98.6,
    "Toth, Oberhauser & Szabo 2023, global alignment kernel": 98.1,
}


class Heard(NamedTuple):
    """Transcripts of recordings: what was said, what the best path says, from which step on each token, and what a
    search by prefixes finds (empty in results from before there was one)."""

    said: list[list[int]]
    heard: list[list[int]]
    steps: list[list[int]]
    beam: list[list[int]]

    @property
    def error_rate(self) -> float:
        """In percent."""
        return 100 * error_rate(self.said, self.heard)

    @property
    def exact(self) -> float:
        """Recordings, in percent."""
        return 100 * float(np.mean([one == two for one, two in zip(self.said, self.heard, strict=True)]))

    @property
    def by_beam(self) -> float | None:
        """Token error rate of the search, in percent."""
        return 100 * error_rate(self.said, self.beam) if self.beam else None


def of_task(results: Results, task: str) -> dict[str, Arm]:
    """The arms of a task, by label."""
    return {arm.label: arm for arm in results.arms.values() if arm.settings.get("task") == task}


def heard(arm: Arm, trial: Trial, when: str = "trained") -> Heard | None:
    """The test part's transcripts; None where they were not measured."""
    found, said = trial.probe("heard", when), arm.baselines.get("said")
    return None if found is None or said is None else _heard(said, found)


def real(trial: Trial) -> Heard | None:
    """Those of real recordings, where there were some."""
    found = trial.probe("heard", "trained") or {}
    if "real said" not in found:
        return None
    return _heard(
        found["real said"], {name.removeprefix("real "): of for name, of in found.items() if name.startswith("real ")}
    )


def _heard(said: Rows, found: Mapping[str, Rows]) -> Heard:
    tokens = _numbers(found["heard"])
    steps = [list(map(int, s[: len(t)])) for s, t in zip(found["steps"], tokens, strict=True)]
    return Heard(_numbers(said), tokens, steps, _numbers(found.get("beam", [])))


def _numbers(rows: Rows) -> list[list[int]]:
    return [[int(label) for label in row if int(label)] for row in rows]


def rates(arm: Arm, of: Callable[[Arm, Trial], Heard | None] = heard) -> Interval:
    """Token error rate in percent, the median over trials."""
    return estimates.median(arm.each(lambda t: None if (found := of(arm, t)) is None else found.error_rate))


def speaker_accuracy(arm: Arm) -> Interval:
    """In percent, of JapaneseVowels' test part: the median over trials."""

    def of(trial: Trial) -> float | None:
        found = trial.probe("speakers", "trained")
        return None if found is None else 100 * float(found["accuracy"])

    return estimates.median(arm.each(of))


def by_length(found: Heard) -> dict[int, float]:
    """Token error rate in percent by how many tokens were said: of each number, or of more than `LENGTHS` numbers by
    groups of about as many recordings, each named by its longest."""
    said = np.array([len(each) for each in found.said])
    wrong = np.array(edits(found.said, found.heard))
    ends = np.unique(said)
    if len(ends) > LENGTHS:
        ends = np.unique(np.quantile(said, np.arange(1, LENGTHS + 1) / LENGTHS, method="higher"))
    group = ends[np.searchsorted(ends, said)]
    return {int(n): 100 * wrong[group == n].sum() / said[group == n].sum() for n in ends if n}


def by_lengths(results: Results) -> dict[str, tuple[list[int], np.ndarray]]:
    """Of each model the lengths of transcripts, and `by_length` of each trial."""
    told = {}
    for label, arm in of_task(results, "SpokenDigits").items():
        found = [by_length(each) for trial in arm.trials if (each := heard(arm, trial))]
        if found:
            told[label] = (list(found[0]), np.array([list(each.values()) for each in found]))
    return told


def first_and_last(found: Heard) -> tuple[float, float]:
    """How often, in percent, the first token said is not the first heard, and so the last; nan without two tokens."""
    pairs = [(said, heard) for said, heard in zip(found.said, found.heard, strict=True) if len(said) > 1]
    if not pairs:
        return math.nan, math.nan
    first = np.mean([not heard or said[0] != heard[0] for said, heard in pairs])
    last = np.mean([not heard or said[-1] != heard[-1] for said, heard in pairs])
    return 100 * float(first), 100 * float(last)


def delay(results: Results, arm: Arm, trial: Trial) -> float | None:
    """Milliseconds by which it says a token later than the LSTM of both directions of the same seed: the mean over
    tokens of recordings that both have right."""
    reference = of_task(results, arm.settings["task"]).get("LSTM, both ways")
    other = next((t for t in reference.trials if t.seed == trial.seed), None) if reference else None
    mine, theirs = heard(arm, trial), other and heard(reference, other)
    if mine is None or not theirs:
        return None
    late = [a - b for said, one, two, s, r in zip(mine.said, mine.heard, theirs.heard, mine.steps, theirs.steps,
                                                  strict=True)
            if said == one == two for a, b in zip(s, r, strict=True)]  # fmt: skip
    return STEP * float(np.mean(late)) if late else None


def later(results: Results, arm: Arm) -> Interval:
    """`delay`: the median over trials."""
    return estimates.median(arm.each(lambda trial: delay(results, arm, trial)))


def main(results: Results) -> Table | None:
    """All models on both tasks."""
    rows = []
    for label, arm in of_task(results, "SpokenDigits").items():
        every = [found for trial in arm.trials if (found := heard(arm, trial))]
        if not every:
            continue
        ends = [first_and_last(found) for found in every]
        rows.append([
            f"SpokenDigits/{label}", format_interval(rates(arm)),
            format_interval(estimates.median([value for found in every if (value := found.by_beam) is not None])),
            format_interval(estimates.median([found.exact for found in every])),
            format_interval(rates(arm, lambda arm, trial: real(trial))) if any(map(real, arm.trials)) else "",
            *(format_interval(estimates.median([end[side] for end in ends])) for side in (0, 1)),
            format_interval(late) if label != "LSTM, both ways" and (late := later(results, arm)).n else "", "",
        ])  # fmt: skip
    for arm in list(of_task(results, "SpokenDigits").values())[:1]:
        rows += [[f"SpokenDigits/answer: {name}", f"{100 * rate:.3g}", *[""] * 7]
                 for name, rate in arm.baselines.get("answers", {}).items()]  # fmt: skip
    for label, arm in of_task(results, "JapaneseVowels").items():
        rows.append([f"JapaneseVowels/{label}", *[""] * 7, format_interval(speaker_accuracy(arm))])
    for arm in list(of_task(results, "JapaneseVowels").values())[:1]:
        known = {name: 100 * value for name, value in arm.baselines.get("accuracies", {}).items()} | PUBLISHED
        rows += [[f"JapaneseVowels/{name}", *[""] * 7, f"{value:.1f}"] for name, value in known.items()]
    caption = (
        "On the test part: token error rate (edits over tokens said), recordings exactly right, how often the first "
        "and the last token of two or more is wrong, and how much later a token is said than by the LSTM of both "
        "directions; real: digits of one speaker (task.recordings). Median and interval over trials; decoded by the "
        f"best path, or by a beam search that keeps {WIDTH} prefixes. JapaneseVowels: accuracy on the 370 utterances; "
        "networks are fitted to 216 and chosen by 54, baselines fitted to these 270."
    )
    columns = ["model", "token error rate, %", "by beam search, %", "exactly right, %", "token error rate, real, %",
               "first wrong, %", "last wrong, %", "said later by (ms)", "speaker right, %"]  # fmt: skip
    kept = [0, *(place for place in range(1, len(columns)) if any(row[place] not in ("", "n/a") for row in rows))]
    return Table(caption, [columns[k] for k in kept], [[row[k] for k in kept] for row in rows]) if rows else None


def tables(results: Results) -> list[Table]:
    """Token error rate by how many tokens were said."""
    found = by_lengths(results)
    rows = [[label, *(format_interval(estimates.median(list(of))) for of in rates.T)]
            for label, (_, rates) in found.items()]  # fmt: skip
    lengths = next(iter(found.values()))[0] if found else []
    caption = (
        "Token error rate in percent by how many tokens were said (where these are many, up to so many, from the "
        "column before on); median and interval over trials."
    )
    return [Table(caption, ["model", *map(str, lengths)], rows)] if rows else []
