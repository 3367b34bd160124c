"""Claims on what a part of a network is worth: sequences to solve with it and without, by log-rank tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rnnlab.reports.tables import format_number
from rnnlab.runs.results import Arm, Claim
from rnnlab.stats.paired import holm
from rnnlab.stats.survival import Times, logrank, logrank_test, median_time

LEVEL = 0.05  # of a test


def part_claims(arms: Mapping[str, Arm], whole: str, expected: Mapping[str, tuple[bool, str]]) -> list[Claim]:
    """What each part is expected to be worth on one task.

    Args:
      arms: of the task, by label; each but `whole` lacks a part.
      whole: the label of the network with all its parts.
      expected: by label, whether learning should take longer without that part (else it should cost nothing), and the
        source that says so.

    Returns:
      A claim a label. p are corrected for all parts of the task (Holm 1979), as in the paired table.
    """
    times = _trained(arms)
    if whole not in times:
        return []
    tests = {part: logrank_test(times[whole], times[part]) for part in times if part != whole}
    corrected = dict(zip(tests, holm([test.p for test in tests.values()]), strict=True))
    claims = []
    for part, (slower, source) in expected.items():
        if part not in tests:
            continue
        medians = [median_time(times[label]).estimate for label in (whole, part)]
        name, p = arms[part].task + f": {part}", corrected[part]
        if slower:
            able = min(tests[part].least * len(tests), p) < LEVEL
            claims.append(_slows(name, source, medians, p, able))
        else:
            claims.append(_costs_nothing(name, source, medians, p))
    return claims


def _trained(arms: Mapping[str, Arm]) -> dict[str, Times]:
    return {label: arm.times() for label, arm in arms.items() if arm.trained}


def _slows(name: str, source: str, medians: Sequence[float], p: float, able: bool) -> Claim:
    """Fewer sequences do not suffice: the log-rank test must say that it is no chance, where it could."""
    return Claim(
        f"{name} slows learning", source, f"above {medians[0]:g} sequences at p < {LEVEL:g}",
        f"{medians[1]:g} (p {format_number(p, 2)})", p < LEVEL and medians[1] > medians[0] if able else None,
    )  # fmt: skip


def _costs_nothing(name: str, source: str, medians: Sequence[float], p: float) -> Claim:
    """A difference speaks against it; that none is seen does not speak for it."""
    seen = "" if p < LEVEL else ": no difference seen"
    return Claim(
        f"{name} costs nothing", source, f"no more than {medians[0]:g} sequences",
        f"{medians[1]:g} (p {format_number(p, 2)}{seen})",
        False if not seen and medians[1] > medians[0] else None,
    )  # fmt: skip


def least_missed(arms: Mapping[str, Arm], spared: str, others: Sequence[str], source: str) -> list[Claim]:
    """Of several parts one can best be spared: met where all others are slower, not met where one is faster.

    `spared` and `others` are the labels of arms that lack one part each. Empty where one of them was not trained.
    """
    times = _trained(arms)
    if not {spared, *others} <= set(times):
        return []
    medians = {label: median_time(times[label]).estimate for label in (spared, *others)}
    ps = {label: logrank(times[spared], times[label]) for label in others}
    slower = all(p < LEVEL and medians[spared] < medians[label] for label, p in ps.items())  # all: none is corrected
    either = zip(ps, holm(list(ps.values())), strict=True)
    faster = any(p < LEVEL and medians[label] < medians[spared] for label, p in either)
    said = [f"{label} {median:g}" for label, median in medians.items()]
    said += [f"p {format_number(p, 2)} against {label}" for label, p in ps.items()]
    return [
        Claim(
            f"{arms[spared].task}: {spared} is the least missed of {len(medians)}", source,
            f"fewest sequences with {spared}, each at p < {LEVEL:g}", ", ".join(said),
            True if slower else False if faster else None,
        )
    ]  # fmt: skip
