"""dL/dx by lag against the whole backward pass, and beyond the range of float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.input_gradient import input_gradient, input_gradient_of_last_answer


@pytest.mark.slow
def test_it_is_the_norm_of_the_gradient_with_respect_to_each_input():
    """Lag 0 first; several answers and layers."""
    model = SequenceModel(LSTM(features=5), 2, 3, layers=2, rngs=nnx.Rngs(0))
    inputs = jax.random.normal(jax.random.key(1), (12, 4, 2))

    def losses(outputs):
        return jnp.sum(outputs**2, axis=(0, 2))

    gradient = jax.grad(lambda inputs: jnp.sum(losses(model(inputs, answers=3))))(inputs)
    found = input_gradient(model, inputs, losses, 3)["dx"].log10()
    np.testing.assert_allclose(found, np.log10(np.linalg.norm(gradient, axis=-1))[::-1], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_no_lag_underflows():
    """x_t enters h_t by w_x; then W = .1 I and no nonlinearity: ||dL/dx|| falls by 10 a step, over 300."""
    model = SequenceModel(VanillaRNN(features=3, activation="linear"), 1, 1, rngs=nnx.Rngs(0))
    model.cells[0].w_h[...] = 0.1 * jnp.eye(3, dtype=jnp.float32)
    found = input_gradient(model, jnp.ones((300, 1, 1)), lambda outputs: outputs[-1, :, 0], 1)["dx"].log10()[:, 0]
    np.testing.assert_allclose(np.diff(found), -1, rtol=1e-4)


def test_of_the_last_of_many_answers_a_network_without_recurrence_sees_its_own_input_alone():
    """The mean over answers would show a gradient at every lag."""
    model = SequenceModel(VanillaRNN(features=3), 1, 1, rngs=nnx.Rngs(0))
    model.cells[0].w_h[...] *= 0
    xs = jax.random.normal(jax.random.key(0), (6, 2, 1), jnp.float32)

    def losses(outputs):
        return jnp.mean(outputs[..., 0] ** 2, axis=0)

    every, last = (
        probe(model, xs, losses, 6)["dx"].log10() for probe in (input_gradient, input_gradient_of_last_answer)
    )
    assert np.isfinite(every).all() and np.isfinite(last[0]).all() and (last[1:] == -np.inf).all()
    np.testing.assert_allclose(last[0], every[0], rtol=1e-5)
