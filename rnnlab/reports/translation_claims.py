"""What was expected of translation with and without attention, and whether it holds; also where the LSTM lost.

Exact match, or chrF where nothing says when a task is learned, is judged over sentences of the test part, of these
trained networks: its interval holds nothing of other seeds.
"""

from __future__ import annotations

import math

from rnnlab.reports.tables import format_interval, listed
from rnnlab.reports.translations import Translated, source_profiles, translated
from rnnlab.runs.results import Claim, Results
from rnnlab.stats.estimates import Interval

BAHDANAU = "Bahdanau, Cho & Bengio 2015, section 5.2.1, figure 2"
CHO = "Cho, van Merrienboer, Bahdanau & Bengio 2014, section 4.1"
SUTSKEVER = "Sutskever, Vinyals & Le 2014, section 3.3"
PREFERRED = "LSTM"
ATTENTION, REVERSED = ", attention", ", source reversed"
CONVERGED = 99.0  # % of held-out numbers exactly right
SMALL = 5.0  # points: a fall with length that counts as hardly any


def claims(results: Results) -> list[Claim]:
    """Of each task: attention helps each cell, a reversed source the LSTM, and length hurts without attention."""
    return [claim for each in translated(results) for claim in _of(each)]


def _of(each: Translated) -> list[Claim]:
    told, plain = [], [label for label in each.arms if ", " not in label]
    for label in plain:
        if (other := label + ATTENTION) in each.arms:
            says = f"{each.task}: {label} translates better with attention than without, by {each.measured}"
            told.append(_above(says, BAHDANAU, each.difference(other, label, each.quality)))
        if (other := label + REVERSED) in each.arms:
            says = (
                f"{each.task}: {label} without attention translates better from a reversed source, by {each.measured}"
            )
            told.append(_above(says, SUTSKEVER, each.difference(other, label, each.quality)))
    for label in plain:
        if (found := _fall(each, label)).n:
            worse = "is right less often" if each.quality == "exact" else "has a lower chrF"
            says = f"{each.task}: without attention {label} {worse} in the longest sentences than the shortest"
            told.append(_above(says, CHO, found))
        if (found := _fall(each, label + ATTENTION)).n:
            says = f"{each.task}: with attention {label} hardly loses with length (less than {SMALL:g} points)"
            short = each.mean(label + ATTENTION, each.quality, which=each.groups()[0][1])
            if short.low > 2 * SMALL:
                told.append(_below(says, BAHDANAU, found, SMALL))
            else:
                why = "the shortest sentences leave nothing to lose"
                told.append(
                    Claim(says, BAHDANAU, f"below {SMALL:g} points", f"{format_interval(found)} points", None, why)
                )
    label = PREFERRED + ATTENTION
    if label in each.arms and each.found["units"] == "words" and each.arms[label].rule:
        says = f"{each.task}: {label} translates held-out numbers exactly"
        found = each.mean(label)
        met = True if found.low >= CONVERGED else False if found.high < CONVERGED else None
        why = (
            "" if met is not None else "its interval over sentences holds both" if found.n else "nothing was translated"
        )
        told.append(Claim(says, "an exact task: the whole is made of a few rules", f"at least {CONVERGED:g} %",
                          f"{format_interval(found)} %", met, why))  # fmt: skip
    return told


def _fall(each: Translated, label: str) -> Interval:
    """Points of exact match, or of chrF, that the longest group of sentences has less than the shortest.

    The groups are independent, so their intervals combine as Newcombe 1998 writes (Interval estimation for the
    difference between independent proportions, method 10).
    """
    nothing = Interval(*[math.nan] * 3, 0)
    if label not in each.arms or len(groups := each.groups()) < 2:
        return nothing
    short, long = (each.mean(label, each.quality, which=groups[place][1]) for place in (0, -1))
    if not (short.n and long.n):
        return nothing
    middle = short.estimate - long.estimate
    low = middle - math.hypot(short.estimate - short.low, long.high - long.estimate)
    high = middle + math.hypot(short.high - short.estimate, long.estimate - long.low)
    return Interval(middle, low, high, short.n + long.n)


def _above(says: str, source: str, found: Interval) -> Claim:
    return _judged(says, source, "above 0 points", found, found.low > 0, found.high < 0)


def _below(says: str, source: str, found: Interval, level: float) -> Claim:
    return _judged(says, source, f"below {level:g} points", found, found.high < level, found.low > level)


def _judged(says, source, expected, found, holds, fails) -> Claim:
    if not found.n or math.isnan(found.low):
        return Claim(says, source, expected, "n/a", None, "too few sentences")
    met = True if holds else False if fails else None
    why = "" if met is not None else "its interval over sentences holds both"
    return Claim(says, source, expected, f"{format_interval(found)} points", met, why)


def answer(results: Results) -> str:
    """Where one fixed vector stops, what attention and a reversed source change, and which cell loses."""
    said = []
    for each in translated(results):
        label = PREFERRED if PREFERRED in each.arms else next((n for n in each.arms if ", " not in n), None)
        if label is None or not each.mean(label).n:
            continue
        said += _answer(each, label)
    return " ".join(said) or "Nothing was translated."


def _answer(each: Translated, label: str) -> list[str]:
    groups, units = each.groups(), each.units
    width = each.arms[label].settings.get("cell.features", "?")
    (short, first), (long, last) = groups[0], groups[-1]

    def value(label, which):
        found = each.mean(label, each.quality, which=which).estimate
        return f"{found:.0f} %" if each.quality == "exact" else f"a chrF of {found:.0f}"

    exactly = "writes {} of sentences of {} exactly" if each.quality == "exact" else "reaches {} in sentences of {}"
    said = [
        f"{each.task}: from one vector of {width} units a state the {label} "
        f"{exactly.format(value(label, first), f'{short} {units}')}, and {value(label, last)} in those of {long}"
    ]
    if (other := label + ATTENTION) in each.arms and each.mean(other).n:
        said[0] += f"; with attention {value(other, first)} and {value(other, last)}"
    if (other := label + REVERSED) in each.arms and each.mean(other).n:
        said[0] += f"; from a reversed source {value(other, last)} in the longest"
    said[0] += "."
    if (found := _reach(each, label)) is not None:
        said.append(
            f"In the longest sentences the gradient at the first token read is {found:.1f} times that at the last."
        )
    lost, same, beaten = [], [], []
    for form in ("", ATTENTION):
        for cell in (name for name in each.arms if ", " not in name and name != label):
            if cell + form in each.arms and label + form in each.arms:
                found = each.difference(cell + form, label + form, each.quality)
                (lost if found.low > 0 else same if found.high >= 0 else beaten).append(cell + form)
    if lost:
        said.append(f"The {label} loses to {listed(lost)} in the same form.")
    elif beaten and not same:
        said.append(f"The {label} beats every other cell in the same form.")
    if same:
        said.append(f"No difference from it is shown of {listed(same)}.")
    best = max(each.found["models"], key=lambda name: each.mean(name, each.quality).estimate)
    said.append(f"Without a network the best is {best}: {value(best, slice(None))}.")
    return said


def _reach(each: Translated, label: str) -> float | None:
    """The encoder's gradient at the furthest step back that any sentence has, over that at its last token read."""
    profiles = source_profiles(each.arms[label], "trained")
    return None if profiles.size == 0 else float(10 ** profiles.mean(axis=0)[-1])
