"""How good translations are: BLEU, chrF and exact match."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from rnnlab.data.series import needs_extra


class Scores(NamedTuple):
    """Of one set of translations."""

    bleu: float  # of the corpus, 0 to 100: Papineni et al. 2002
    chrf: float  # of the corpus, 0 to 100: Popovic 2015
    exact: Float[np.ndarray, " n"]  # 1 where a sentence is its reference
    each_chrf: Float[np.ndarray, " n"]  # by sentence


def scores(translations: Sequence[str], references: Sequence[str]) -> Scores:
    """Of sentences as text, one reference each; sacrebleu's defaults (`signatures`)."""
    bleu, chrf = _metrics()
    exact = np.array([a == b for a, b in zip(translations, references, strict=True)], np.float64)
    each = [chrf.sentence_score(a, [b]).score for a, b in zip(translations, references, strict=True)]
    corpus = [metric.corpus_score(list(translations), [list(references)]).score for metric in (bleu, chrf)]
    return Scores(*map(float, corpus), exact, np.array(each))


def signatures() -> list[str]:
    """What others must set to find the same scores."""
    found = []
    for metric in _metrics():
        metric.corpus_score(["a"], [["a"]])
        found.append(f"{metric.get_signature()}")
    return found


def _metrics():
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError as error:
        raise needs_extra(error) from error
    return BLEU(), CHRF()
