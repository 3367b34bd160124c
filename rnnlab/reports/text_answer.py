"""What `experiments/text.py` answers: which networks lose to what has none, and what memory buys."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rnnlab.reports.tables import listed
from rnnlab.reports.text_tables import (
    FAR,
    bits,
    compressors,
    four_places,
    ngrams,
    on_marks,
    on_text,
    saved_by_memory,
)
from rnnlab.runs.results import Arm, Results
from rnnlab.stats import estimates


def answer(results: Results) -> str:
    """Which networks lose to what has none, what far memory buys, and how far back each cell tells a mark."""
    said = [*_on_text(results), *_on_marks(on_marks(results))]
    return " ".join(said) or "Nothing was trained."


def _on_text(results: Results) -> list[str]:
    arms = on_text(results)
    known = {label: found.estimate for label, arm in arms.items() if (found := bits(arm)).n}
    if not known:
        return []
    best, *others = sorted(known, key=known.__getitem__)
    rest = "".join(f", {label} {known[label]:.2f}" for label in others)
    said = f"On the test part of {arms[best].card.name} {best} needs {known[best]:.2f} bits a character{rest}"
    models, xz = ngrams(results), compressors(results).get("xz", math.inf)
    references = {}
    if models:
        order = min(models, key=models.__getitem__)
        references[f"the best n-gram model (order {order}: {models[order]:.2f})"] = models[order]
    if xz < max(known.values()):
        references[f"xz ({xz:.2f})"] = xz
    lost = [f"{_losers(known, value)} more than {name}" for name, value in references.items()]
    said += f": {', '.join(lost)}." if lost else "."
    saved = {label: found for label, arm in arms.items() if (found := estimates.mean(arm.each(saved_by_memory))).n}
    if not saved:
        return [said]
    gains = [f"{label} {four_places(found)} bits" for label, found in saved.items() if found.low > 0]
    rest = [label for label, found in saved.items() if not found.low > 0]
    told = [listed(gains)] if gains else []
    told += [f"{listed(rest)} nothing that can be told from 0"] if rest else []
    return [said, f"{FAR[1]:,} characters read instead of {FAR[0]:,} save {', and '.join(told)}."]


def _losers(known: Mapping[str, float], reference: float) -> str:
    """The labels that need more bits than a reference."""
    found = [label for label, value in known.items() if value > reference]
    return "none" if not found else "all" if len(found) == len(known) else listed(found)


def _on_marks(marks: Mapping[str, Mapping[int, Arm]]) -> list[str]:
    if not marks:
        return []
    furthest = {}
    for label, arms in marks.items():
        furthest[label] = max((d for d, arm in arms.items() if 2 * arm.learned > len(arm.trials)), default=0)
    told = [f"{f'up to {d:,} characters ago' if d else 'at no distance'} by {label}" for label, d in furthest.items()]
    return [f"Which mark was opened is learned in most trials {listed(told)}."]
