"""The minimal gated unit is a GRU with one gate for two."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import MGU, GRUResetBefore
from rnnlab.model import SequenceModel
from rnnlab.probes.dynamics.gates import gate_map, gate_values

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
D, H = 3, 5


def run(cell, xs):
    return jax.lax.scan(cell, cell.initialize_carry(xs.shape[1:]), xs)[1]


def inputs():
    return jax.random.normal(jax.random.key(1), (9, 2, D), jnp.float64)


def cell_with_biases():
    cell = MGU(features=H, forget_bias=-1.0, **FLOAT64).build(D, rngs=nnx.Rngs(0))
    cell.b[...] += jax.random.normal(jax.random.key(2), (2 * H,), jnp.float64)
    return cell


def test_values_equal_numpy():
    cell = cell_with_biases()
    w_x, w_h, b = (np.asarray(w[...]) for w in (cell.w_x, cell.w_h, cell.b))
    h, want = np.zeros((2, H)), []
    for x in np.asarray(inputs()):
        f = 1 / (1 + np.exp(-(x @ w_x[:, :H] + h @ w_h[:, :H] + b[:H])))
        h = (1 - f) * h + f * np.tanh(x @ w_x[:, H:] + (f * h) @ w_h[:, H:] + b[H:])
        want.append(h)
    np.testing.assert_allclose(run(cell, inputs()), want, rtol=1e-12)


def test_it_is_a_gru_whose_update_gate_keeps_what_its_reset_gate_hides():
    """r = f and u = 1 - f: the weights of u are those of r with the other sign."""
    cell = cell_with_biases()
    gru = GRUResetBefore(features=H, **FLOAT64).build(D, rngs=nnx.Rngs(0))
    for mine, its in ((cell.w_x, gru.w_x), (cell.w_h, gru.w_h), (cell.b, gru.b)):
        f, n = jnp.split(mine[...], 2, axis=-1)
        its[...] = jnp.concatenate([f, -f, n], axis=-1)
    np.testing.assert_allclose(run(cell, inputs()), run(gru, inputs()), rtol=1e-12)


def test_two_thirds_of_a_grus_parameters_and_the_bias_is_the_gates():
    cell = MGU(features=H, forget_bias=-3.0).build(D, rngs=nnx.Rngs(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(cell)) == 2 * H * (D + H + 1)
    np.testing.assert_array_equal(cell.b[...], [-3] * H + [0] * H)


def test_its_gate_is_read_but_no_time_scale_is_made_of_it():
    """Where it is open h is replaced: -1 / log f is no time scale of the state."""
    model = SequenceModel(MGU(features=H), D, 1, rngs=nnx.Rngs(0))
    xs = inputs().astype(jnp.float32)
    assert {name: gate.shape for name, gate in gate_values(model, xs).items()} == {"forget": (9, 2, H)}
    with pytest.raises(ValueError, match="MGUCell has no forget gate f"):
        gate_map(model, xs)
