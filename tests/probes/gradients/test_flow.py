"""Log-space gradient flow against closed forms and against the direct gradient in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.model import SequenceModel
from rnnlab.probes.gradients import flow as probe
from rnnlab.probes.gradients.horizon import memory_horizon

# Compiled as a whole: op by op, as Python would run it, compiling takes longer than the test
gradient_flow = jax.jit(probe.gradient_flow, static_argnums=(2, 3))

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}


def linear(a, dtype="float32", features=4):
    spec = VanillaRNN(
        features=features, activation="linear", recurrent="identity", spectral_radius=a, dtype=dtype, param_dtype=dtype
    )
    return SequenceModel(spec, 1, 1, rngs=nnx.Rngs(0))


def last_output(outputs):
    return outputs[-1, :, 0]


@pytest.mark.parametrize("a", [0.5, 0.9, 1.0, 1.1])
def test_a_linear_network_with_w_equal_a_i_gives_a_to_the_k(a):
    """||dL/dh_{T-1-k}|| = |a|^k exactly: W = aI and no nonlinearity."""
    model = linear(a, "float64")
    log10 = gradient_flow(model, jnp.zeros((60, 2, 1)), last_output)["layer0/h"].log10()
    w_h = float(model.cells[0].w_h[0, 0])
    want = np.arange(60) * np.log10(w_h)
    np.testing.assert_allclose(log10 - log10[0], np.repeat(want[:, None], 2, 1), atol=1e-12)
    np.testing.assert_allclose(10 ** log10[0], np.linalg.norm(model.readout.kernel[...]), rtol=1e-12)


def test_no_underflow_at_lag_100_000():
    """a = .5 in float32: the norm is 2^-100000 there, and the slope exactly log 2 a step."""
    flow = gradient_flow(linear(0.5), jnp.zeros((100_001, 1, 1)), last_output)
    log10 = flow["layer0/h"].log10()[:, 0]
    np.testing.assert_allclose(log10[-1] - log10[0], -100_000 * np.log10(2), rtol=1e-12)
    found = memory_horizon(log10)
    np.testing.assert_allclose(found.decay_rate, -np.log(2), rtol=1e-12)
    np.testing.assert_allclose(found.half_life, 1, rtol=1e-12)
    assert found.horizon == 9 and not found.censored  # 2^-9 > 1e-3 > 2^-10


def model_and_batch(spec, length=40, batch=3, layers=1):
    model = SequenceModel(spec, 2, 2, layers=layers, rngs=nnx.Rngs(1))
    return model, jax.random.normal(jax.random.key(0), (length, batch, 2), jnp.float64)


def loss_of(outputs):
    return jnp.sum(jnp.square(outputs), axis=(0, 2))


def test_the_cell_path_is_the_running_product_of_the_forget_gates():
    """dL/dc_{T-1-k} along c_t = f c_{t-1} + ... is dL/dc_{T-1} times f_{T-1} ... f_{T-k}, element by element."""
    model, xs = model_and_batch(LSTM(features=5, forget_bias=2.0, **FLOAT64))
    traced = jax.jit(lambda m, xs: m.intermediates(xs))(model, xs)
    f, o, c, h = (traced[f"layer0/{name}"] for name in ("f", "o", "c", "h"))
    d_h = jax.grad(lambda h: jnp.sum(loss_of(model.readout(h)[None])))(h[-1])
    path, want = d_h * o[-1] * (1 - jnp.tanh(c[-1]) ** 2), []
    for k in range(len(xs)):
        want.append(jnp.log10(jnp.linalg.norm(path, axis=-1)))
        path = path * f[len(xs) - 1 - k]
    got = gradient_flow(model, xs, loss_of)["layer0/c cell path"].log10()
    np.testing.assert_allclose(got, jnp.stack(want), atol=1e-11)


def test_nothing_leaves_lag_0_of_a_vanilla_rnn_at_fixed_z():
    model, xs = model_and_batch(VanillaRNN(features=5, **FLOAT64))
    log10 = gradient_flow(model, xs, loss_of)["layer0/h cell path"].log10()
    assert np.isfinite(log10[0]).all() and np.isneginf(log10[1:]).all()


@pytest.mark.slow
@pytest.mark.parametrize("answers", [1, 7, 40])
@pytest.mark.parametrize(("spec", "layers"), [(LSTM, 1), (VanillaRNN, 1), (LSTM, 2)])
def test_log_space_equals_the_direct_gradient_and_the_taps(spec, layers, answers):
    """Float64, every lag, one loss or many: three computations give one number per example."""
    model, xs = model_and_batch(spec(features=5, **FLOAT64), layers=layers)
    flow = gradient_flow(model, xs, loss_of, answers)

    def total(taps):
        return jnp.sum(loss_of(model(xs, answers=answers, taps=taps, segment=16)))

    norms = jax.jit(jax.grad(total))(model.tap_zeros(*xs.shape[:2]))
    for name, norm in zip(jax.tree.leaves(model.names()), jax.tree.leaves(norms), strict=True):
        np.testing.assert_allclose(10 ** flow[name].log10(), norm[::-1], rtol=1e-9)
    # And h's against a gradient taken by itself, with respect to an addition to every h_t
    if layers == 1:
        cell = model.cells[0]

        def direct(additions):
            def step(carry, inputs):
                x, addition = inputs
                carry, h = cell(carry, x)
                h = h + addition
                return ((carry[0], h) if spec is LSTM else h), h

            _, hs = jax.lax.scan(step, model.initial_carry(3)[0], (xs, additions))
            return jnp.sum(loss_of(model.readout(hs[-answers:])))

        adjoint = jax.jit(jax.grad(direct))(jnp.zeros((40, 3, 5)))
        np.testing.assert_allclose(10 ** flow["layer0/h"].log10(), jnp.linalg.norm(adjoint, axis=-1)[::-1], rtol=1e-9)


def test_float32_flow_equals_float64_flow_far_beyond_float32s_range():
    """At lag 600 the norm is below 1e-45, the smallest float32, and still right to 1 %."""
    specs = (LSTM(features=8, forget_bias=-1.0), LSTM(features=8, forget_bias=-1.0, **FLOAT64))
    narrow, wide = (SequenceModel(spec, 2, 1, rngs=nnx.Rngs(0)) for spec in specs)
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(narrow)]
    wide = jax.tree.unflatten(jax.tree.structure(wide), leaves)
    xs = jax.random.normal(jax.random.key(0), (601, 2, 2))
    got = gradient_flow(narrow, xs.astype(jnp.float32), loss_of)["layer0/c"].log10()
    want = gradient_flow(wide, xs, loss_of)["layer0/c"].log10()
    assert (want[600] < -45).all()
    np.testing.assert_allclose(got, want, atol=0.005)


def test_flow_of_flaxs_own_cell():
    """A foreign cell has its flow; it has no projection, so no cell path."""
    spec = LSTM(features=5)
    model, xs = model_and_batch(spec)
    model.cells[0] = nnx.OptimizedLSTMCell(2, 5, rngs=nnx.Rngs(0), dtype=jnp.float64, param_dtype=jnp.float64)
    flow = gradient_flow(model, xs, loss_of)
    assert sorted(flow) == ["layer0/c", "layer0/h"]
    assert np.isfinite(flow["layer0/c"].log10()).all()


def test_float64_flow_is_right_far_below_float32s_range_within_one_step():
    """One step that shrinks by 1e-150: the scaling takes its limits from the type."""
    model = linear(1e-150, "float64")
    log10 = gradient_flow(model, jnp.zeros((4, 1, 1)), last_output)["layer0/h"].log10()[:, 0]
    np.testing.assert_allclose(log10 - log10[0], np.log10(float(model.cells[0].w_h[0, 0])) * np.arange(4), rtol=1e-12)
