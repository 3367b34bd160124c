"""ReLUs with the identity keep a state and its gradient as they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import IRNN, VanillaRNN
from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.flow import gradient_flow


def test_it_is_a_vanilla_rnn_with_another_start():
    """Of the same seed w_h and b are those of a ReLU RNN with the identity; w_x is N(0, .001^2), Le et al. 2015."""
    cell = IRNN(features=100).build(200, rngs=nnx.Rngs(0))
    vanilla = VanillaRNN(features=100, activation="relu", recurrent="identity").build(200, rngs=nnx.Rngs(0))
    assert type(cell) is type(vanilla) and cell.activation == "relu"
    np.testing.assert_array_equal(cell.w_h[...], np.eye(100))
    np.testing.assert_array_equal(cell.b[...], np.zeros(100))
    w_x = np.asarray(cell.w_x[...], np.float64)
    np.testing.assert_allclose([w_x.mean(), w_x.std()], [0, 1e-3], atol=2e-5)
    np.testing.assert_allclose(np.mean(np.abs(w_x) < 1e-3), 0.6827, atol=0.01)  # normal, not only of that deviation


def test_a_positive_state_stays_bit_exactly_without_input_and_falls_by_the_scale_of_the_identity():
    state, silence = jnp.array([[0.3, 2.0, 1e-3]], jnp.float32), jnp.zeros((20, 1, 2), jnp.float32)
    for scale, spec in ((1.0, IRNN(features=3)), (0.5, IRNN(features=3, spectral_radius=0.5))):
        last, _ = jax.lax.scan(spec.build(2, rngs=nnx.Rngs(0)), state, silence)
        np.testing.assert_array_equal(last, state * np.float32(scale) ** 20)


@pytest.mark.slow
def test_its_gradient_has_one_norm_at_every_lag_where_all_units_are_on():
    """And that of a network at 0.5 I falls by exactly a factor of 2 a step."""
    for scale in (1.0, 0.5):
        model = SequenceModel(IRNN(features=4, spectral_radius=scale), 2, 1, rngs=nnx.Rngs(0))
        model.cells[0].b[...] = jnp.ones(4, jnp.float32)
        flow = gradient_flow(model, jnp.ones((30, 2, 2), jnp.float32), lambda outputs: outputs[-1, :, 0])[
            "layer0/h"
        ].log10()
        lags = np.arange(30)[:, None]
        np.testing.assert_allclose(flow - flow[0], np.log10(scale) * lags * np.ones(2), atol=1e-6)
