"""The answer of an experiment on speech in sentences: where one direction loses, and where the LSTM does."""

from __future__ import annotations

from rnnlab.reports.speech_tables import PUBLISHED, later, of_task, rates, speaker_accuracy
from rnnlab.reports.tables import format_interval, listed
from rnnlab.runs.results import Results
from rnnlab.stats.estimates import Interval

BOTH = "LSTM, both ways"


def answer(results: Results) -> str:
    """Errors of digits, how much later they are said, and who speaks; medians over trials with their intervals."""
    said = [*_of_digits(results), *_of_speakers(results)]
    return " ".join(said) or "Nothing was trained."


def _of_digits(results: Results) -> list[str]:
    arms = of_task(results, "SpokenDigits")
    known = {label: found for label, arm in arms.items() if (found := rates(arm)).n}
    if not known:
        return []
    order = sorted(known, key=lambda label: known[label].estimate)
    told = listed([f"{known[label].estimate:.1f} % with {named(label)}" for label in order])
    said = [f"Tokens of the test part that are wrong: {told}."]
    if "LSTM" in known:
        said.append(_lost("digits", "LSTM", _better(known, "LSTM", lower=True)))
    if BOTH in known and (others := _better(known, BOTH, lower=True)):
        said.append(_lost("digits", BOTH, others))
    return [*said, *_of_delays(results)]


def _of_delays(results: Results) -> list[str]:
    found = {label: late for label, arm in of_task(results, "SpokenDigits").items()
             if "both" not in label and (late := later(results, arm)).n}  # fmt: skip
    sure = {label: late for label, late in found.items() if late.low > 0 or late.high < 0}
    told = [f"{abs(late.estimate):.0f} ms {'later' if late.low > 0 else 'earlier'} by {named(label)}"
            for label, late in sure.items()]  # fmt: skip
    said = [f"Beside the bidirectional LSTM a token is said {listed(told)}."] if told else []
    if unsure := [f"{named(label)} ({format_interval(late)} ms)" for label, late in found.items() if label not in sure]:
        said.append(
            f"Trials do not agree whether a token is said later by {listed(unsure)} than by the bidirectional LSTM."
        )
    return said


def _of_speakers(results: Results) -> list[str]:
    arms = of_task(results, "JapaneseVowels")
    known = {label: found for label, arm in arms.items() if (found := speaker_accuracy(arm)).n}
    if not known:
        return []
    told = listed([f"{found.estimate:.1f} % by {named(label)}" for label, found in known.items()])
    said = [f"Which of nine men speaks is told rightly {told}."]
    others = {name: 100 * v for name, v in next(iter(arms.values())).baselines.get("accuracies", {}).items()}
    if "LSTM" in known:
        without = [f"{name} ({value:.1f} %)" for name, value in (others | PUBLISHED).items()
                   if value > known["LSTM"].estimate]  # fmt: skip
        said.append(_lost("speakers", "LSTM", [*_better(known, "LSTM", lower=False), *without]))
    return said


def _better(known: dict[str, Interval], one: str, lower: bool) -> list[str]:
    """Those whose estimate is better, with it."""
    sign = 1 if lower else -1
    return [f"{named(label)} ({found.estimate:.1f} %)" for label, found in known.items()
            if sign * found.estimate < sign * known[one].estimate]  # fmt: skip


def _lost(what: str, one: str, to: list[str]) -> str:
    return f"On {what} the {named(one)} loses to {listed(to) if to else 'none of the others'}."


def named(label: str) -> str:
    """An arm's label within a list, where commas part names."""
    return f"bidirectional {label.removesuffix(', both ways')}" if label.endswith(", both ways") else label
