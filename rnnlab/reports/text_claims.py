"""What was expected of networks that read text, and whether it holds; also where a network loses."""

from __future__ import annotations

from collections.abc import Callable

from rnnlab.reports.claims import FEWEST, learned_where_reached, lower_ranks
from rnnlab.reports.tables import format_interval
from rnnlab.reports.text_tables import bits, by_memory, compressors, ngrams, on_marks, on_text, trial_bits
from rnnlab.runs.results import Arm, Claim, Results, Trial
from rnnlab.stats import estimates

KARPATHY = "Karpathy, Johnson & Fei-Fei 2015"
KHANDELWAL = "Khandelwal, He, Qi & Jurafsky 2018, of words"


def claims(results: Results) -> list[Claim]:
    """Networks against each other and against what has no network, what memory buys, marks by distance."""
    return [*_of_cells(results), *_of_baselines(results), *_of_memory(results), *_of_marks(results)]


def _of_cells(results: Results) -> list[Claim]:
    arms = on_text(results)
    if "VanillaRNN" not in arms:
        return []
    plain = arms["VanillaRNN"].each(trial_bits)
    pairs = {f"{label} needs fewer bits a character than VanillaRNN": (arm.each(trial_bits), plain)
             for label, arm in arms.items() if label != "VanillaRNN"}  # fmt: skip
    return lower_ranks({says: sides for says, sides in pairs.items() if all(sides)}, f"{KARPATHY}, table 1")


def _of_baselines(results: Results) -> list[Claim]:
    models, others = ngrams(results), compressors(results)
    references = {}
    if models:
        order = min(models, key=models.__getitem__)
        references[f"the best n-gram model (order {order})"] = (models[order], f"{KARPATHY}, section 4.2")
    if "xz" in others:
        references["xz"] = (others["xz"], "the question above")
    told = []
    for name, (reference, source) in references.items():
        for label, arm in on_text(results).items():
            if label == "VanillaRNN":  # of which nobody claims it
                continue
            found = bits(arm)
            met, why = _below(found, reference)
            says = f"{label} needs fewer bits a character than {name}"
            told.append(Claim(says, source, f"below {reference:.3f}", format_interval(found), met, why))
    return told


def _of_memory(results: Results) -> list[Claim]:
    told = []
    for label, arm in on_text(results).items():
        near = _gain(arm, 1, 10)
        far = _gain(arm, 100, 1000)
        if near.n:
            rest = _gain(arm, 10, 1000)
            apart = near.low > rest.high, near.high < rest.low
            says = f"{label}: of what memory buys, the nearest 10 characters buy most"
            expected = f"above {format_interval(rest, 2)} bits (10 to 1,000 characters)"
            told.append(_judged(says, KHANDELWAL, expected, near, *apart))
            says = f"{label}: more than 100 characters of memory still buy something"
            told.append(_judged(says, KHANDELWAL, "above 0 bits", far, far.low > 0, far.high < 0))
    return told


def _gain(arm: Arm, fewer: int, more: int) -> estimates.Interval:
    """Bits a character less with `more` characters read than with `fewer`: the mean over trials."""

    def of(trial: Trial) -> float | None:
        found = by_memory(trial)
        return found[fewer] - found[more] if fewer in found and more in found else None

    return estimates.mean(arm.each(of))


def _of_marks(results: Results) -> list[Claim]:
    marks = on_marks(results)
    if not marks:
        return []
    names = [arm.name for arms in marks.values() for arm in arms.values()]
    told = learned_where_reached(results.only(names), "the question above")
    longest = max(d for arms in marks.values() for d in arms)
    if longest >= 100 and longest in marks.get("VanillaRNN", {}):
        source = "Hochreiter 1991; Bengio, Simard & Frasconi 1994"
        told.append(_share("VanillaRNN does not learn", marks["VanillaRNN"][longest], source, lambda r: r.high < 0.5,
                           lambda r: r.low > 0.5))  # fmt: skip
    if longest in marks.get("LSTM", {}):
        source = "Hochreiter & Schmidhuber 1997"
        told.append(
            _share("LSTM learns", marks["LSTM"][longest], source, lambda r: r.low > 0.5, lambda r: r.high < 0.5)
        )
    return told


def _share(says: str, arm: Arm, source: str, holds: Callable, fails: Callable) -> Claim:
    rate = arm.success
    met = True if holds(rate) else False if fails(rate) else None
    where = f"{says} which mark was opened {arm.length - 1:,} characters ago, in most trials"
    measured = f"{arm.learned} of {len(arm.trials)} learn"
    return Claim(where, source, "by the interval of the share", measured, met, "" if met is not None else
                 "the interval leaves it open")  # fmt: skip


def _below(found: estimates.Interval, reference: float) -> tuple[bool | None, str]:
    if found.n < FEWEST:
        return None, f"an interval of fewer than {FEWEST} trials tells little"
    if found.high < reference or found.low > reference:
        return found.high < reference, ""
    return None, "the interval leaves it open"


def _judged(says: str, source: str, expected: str, found: estimates.Interval, holds: bool, fails: bool) -> Claim:
    few = found.n < FEWEST
    met = None if few or not (holds or fails) else bool(holds)
    why = "" if met is not None else f"fewer than {FEWEST} trials" if few else "the interval leaves it open"
    return Claim(says, source, expected, f"{format_interval(found, 2)} bits", met, why)
