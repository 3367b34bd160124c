"""Scores of translations whose values are known."""

import numpy as np

from rnnlab.translation.scores import scores, signatures


def test_a_copy_is_perfect_and_what_shares_nothing_scores_nothing():
    references = ["ciento veintiuno mil cuatro", "noventa y nueve mil dos"]
    same, other = scores(references, references), scores(["xx zz", "qq"], references)
    np.testing.assert_allclose([same.bleu, same.chrf], 100)
    assert same.exact.tolist() == [1, 1] and other.exact.tolist() == [0, 0]
    assert other.chrf == 0 and other.bleu == 0


def test_bleu_is_brevity_times_precision():
    """Of 8 words the first 7: all n-grams match, exp(1 - 8/7) is the penalty (Papineni et al. 2002, section 2.3)."""
    reference = "a b c d e f g h"
    np.testing.assert_allclose(scores(["a b c d e f g"], [reference]).bleu, 100 * np.exp(1 - 8 / 7), rtol=1e-6)


def test_chrf_of_one_character_too_many():
    """n-grams up to order 6 of abcdef and abcdefg, beta 2 (Popovic 2015): each order's F from its own counts."""
    precision = np.mean([(7 - n) / (8 - n) for n in range(1, 7)])
    expected = 100 * 5 * precision / (4 * precision + 1)
    np.testing.assert_allclose(scores(["abcdefg"], ["abcdef"]).chrf, expected, rtol=1e-6)


def test_what_others_must_set():
    assert all("nrefs:1" in signature and "version:2" in signature for signature in signatures())
