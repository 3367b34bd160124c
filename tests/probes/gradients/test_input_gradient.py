"""dL/dx by lag against the whole backward pass, and beyond the range of float32."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.input_gradient import input_gradient


def test_it_is_the_norm_of_the_gradient_with_respect_to_each_input():
    """Lag 0 first; several answers and layers."""
    model = SequenceModel(LSTM(features=5), 2, 3, layers=2, rngs=nnx.Rngs(0))
    inputs = jax.random.normal(jax.random.key(1), (12, 4, 2))

    def losses(outputs):
        return jnp.sum(outputs**2, axis=(0, 2))

    gradient = jax.grad(lambda inputs: jnp.sum(losses(model(inputs, answers=3))))(inputs)
    found = input_gradient(model, inputs, losses, 3)["dx"].log10()
    np.testing.assert_allclose(found, np.log10(np.linalg.norm(gradient, axis=-1))[::-1], rtol=1e-4, atol=1e-4)


def test_no_lag_underflows():
    """x_t enters h_t by w_x; then W = .1 I and no nonlinearity: ||dL/dx|| falls by 10 a step, over 300."""
    model = SequenceModel(VanillaRNN(features=3, activation="linear"), 1, 1, rngs=nnx.Rngs(0))
    model.cells[0].w_h[...] = 0.1 * jnp.eye(3, dtype=jnp.float32)
    found = input_gradient(model, jnp.ones((300, 1, 1)), lambda outputs: outputs[-1, :, 0], 1)["dx"].log10()[:, 0]
    np.testing.assert_allclose(np.diff(found), -1, rtol=1e-4)
