"""The first quantity that diverges is named, and a run's post-mortem replays it."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.model import SequenceModel
from rnnlab.probes.training.divergence import first_divergence


def network(cell, layers=1):
    return SequenceModel(cell, 2, 1, layers=layers, rngs=nnx.Rngs(0))


def squares(outputs):
    return jnp.sum(jnp.square(outputs), axis=(0, 2))


XS = jax.random.normal(jax.random.key(0), (30, 3, 2))


def test_a_finite_network_does_not_diverge():
    assert first_divergence(network(LSTM(features=4)), XS, squares) is None


def test_a_growing_state_diverges_at_the_step_where_it_passes_the_bound():
    """h_t = 2 h_{t-1} + x_t with x an impulse at step 3 is 2^(t-3): above 100 first at step 10."""
    model = network(VanillaRNN(features=1, activation="linear"))
    cell = model.cells[0]
    cell.w_h[...], cell.w_x[...] = jnp.full((1, 1), 2.0, "float32"), jnp.ones((2, 1), "float32")
    xs = jnp.zeros((20, 2, 2)).at[3, 1, 0].set(1.0)
    found = first_divergence(model, xs, squares, bound=100.0)
    assert (found.quantity, found.step, found.example, found.value) == ("layer0/h", 10, 1, 128.0)


def test_a_nan_is_named_where_it_entered():
    model = network(LSTM(features=4), layers=2)
    found = first_divergence(model, XS.at[7, 2, 0].set(jnp.nan), squares)
    assert (found.quantity, found.step, found.example) == ("inputs", 7, 2)
    model.cells[1].w_h[...] = model.cells[1].w_h[...].at[0, 0].set(jnp.nan)
    found = first_divergence(model, XS, squares)
    assert "cells" in found.quantity and "w_h" in found.quantity and found.step is None


def test_a_gradient_that_float32_cannot_hold_is_named_though_all_is_finite_forwards():
    """A linear network at rest: states stay 0 while the adjoint grows tenfold a step, past 1e38 at lag 39."""
    model = network(VanillaRNN(features=2, activation="linear"))
    model.cells[0].w_h[...] = 10 * jnp.eye(2, dtype="float32")
    found = first_divergence(model, jnp.zeros((60, 1, 2)), lambda outputs: jnp.sum(outputs, axis=(0, 2)))
    assert found.quantity == "log10 norm of dL/d layer0/h" and 59 - found.step == pytest.approx(39, abs=1)
    assert 38.5 < found.value < 40
