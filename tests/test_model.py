"""The model: outputs where they are asked, intermediates on request, layers, and Flax's own cells."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.model import SequenceModel

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}


def model_of(spec, layers=1):
    return SequenceModel(spec, 3, 2, layers=layers, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("spec", [LSTM, VanillaRNN])
@pytest.mark.parametrize("answers", [1, 4, 9, None])
def test_outputs_at_the_last_steps_are_those_of_the_whole_sequence(spec, layers, answers):
    """However few answers are asked for, they equal the plain scan's, from `intermediates`."""
    model = model_of(spec(features=5, **FLOAT64), layers)
    xs = jax.random.normal(jax.random.key(0), (9, 2, 3))
    want = jax.jit(lambda m, xs: m.intermediates(xs)["outputs"])(model, xs)
    got = jax.jit(lambda m, xs: m(xs, answers=answers))(model, xs)
    np.testing.assert_allclose(got, want[-(answers or 9) :], rtol=1e-10)


def test_intermediates_are_the_recurrence_step_by_step():
    """h_t, c_t and every gate by name, checked against c_t = f c_{t-1} + i g and h_t = o tanh(c_t)."""
    model = model_of(LSTM(features=5, **FLOAT64), layers=2)
    xs = jax.random.normal(jax.random.key(0), (9, 2, 3))
    found = jax.jit(lambda m, xs: m.intermediates(xs))(model, xs)
    assert sorted(found) == sorted([f"layer{k}/{n}" for k in (0, 1) for n in "chifgo"] + ["outputs"])
    for layer in ("layer0", "layer1"):
        c, h, i, f, g, o = (np.asarray(found[f"{layer}/{name}"]) for name in "chifgo")
        before = np.concatenate([np.zeros_like(c[:1]), c[:-1]])
        np.testing.assert_allclose(c, f * before + i * g, rtol=1e-10)
        np.testing.assert_allclose(h, o * np.tanh(c), rtol=1e-10)


def test_intermediates_cost_nothing_when_not_read():
    """jit prunes what is not read: the program with outputs alone keeps no [T, B, H] of gates."""
    model = model_of(LSTM(features=32))
    xs = jax.ShapeDtypeStruct((512, 4, 3), jnp.float32)

    def memory(read):
        return jax.jit(lambda m, xs: read(m.intermediates(xs))).lower(model, xs).compile().memory_analysis()

    alone, everything = memory(lambda found: found["outputs"]), memory(lambda found: found)
    gates = 6 * 512 * 4 * 32 * 4  # bytes of c, h, i, f, g, o over time
    assert everything.output_size_in_bytes - alone.output_size_in_bytes >= gates
    assert alone.temp_size_in_bytes < gates / 2


def test_flaxs_own_cell_in_the_model():
    model = model_of(LSTM(features=5))
    model.cells[0] = nnx.GRUCell(3, 5, rngs=nnx.Rngs(0))
    xs = jax.random.normal(jax.random.key(0), (6, 2, 3), jnp.float32)
    outputs = model(xs, answers=2)
    assert outputs.shape == (2, 2, 2)
    norms = jax.grad(lambda taps: jnp.sum(model(xs, answers=2, taps=taps)))(model.tap_zeros(6, 2))
    assert norms[0].shape == (6, 2) and (np.asarray(norms[0]) > 0).all()


def test_bfloat16_keeps_its_cell_state_and_its_outputs_in_float32():
    model = model_of(LSTM(features=5, dtype="bfloat16"))
    xs = jax.random.normal(jax.random.key(0), (6, 2, 3), jnp.float32)
    found = model.intermediates(xs)
    assert found["layer0/c"].dtype == jnp.float32 and found["layer0/h"].dtype == jnp.bfloat16
    assert model(xs).dtype == jnp.float32
    gradient = jax.grad(lambda m: jnp.sum(m(xs)))(model)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(gradient))
