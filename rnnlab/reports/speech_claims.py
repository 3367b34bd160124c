"""What was expected of networks that read speech, and whether it holds: differences within seeds."""

from __future__ import annotations

import numpy as np

from rnnlab.reports.claims import above
from rnnlab.reports.speech_tables import PUBLISHED, delay, heard, of_task, speaker_accuracy
from rnnlab.runs.results import Arm, Claim, Results
from rnnlab.stats import estimates
from rnnlab.stats.estimates import Interval

GRAVES = "Graves & Schmidhuber 2005, abstract, of the phonemes of frames"
PAIRS = (  # of the first fewer errors are expected
    ("LSTM, both ways", "LSTM"), ("LSTM, both ways", "VanillaRNN, both ways"), ("LSTM", "VanillaRNN"), ("LSTM", "GRU"),
)  # fmt: skip
UNKNOWN = "no claim is known; asked here"


def claims(results: Results) -> list[Claim]:
    """Directions and cells against each other, delays, and accuracies beside the published ones."""
    arms, told = of_task(results, "SpokenDigits"), []
    rates = {label: {trial.seed: found.error_rate for trial in arm.trials if (found := heard(arm, trial))}
             for label, arm in arms.items()}  # fmt: skip
    for one, other in PAIRS:
        first, second = rates.get(one, {}), rates.get(other, {})
        saved = [second[seed] - first[seed] for seed in first if seed in second]
        if saved:
            source = UNKNOWN if other == "GRU" else GRAVES
            told.append(
                _positive(f"{one} has fewer digits wrong than {other} of the same seed", source, saved, "points")
            )
    for label in ("LSTM", "GRU", "VanillaRNN"):
        late = arms[label].each(lambda t, arm=arms[label]: delay(results, arm, t)) if label in arms else []
        if late:
            told.append(_positive(f"{label} says a digit later than the LSTM of both directions", UNKNOWN, late, "ms"))
    for label, arm in of_task(results, "JapaneseVowels").items():
        found = speaker_accuracy(arm)
        for source, value in PUBLISHED.items() if label in ("LSTM", "LSTM, both ways") and found.n else ():
            says = f"JapaneseVowels: {label} of 216 utterances is right more often than a kernel of 270"
            told.append(above(says, source, _of_utterances(arm, found), Interval(value, value, value, found.n), " %"))
    return told


def _of_utterances(arm: Arm, found: Interval) -> Interval:
    """The range of trials, and at least as wide as what the test part's number of utterances can tell."""
    count = len(next(probe for trial in arm.trials if (probe := trial.probe("speakers", "trained")))["taken for"])
    alone = estimates.proportion(round(found.estimate * count / 100), count)
    low, high = (100 * end for end in (alone.low, alone.high))
    return found._replace(low=float(np.fmin(found.low, low)), high=float(np.fmax(found.high, high)))


def _positive(says: str, source: str, differences: list[float], unit: str) -> Claim:
    found = estimates.mean(differences)
    claim = above(says, source, found, Interval(0.0, 0.0, 0.0, found.n), f" {unit}")
    return claim._replace(expected=f"above 0 {unit}")
