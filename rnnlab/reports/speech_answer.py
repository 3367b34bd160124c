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
    told = listed([f"{known[label].estimate:.3g} % with {named(label)}" for label in order])
    said = [f"Tokens of the test part that are wrong: {told}."]
    said += _lost("digits", "LSTM", known, lower=True)
    said += _lost("digits", BOTH, known, lower=True)
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
    told = listed([f"{found.estimate:.3g} % by {named(label)}" for label, found in known.items()])
    said = [f"Which of nine men speaks is told rightly {told}."]
    others = {name: 100 * v for name, v in next(iter(arms.values())).baselines.get("accuracies", {}).items()}
    exact = {name: Interval(value, value, value, 1) for name, value in (others | PUBLISHED).items()}
    return said + _lost("speakers", "LSTM", known | exact, lower=False)


def _lost(what: str, one: str, known: dict[str, Interval], lower: bool) -> list[str]:
    """To whom it loses: those of a better estimate whose interval is apart from its own; and who may be better."""
    if one not in known:
        return []
    sign, mine = 1 if lower else -1, known[one]
    better = {label: found for label, found in known.items() if sign * found.estimate < sign * mine.estimate}
    apart = {label for label, found in better.items()
             if (found.high < mine.low if lower else found.low > mine.high)}  # fmt: skip

    def told(labels):
        return listed([f"{named(label)} ({known[label].estimate:.3g} %)" for label in labels])

    if not better:
        return [f"On {what} the {named(one)} loses to none of the others."]
    lost = [label for label in better if label in apart]
    said = [f"On {what} the {named(one)} loses to {told(lost)}."] if lost else []
    if unsure := [label for label in better if label not in apart]:
        said.append(f"On {what} it is not shown that {told(unsure)} {'is' if len(unsure) == 1 else 'are'} better "
                    f"than the {named(one)}.")  # fmt: skip
    return said


def named(label: str) -> str:
    """An arm's label within a list, where commas part names."""
    return f"bidirectional {label.removesuffix(', both ways')}" if label.endswith(", both ways") else label
