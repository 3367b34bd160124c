"""Training on sequences of unequal length, with noise, and with everything a model may have."""

import jax
import numpy as np
from tiny_training import TRAIN, run

from rnnlab.cells import LSTM
from rnnlab.model import Dropout
from rnnlab.tasks import Adding
from rnnlab.tasks.contract import check_task
from rnnlab.training.spec import TrialSpec

UNEQUAL = Adding(length=9, shortest=4)
DROPOUT = Dropout(between=0.2, variational=0.1, recurrent=0.1, zoneout_c=0.1, zoneout_h=0.1)


def test_a_sequence_is_the_problem_of_its_own_length():
    """Markers lie in the two halves of each sequence, the target is the sum of what they mark."""
    batch = UNEQUAL.sample(jax.random.key(0), 200)
    values, markers = np.moveaxis(np.asarray(batch.inputs), -1, 0)
    lengths = np.asarray(batch.lengths)
    assert set(lengths) == set(range(4, 10))
    for b, length in enumerate(lengths):
        first, second = np.flatnonzero(markers[:, b])
        assert first < round(length / 2) <= second < length
    np.testing.assert_allclose((values * markers).sum(0), batch.targets[0, :, 0], rtol=1e-6)
    check_task(UNEQUAL)
    assert UNEQUAL.needed_lag == 2


def test_trials_in_one_program_train_as_alone():
    """Two trials beside each other and one by one, its batch over two devices: the same training to rounding."""
    spec = TrialSpec(cell=LSTM(features=4), task=UNEQUAL, train=TRAIN, layers=2, residual=True, layer_norm=True)
    both, records, _ = run(spec, [0, 1])
    alone, _, _ = run(spec, [1])
    for one, two in zip(jax.tree.leaves(both.model), jax.tree.leaves(alone.model), strict=True):
        np.testing.assert_allclose(one[1], two[0], rtol=1e-4, atol=1e-6)
    taps = records[-1]["taps"][0][1]  # ||dL/dh|| [S, T] of the first layer: every sequence has lag 3
    assert taps.shape == (2, 9) and (taps[:, -4:] > 0).all()


def test_noise_is_drawn_anew_at_each_update_and_again_the_same():
    spec = TrialSpec(cell=LSTM(features=4), task=Adding(length=6), train=TRAIN, layers=2, dropout=DROPOUT)
    first, second, plain = (run(s, [0])[0] for s in (spec, spec, TrialSpec(**(vars_of(spec) | {"dropout": Dropout()}))))
    for one, two in zip(jax.tree.leaves(first.model), jax.tree.leaves(second.model), strict=True):
        np.testing.assert_array_equal(one, two)
    assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(first.model), jax.tree.leaves(plain.model), strict=True))


def vars_of(spec):
    return {name: getattr(spec, name) for name in ("cell", "task", "train", "layers")}
