"""Claims on what a part of a network is worth: sequences to solve with it and without, by log-rank tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rnnlab.reports.claims import LEVEL
from rnnlab.reports.tables import format_number
from rnnlab.runs.results import Arm, Claim
from rnnlab.stats.paired import holm
from rnnlab.stats.survival import logrank_test, median_time


def part_claims(
    arms: Mapping[str, Arm], whole: str, slower: Mapping[str, str], spared: Mapping[str, str]
) -> list[Claim]:
    """What each part is expected to be worth on one task.

    A claim is met, or not, where a log-rank test tells the two networks apart; p are corrected for all parts of the
    task (Holm 1979), as in the paired table.

    Args:
      arms: of the task, by label; each but `whole` lacks a part.
      whole: the label of the network with all its parts.
      slower: the source by label, where learning should take longer without the part.
      spared: the source by label, where the part should cost nothing to leave out.
    """
    trained = {label: arm for label, arm in arms.items() if arm.trained}
    if whole not in trained:
        return []
    times = {label: arm.times() for label, arm in trained.items()}
    tests = {part: logrank_test(times[whole], times[part]) for part in times if part != whole}
    corrected = dict(zip(tests, holm([test.p for test in tests.values()]), strict=True))
    usual, claims = median_time(times[whole]).estimate, []
    for part, source in (slower | spared).items():
        if part not in tests:
            continue
        told = corrected[part] < LEVEL
        later = tests[part].excess > 0  # the whole network solves sooner
        said = f"{median_time(times[part]).estimate:g} (p {format_number(corrected[part], 2)})"
        if part in slower:
            says, expected = "slows learning", f"above {usual:g} sequences at p < {LEVEL:g}"
            few = tests[part].least * len(tests) >= LEVEL
            why = "too few trials for a test of so many parts" if few else "the test does not tell them apart"
        else:
            says, expected = "costs nothing", f"no more than {usual:g} sequences"
            why = "that no difference is seen does not show that there is none"
        met = later == (part in slower) if told else None
        claims.append(Claim(f"{arms[part].task}: {part} {says}", source, expected, said, met, "" if told else why))
    return claims


def least_missed(arms: Mapping[str, Arm], spared: str, others: Sequence[str], source: str) -> list[Claim]:
    """Of several parts one can best be spared: met where all others are slower, not met where one is faster.

    `spared` and `others` are the labels of arms that lack one part each. Empty where one of them was not trained.
    """
    labels = (spared, *others)
    if not all(label in arms and arms[label].trained for label in labels):
        return []
    times = {label: arms[label].times() for label in labels}
    tests = {label: logrank_test(times[spared], times[label]) for label in others}
    slower = all(test.p < LEVEL and test.excess > 0 for test in tests.values())  # all: none is corrected
    either = zip(tests.values(), holm([test.p for test in tests.values()]), strict=True)
    faster = any(p < LEVEL and test.excess < 0 for test, p in either)
    said = [f"{label} {median_time(times[label]).estimate:g}" for label in labels]
    said += [f"p {format_number(test.p, 2)} against {label}" for label, test in tests.items()]
    return [
        Claim(
            f"{arms[spared].task}: {spared} is the least missed of {len(labels)}", source,
            f"fewest sequences with {spared}, each at p < {LEVEL:g}", ", ".join(said),
            True if slower else False if faster else None,
            "" if slower or faster else "the tests do not tell it from every other",
        )
    ]  # fmt: skip
