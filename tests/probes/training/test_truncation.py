"""The bias of a truncated gradient has a closed form in a linear network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.model import SequenceModel
from rnnlab.probes.training.truncation import truncation_bias

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}


def last(outputs):
    return outputs[-1, :, 0]


def test_in_a_linear_network_it_is_the_tail_of_a_geometric_series():
    """h_t = a h_{t-1} + w x_t with x = 1 and w = 1, loss h_T: dL/dw = dL/db = sum of a^k over the lags that are left,
    dL/da = sum of a^k h_{T-1-k}; the readout's gradient is whole."""
    a, steps = 0.9, 12
    model = SequenceModel(VanillaRNN(features=1, activation="linear", **FLOAT64), 1, 1, rngs=nnx.Rngs(0))
    cell = model.cells[0]
    cell.w_h[...], cell.w_x[...], model.readout.kernel[...] = (jnp.full((1, 1), value) for value in (a, 1.0, 1.0))
    found = truncation_bias(model, jnp.ones((steps, 1, 1)), last, truncations=[1, 3, 5, 50])
    h = np.array([(1 - a**t) / (1 - a) for t in range(steps + 1)])

    def gradient(k):
        powers = a ** np.arange(k)
        return np.array([powers.sum(), powers.sum(), (powers * h[steps - 1 - np.arange(k)]).sum(), h[-1], 1])

    full = gradient(steps)
    np.testing.assert_array_equal(found.truncation, [1, 3, 5, steps])
    for k, error, cosine, length in zip(*found, strict=True):
        one = gradient(int(k))
        np.testing.assert_allclose(error, np.linalg.norm(one - full) / np.linalg.norm(full), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(cosine, one @ full / np.linalg.norm(one) / np.linalg.norm(full), rtol=1e-10)
        np.testing.assert_allclose(length, np.linalg.norm(one) / np.linalg.norm(full), rtol=1e-10)


@pytest.mark.slow
def test_windows_with_the_carry_handed_on_give_the_same_gradient():
    """An LSTM of two layers with a loss at every step: the sum of the windows' own gradients, carry held constant."""
    model = SequenceModel(LSTM(features=3, **FLOAT64), 2, 1, layers=2, rngs=nnx.Rngs(0))
    xs = jax.random.normal(jax.random.key(0), (8, 2, 2), jnp.float64)

    def losses(outputs):
        return jnp.sum(outputs[..., 0] ** 2, axis=0)

    def windows(model, size):
        carry, total = None, 0.0
        for start in range(0, 8, size):
            outputs, carry = model(xs[start : start + size], carry=carry, return_carry=True)
            carry, total = jax.lax.stop_gradient(carry), total + jnp.mean(losses(outputs))
        return total

    full, cut = (jax.tree.leaves(jax.jit(jax.grad(windows), static_argnums=1)(model, size)) for size in (8, 4))
    full, cut = (np.concatenate([np.ravel(leaf) for leaf in leaves]) for leaves in (full, cut))
    found = truncation_bias(model, xs, losses, 8, truncations=[4])
    np.testing.assert_allclose(
        found.error, [np.linalg.norm(cut - full) / np.linalg.norm(full), 0], rtol=1e-9, atol=1e-12
    )


def test_a_truncation_of_no_steps_is_refused():
    model = SequenceModel(LSTM(features=3), 2, 1, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="truncations: 0: must be at least 1 step"):
        truncation_bias(model, jnp.ones((4, 1, 2)), last, truncations=[0, 2])
