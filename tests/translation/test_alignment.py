"""IBM model 1 on a corpus small enough to be computed by hand, and beside its equations written out."""

import collections
import itertools
from fractions import Fraction

import numpy as np

from rnnlab.translation.alignment import NULL, ibm_model_1, most_likely

DAS, HAUS, BUCH, EIN = 1, 2, 3, 4
THE, HOUSE, BOOK, A = 11, 12, 13, 14
SOURCES, TARGETS = [[DAS, HAUS], [DAS, BUCH]], [[THE, HOUSE], [THE, BOOK]]


def test_two_iterations_by_hand():
    """First each of {empty, das, haus} makes a third of each word; then t(house | haus) = (1/2) / (1/2 + 1/3)."""
    one, two = (ibm_model_1(SOURCES, TARGETS, n) for n in (1, 2))
    np.testing.assert_allclose([one[DAS][THE], one[DAS][HOUSE], one[HAUS][HOUSE]], [1 / 2, 1 / 4, 1 / 2])
    np.testing.assert_allclose([two[DAS][THE], two[HAUS][HOUSE]], [4 / 7, 3 / 5])


def test_more_iterations_as_brown_et_al_write_them():
    sources, targets = [*SOURCES, [EIN, BUCH, BUCH]], [*TARGETS, [A, BOOK]]
    t = collections.defaultdict(lambda: Fraction(1))
    for _ in range(4):
        counts = collections.defaultdict(Fraction)
        for source, target in zip(sources, targets, strict=True):
            for f in target:
                total = sum(t[e, f] for e in [NULL, *source])
                for e in [NULL, *source]:
                    counts[e, f] += t[e, f] / total
        totals = collections.Counter()
        for (e, _), count in counts.items():
            totals[e] += count
        t = {key: count / totals[key[0]] for key, count in counts.items()}
    found = ibm_model_1(sources, targets, 4)
    for e, f in itertools.product((NULL, DAS, HAUS, BUCH, EIN), (THE, HOUSE, BOOK, A)):
        np.testing.assert_allclose(found[e].get(f, 0), float(t.get((e, f), 0)), rtol=1e-12)
    assert most_likely(found) | {NULL: 0} == {NULL: 0, DAS: THE, HAUS: HOUSE, BUCH: BOOK, EIN: A}
    for of in found.values():
        np.testing.assert_allclose(sum(of.values()), 1)
