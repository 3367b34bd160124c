"""Who speaks in JapaneseVowels, without a recurrent network."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rnnlab.data.japanese_vowels import JapaneseVowelsData, Utterances


def accuracies(data: JapaneseVowelsData) -> dict[str, float]:
    """On the test part, fitted to the training and validation parts together: all 270 that are given for training."""
    from sklearn.linear_model import LogisticRegression  # here: it takes a second to import

    known = [np.concatenate([one, two]) for one, two in zip(data.training, data.validation, strict=True)]
    fitted = Utterances(*known)
    line = LogisticRegression(max_iter=2000).fit(means(fitted), fitted.speakers)
    return {
        "always the first speaker": float(np.mean(data.test.speakers == 0)),
        "logistic regression on the mean step": float(line.score(means(data.test), data.test.speakers)),
        "nearest by dynamic time warping": float(np.mean(nearest_by_warping(fitted, data.test) == data.test.speakers)),
    }


def means(part: Utterances) -> Float[np.ndarray, "n D"]:
    """The mean step of each."""
    return part.steps.sum(axis=1) / part.lengths[:, None]


def nearest_by_warping(known: Utterances, asked: Utterances) -> np.ndarray:
    """The speaker of the utterance at the smallest warped distance (Sakoe & Chiba 1978, without a window)."""
    found = []
    for steps, length in zip(asked.steps, asked.lengths, strict=True):
        distances = warped(steps[:length], known)
        found.append(known.speakers[np.argmin(distances)])
    return np.array(found)


def warped(one: Float[np.ndarray, "T D"], known: Utterances) -> Float[np.ndarray, " n"]:
    """Sums of squared distances along the best alignment of one utterance with each of n."""
    cost = ((one[None, :, None] - known.steps[:, None]) ** 2).sum(axis=-1)  # [n, T, S]
    table = np.full((len(cost), len(one) + 1, cost.shape[2] + 1), np.inf)
    table[:, 0, 0] = 0
    for i in range(1, table.shape[1]):
        for j in range(1, table.shape[2]):
            best = np.minimum(np.minimum(table[:, i - 1, j], table[:, i, j - 1]), table[:, i - 1, j - 1])
            table[:, i, j] = cost[:, i - 1, j - 1] + best
    return table[np.arange(len(cost)), -1, known.lengths]
