"""What was expected of networks that read text, and whether it holds; also where a network loses.

Bits are judged in one way: those that a trial saves, over the trial of the same seed, a model without a network, or
itself with less read, by Student's interval of their mean over seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

from rnnlab.reports.claims import above, learned_where_reached, most_learn
from rnnlab.reports.text_tables import FAR, ngrams, on_marks, on_text, saved_by_memory, trial_bits
from rnnlab.runs.results import Claim, Results
from rnnlab.stats import estimates
from rnnlab.stats.estimates import Interval

KARPATHY = "Karpathy, Johnson & Fei-Fei 2015"
KHANDELWAL = "Khandelwal, He, Qi & Jurafsky 2018, of words"
PLAIN = "VanillaRNN"  # of which nobody claims that it does better than anything


def claims(results: Results) -> list[Claim]:
    """Networks against each other and against n-gram models, what memory buys, marks by distance."""
    return [*_of_cells(results), *_of_ngrams(results), *_of_memory(results), *_of_marks(results)]


def _of_cells(results: Results) -> list[Claim]:
    arms = on_text(results)
    plain = {trial.seed: trial_bits(trial) for trial in arms[PLAIN].trials} if PLAIN in arms else {}
    told = []
    for label, arm in arms.items():
        pairs = [(plain.get(trial.seed), trial_bits(trial)) for trial in arm.trials]
        saved = [of - bits for of, bits in pairs if of is not None and bits is not None]
        if label != PLAIN and saved:
            says = f"{label} needs fewer bits a character than {PLAIN} of the same seed"
            told.append(_saves(says, f"{KARPATHY}, table 1", saved))
    return told


def _of_ngrams(results: Results) -> list[Claim]:
    models, told = ngrams(results), []
    for label, arm in on_text(results).items():
        if label != PLAIN and models:
            order = min(models, key=models.__getitem__)
            says = f"{label} needs fewer bits a character than the best n-gram model (order {order})"
            saved = [models[order] - bits for bits in arm.each(trial_bits)]
            told.append(_saves(says, f"{KARPATHY}, section 4.2", saved))
    return told


def _of_memory(results: Results) -> list[Claim]:
    found = {label: arm.each(saved_by_memory) for label, arm in on_text(results).items() if label != PLAIN}
    says = "{}: {:,} characters read instead of {:,} make the same characters cheaper"
    return [_saves(says.format(label, *FAR[::-1]), KHANDELWAL, saved) for label, saved in found.items() if saved]


def _saves(says: str, source: str, saved: Sequence[float]) -> Claim:
    """Bits a character that each trial saves: more than none."""
    found = estimates.mean(saved)
    claim = above(says, source, found, Interval(0.0, 0.0, 0.0, found.n), " bits saved")
    return claim._replace(expected="above 0 bits saved")


def _of_marks(results: Results) -> list[Claim]:
    marks = on_marks(results)
    if not marks:
        return []
    names = [arm.name for arms in marks.values() for arm in arms.values()]
    told = learned_where_reached(results.only(names), "the question above")
    longest = max(d for arms in marks.values() for d in arms)
    if longest >= 100 and longest in marks.get(PLAIN, {}):
        source = "Hochreiter 1991; Bengio, Simard & Frasconi 1994"
        told.append(most_learn(marks[PLAIN][longest], source, learn=False))
    return told
