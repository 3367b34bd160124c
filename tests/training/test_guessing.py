"""Random weight guessing: weights fill the whole range, and what can be guessed is solved as often as it should be."""

import jax
import numpy as np
from flax import nnx

from rnnlab.cells import VanillaRNN
from rnnlab.model import SequenceModel
from rnnlab.tasks import Adding
from rnnlab.training.guessing import guess


def guessed(task, guesses):
    model = SequenceModel(VanillaRNN(features=1), 2, 1, rngs=nnx.Rngs(0))
    return guess(model, task, task.held_out(jax.random.key(0), 64), jax.random.key(1), guesses)


def test_adding_over_fifty_steps_is_not_guessed():
    found = guessed(Adding(length=50), 64)
    assert found.solved.shape == found.accuracy.shape == (64,)
    assert not found.solved.any() and float(found.accuracy.max()) < 0.5


def test_a_wide_tolerance_is_met_as_often_as_its_area_predicts():
    """A saturated unit outputs b + w or b - w. With w and b from U[-100, 100] both lie within 50 of about 0 in a share
    2 * 50^2 / 200^2 = .125 of draws, one of them in 1 - .75^2 = .4375; which of the two a network needs depends on its
    inputs."""
    found = guessed(Adding(length=4, tolerance=50.0), 512)
    assert 0.1 < float(found.solved.mean()) < 0.46
    assert guessed(Adding(length=4, tolerance=1e4), 32).solved.all()
    np.testing.assert_array_equal(found.solved, guessed(Adding(length=4, tolerance=50.0), 512).solved)
