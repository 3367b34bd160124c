"""Gates that are known: constant ones, and those that an initialisation is defined by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import nnx

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.model import SequenceModel
from rnnlab.probes.dynamics import gates as probe
from rnnlab.probes.dynamics.gates import carousel, saturated, time_scale
from rnnlab.probes.gradients.flow import gradient_flow

gate_map, gate_values = (jax.jit(f, static_argnames="layer") for f in (probe.gate_map, probe.gate_values))


def model_of(spec, layers=1):
    return SequenceModel(spec, 2, 1, layers=layers, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("f", [0.05, 0.5, 0.95, 0.999])
def test_constant_gates(f):
    """f throughout: tau = -1 / log f, f^k is left at lag k, and it is saturated always or never."""
    gate = jnp.full((30, 3, 4), f)
    np.testing.assert_allclose(time_scale(gate), -1 / np.log(f))
    np.testing.assert_allclose(carousel(gate), np.repeat(np.arange(30)[:, None] * np.log10(f), 4, 1), atol=1e-12)
    assert saturated(gate).left.tolist() == [f < 0.1] * 4 and saturated(gate).right.tolist() == [f > 0.9] * 4


def test_the_carousel_decays_by_its_time_scale():
    """tau averages log f, so exp(-(T-1) / tau) is the product of the T-1 gates that it was taken of."""
    f = jax.random.uniform(jax.random.key(0), (40, 3, 5), minval=0.2)
    np.testing.assert_allclose(carousel(f)[-1], -39 / time_scale(f[1:]) / np.log(10))


def test_zero_inputs_leave_every_gate_at_its_bias():
    """Then g = 0, so h stays 0: forget bias b gives f = sigmoid(b) in every unit, i = o = 1/2."""
    found = gate_map(model_of(LSTM(features=5, forget_bias=3.0)), jnp.zeros((20, 2, 2)))
    np.testing.assert_allclose(found.tau, 1 / np.log1p(np.exp(-3)), rtol=1e-5)
    plain = probe.gate_map(model_of(LSTM(features=5, forget_bias=3.0)), jnp.zeros((20, 2, 2)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, plain)
    assert sorted(found.saturation) == ["f", "i", "o"]  # g is no gate: its ends are -1 and 1
    assert found.saturation["f"].right.tolist() == [1] * 5  # sigmoid(3) = .953
    assert all(found.saturation[name].right.tolist() == [0] * 5 for name in "io")


def test_chrono_time_scales_are_uniform_up_to_the_longest_lag():
    """b_f = log U[1, T_max - 1] makes 1 / (1 - f) uniform in [2, T_max] (Tallec & Ollivier 2018, section 3)."""
    model = model_of(LSTM(features=400, bias="chrono", max_lag=1000, recurrent="identity"))
    tau = np.asarray(gate_map(model, jnp.zeros((2, 1, 2))).tau, np.float64)
    scale = 1 / -np.expm1(-1 / tau)
    assert scale.min() >= 2 and scale.max() <= 1000.1
    assert scipy.stats.kstest(scale, scipy.stats.uniform(2, 998).cdf).pvalue > 0.01
    np.testing.assert_allclose(scale[tau > 50] - tau[tau > 50], 0.5, atol=0.01)


def test_the_carousel_is_the_cell_path_of_gradient_flow():
    """One unit, one example: log10 |dL/dc| along the cell path falls from lag 0 by exactly the running product."""
    model = model_of(LSTM(features=1, dtype="float64", param_dtype="float64"))
    xs = jax.random.normal(jax.random.key(0), (25, 1, 2))
    flow = jax.jit(lambda model, xs: gradient_flow(model, xs, lambda outputs: outputs[-1, :, 0]))(model, xs)
    path = flow["layer0/c cell path"].log10()
    np.testing.assert_allclose(gate_map(model, xs).carousel, path - path[0], atol=1e-12)


def test_any_layer_can_be_read_and_a_single_step_has_lag_0_alone():
    model = model_of(LSTM(features=3), layers=2)
    xs = jax.random.normal(jax.random.key(0), (1, 2, 2), jnp.float32)
    below, top = gate_values(model, xs, layer=0), gate_values(model, xs)
    np.testing.assert_array_equal(top["f"], gate_values(model, xs, layer=1)["f"])
    assert not np.array_equal(below["f"], top["f"])
    np.testing.assert_array_equal(gate_map(model, xs).carousel, np.zeros((1, 3)))


def test_gates_at_their_ends_and_nan():
    ends = jnp.stack([jnp.zeros((9, 2)), jnp.ones((9, 2)), jnp.full((9, 2), jnp.nan)], axis=-1)
    np.testing.assert_array_equal(time_scale(ends), [0, np.inf, np.nan])
    np.testing.assert_array_equal(carousel(ends)[-1], [-np.inf, 0, np.nan])
    assert saturated(ends).left.tolist() == [1, 0, 0]
    assert saturated(ends).right.tolist() == [0, 1, 0]


class NoForgetGate(nnx.RNNCellBase):
    """An update gate u and nothing else."""

    def __init__(self):
        self.features = self.in_features = 2

    def projection(self):
        return jnp.eye(2), jnp.eye(2), jnp.zeros(2)

    def project(self, h, x):
        return h + x

    def gates(self, z):
        return {"u": jax.nn.sigmoid(z)}

    def __call__(self, carry, x):
        h = carry + self.gates(self.project(carry, x))["u"]
        return h, h

    def initialize_carry(self, input_shape, rngs=None, carry_init=None):
        return jnp.zeros((*input_shape[:-1], 2))

    @property
    def num_feature_axes(self):
        return 1


def test_a_cell_without_the_gate_asked_for_is_named():
    xs = jnp.zeros((4, 2, 2), jnp.float32)
    with pytest.raises(ValueError, match="VanillaRNNCell has no gates: its named internals are none"):
        gate_map(model_of(VanillaRNN(features=3)), xs)
    model = model_of(LSTM(features=2))
    model.cells[0] = NoForgetGate()
    with pytest.raises(ValueError, match="NoForgetGate has no forget gate f: its gates are u"):
        gate_map(model, xs)
    assert list(gate_values(model, xs)) == ["u"]
    model.cells[0] = nnx.OptimizedLSTMCell(2, 2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="OptimizedLSTMCell names no gates"):
        gate_map(model, xs)
