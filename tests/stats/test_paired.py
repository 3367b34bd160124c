"""Paired tests equal the textbooks'; their intervals cover."""

import math

import numpy as np
import pytest
import scipy.stats

from rnnlab.stats import paired

# Darwin's maize, cross- less self-fertilised plants, height in eighths of an inch: Fisher 1935, section 17.
MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def test_darwins_maize():
    """Fisher's t is 2.148 with 14 degrees of freedom; the signed ranks' lesser sum is 24, p = 0.0413 of 2^15 signs."""
    found = paired.differences(MAIZE, [0] * 15)
    half = (found.mean.high - found.mean.low) / 2
    assert found.mean.estimate / half * scipy.stats.t.ppf(0.975, 14) == pytest.approx(2.148, abs=1e-3)
    assert found.median.estimate == 24
    assert found.p == pytest.approx(0.041260, abs=1e-6)


@pytest.mark.parametrize("n", [1, 3, 5, 6])
def test_few_pairs_cannot_be_significant(n):
    """All n differences on one side: p = 2^(1-n), above 0.05 up to five pairs; ties change nothing."""
    for a in ([float(i + 1) for i in range(n)], [1.0] * n):
        assert paired.differences(a, [0.0] * n).p == pytest.approx(2.0 ** (1 - n))


def test_pairs_that_are_equal():
    assert paired.differences([2.0, 3.0], [2.0, 3.0]) == ((0, 0, 0, 2), (0, 0, 0, 2), 1)
    found = paired.differences([], [])
    assert math.isnan(found.p) and found.mean.n == 0
    assert 0 < paired.differences([1.0, 1.0, 4.0, 2.0], [1.0, 1.0, 0.0, 0.0]).p <= 1  # zeros take part, as Pratt's


def test_mcnemars_exact_test():
    """Of 21 pairs that differ 5 are on one side: twice a binomial tail."""
    a, b = [True] * 16 + [False] * 5 + [True] * 9, [False] * 16 + [True] * 5 + [True] * 9
    found = paired.success_difference(a, b)
    tail = sum(math.comb(21, k) for k in range(6)) / 2**21
    assert (found.only_a, found.only_b, found.difference.estimate) == (16, 5, 11 / 30)
    assert found.p == pytest.approx(2 * tail, rel=1e-12)
    assert paired.success_difference([True] * 4, [True] * 4).p == 1


def test_the_interval_of_a_success_difference_covers():
    """Every outcome of 5 and of 10 pairs, by its probability: at least .94 on the mean over true rates, .9 at each."""
    for n in (5, 10):
        covered = []
        for up, down in ((0.1, 0.1), (0.3, 0.1), (0.6, 0.1), (0.4, 0.4), (0.9, 0.05), (0.02, 0.02)):
            total = 0.0
            for i in range(n + 1):
                for j in range(n + 1 - i):
                    a, b = [True] * i + [False] * (n - i), [False] * i + [True] * j + [False] * (n - i - j)
                    found = paired.success_difference(a, b).difference
                    weight = scipy.stats.multinomial.pmf([i, j, n - i - j], n, [up, down, 1 - up - down])
                    total += weight * (found.low <= up - down <= found.high)
            covered.append(total)
        assert np.mean(covered) >= 0.94 and min(covered) >= 0.9


def test_one_outcome_a_seed():
    assert paired.success_difference([], []).difference.n == 0
    with pytest.raises(ValueError, match="pairs need one of each"):
        paired.differences([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="not finite"):
        paired.differences([math.inf], [1.0])


def test_holms_correction():
    """p.adjust(c(.01, .04, .03, .005), "holm") of R; a test that was not made does not count."""
    np.testing.assert_allclose(paired.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(paired.holm([0.3, math.nan, 0.6]), [0.6, math.nan, 0.6])
    assert paired.holm([]) == []
