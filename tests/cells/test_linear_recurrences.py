"""MinGRU, MinLSTM and LRU: their published equations, and what a linear recurrence makes exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import LRU, MinGRU, MinLSTM
from rnnlab.model import SequenceModel
from rnnlab.probes.dynamics.gates import gate_map
from rnnlab.probes.dynamics.lyapunov import lyapunov_spectrum
from rnnlab.probes.gradients.flow import gradient_flow
from rnnlab.probes.gradients.paths import gradient_paths

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
T, B, D, H = 9, 2, 3, 4


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def positive(x):
    return np.where(x >= 0, x + 0.5, sigmoid(x))


def numpy_min_gru(cell, xs, g=positive):
    """In the paper's letters: h_t = (1 - z) h_{t-1} + z g, its update gate z being sigmoid of minus ours."""
    (w_f, w_g), (b_f, b_g) = np.split(np.array(cell.w_x[...]), 2, axis=1), np.split(np.array(cell.b[...]), 2)
    h, hs = np.zeros((B, H)), []
    for x in xs:
        z = sigmoid(-(x @ w_f + b_f))
        h = (1 - z) * h + z * g(x @ w_g + b_g)
        hs.append(h)
    return np.stack(hs)


def numpy_min_lstm(cell, xs):
    parts = zip(np.split(np.array(cell.w_x[...]), 3, axis=1), np.split(np.array(cell.b[...]), 3), strict=True)
    (w_i, b_i), (w_f, b_f), (w_g, b_g) = parts
    h, hs = np.zeros((B, H)), []
    for x in xs:
        f, i = sigmoid(x @ w_f + b_f), sigmoid(x @ w_i + b_i)
        h = f / (f + i) * h + i / (f + i) * positive(x @ w_g + b_g)
        hs.append(h)
    return np.stack(hs)


def numpy_lru(cell, xs):
    """With the matrices B, C and D of the paper, complex, of N = H/2 units."""
    nu, theta, gamma = (np.exp(np.array(p[...])) for p in (cell.log_nu, cell.log_theta, cell.log_gamma))
    b_re, b_im, d_one, d_two = np.split(np.array(cell.w_x[...]), 4, axis=1)
    c_re, c_im = np.split(np.array(cell.c[...]), 2)
    s, ys = np.zeros((B, H // 2), complex), []
    for x in xs:
        s = np.exp(-nu + 1j * theta) * s + gamma * (x @ (b_re + 1j * b_im))
        ys.append((s @ (c_re - 1j * c_im)).real + x @ np.hstack([d_one, d_two]))
    return np.stack(ys)


@pytest.mark.parametrize(
    ("spec", "more", "reference"),
    [
        (MinGRU, {}, numpy_min_gru),
        (MinGRU, {"candidate": "linear"}, lambda *of: numpy_min_gru(*of, g=lambda z: z)),
        (MinLSTM, {}, numpy_min_lstm),
        (LRU, {}, numpy_lru),
    ],
)
def test_values_equal_numpy(spec, more, reference):
    """1e-12 in float64, and Flax's own loop runs it."""
    cell = spec(features=H, **FLOAT64, **more).build(D, rngs=nnx.Rngs(0))
    if cell.b is not None:
        cell.b[...] = np.random.default_rng(1).normal(size=cell.b.shape)
    xs = np.random.default_rng(0).normal(size=(T, B, D))
    got = nnx.RNN(cell, time_major=True)(jnp.asarray(xs))
    np.testing.assert_allclose(got, reference(cell, xs), rtol=1e-12, atol=1e-14)


def losses(outputs):
    return jnp.sum(jnp.sin(outputs), axis=(0, 2))


def model(spec):
    return SequenceModel(spec, D, 1, rngs=nnx.Rngs(0)), jax.random.normal(jax.random.key(0), (T, B, D), jnp.float64)


@pytest.mark.slow
@pytest.mark.parametrize("spec", [MinGRU, MinLSTM])
def test_the_gradient_flows_along_the_direct_path_alone_by_the_product_of_gates(spec):
    """dL/dh_{T-k} = dL/dh_T times the product of the last k gates f, unit by unit: the full gradient is no other."""
    net, xs = model(spec(features=H, forget_bias=1.0, **FLOAT64))
    flow = gradient_flow(net, xs, losses)
    f = np.asarray(net.intermediates(xs)["layer0/f"])
    h = net.intermediates(xs)["layer0/h"]
    d_h = jax.grad(lambda h: jnp.sum(losses(net.readout(h[None]))))(h[-1])
    products = np.concatenate([np.ones((1, B, H)), np.cumprod(f[:0:-1], axis=0)])
    want = np.log10(np.linalg.norm(d_h * products, axis=-1))
    for path in ("layer0/h", "layer0/h cell path"):
        np.testing.assert_allclose(flow[path].log10(), want, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("spec", [MinGRU, MinLSTM])
def test_the_forget_bias_sets_the_time_scale(spec):
    """Where x is 0, f = sigmoid(forget_bias): the gradient decays by it at every step, tau = -1 / log f."""
    net, _ = model(spec(features=H, forget_bias=3.0, **FLOAT64))
    xs, f = jnp.zeros((40, B, D)), sigmoid(3.0)
    log = gradient_flow(net, xs, losses)["layer0/h"].log10()
    np.testing.assert_allclose(log - log[0], np.arange(40)[:, None] * np.log10(f) * np.ones(B), atol=1e-10)
    gates = gate_map(net, xs)
    np.testing.assert_allclose(gates.tau, -1 / np.log(f), rtol=1e-12)
    np.testing.assert_allclose(gates.carousel[-1], 39 * np.log10(f), rtol=1e-10)
    exponents = lyapunov_spectrum(net.cells[0], xs).exponents
    np.testing.assert_allclose(exponents, np.log(f), rtol=1e-10)


def test_a_closed_gate_is_no_nan():
    """Both of a MinLSTM's gates at 0, whose ratio is still told apart."""
    cell = MinLSTM(features=1).build(1, rngs=nnx.Rngs(0))
    gates = cell.gates(jnp.array([[-400.0, -401.0, 0.0]], jnp.float32))
    np.testing.assert_allclose(gates["i"], sigmoid(1.0), rtol=1e-5)
    np.testing.assert_allclose(gates["i"] + gates["f"], 1, rtol=1e-6)


def test_the_positive_candidate_is_continuous_and_keeps_h_positive():
    cell = MinGRU(features=H, **FLOAT64).build(D, rngs=nnx.Rngs(0))
    z = jnp.array([-1e-9, 0.0, -50.0, 3.0])
    g = cell.gates(jnp.concatenate([jnp.zeros(4), z]))["g"]
    np.testing.assert_allclose(g, [0.5, 0.5, np.exp(-50), 3.5], atol=1e-8)
    ys = nnx.RNN(cell, time_major=True)(10 * jax.random.normal(jax.random.key(0), (T, B, D), jnp.float64))
    assert np.all(ys > 0)


def lru(**more):
    return LRU(**{"features": H} | more).build(D, rngs=nnx.Rngs(0))


def test_an_lrus_lyapunov_exponents_are_the_logs_of_its_eigenvalues():
    """log|lambda|, twice each (the real and the imaginary part), whatever drives it: to 1e-3, |lambda| 0.5 to 0.99."""
    cell = lru(r_min=0.5, r_max=0.99, **FLOAT64)
    xs = jax.random.normal(jax.random.key(0), (4000, 1, D), jnp.float64)
    want = np.repeat(-np.sort(np.exp(cell.log_nu[...])), 2)
    np.testing.assert_allclose(np.log(np.abs(cell.eigenvalues())), -np.exp(cell.log_nu[...]), rtol=1e-12)
    np.testing.assert_allclose(lyapunov_spectrum(cell, xs).exponents[0], want, atol=1e-3)


@pytest.mark.slow
def test_an_lrus_gradient_decays_by_its_eigenvalues():
    """||dL/ds_{T-k}||^2 = sum over units of |lambda|^2k |dL/ds_T|^2, real and imaginary parts together."""
    net, xs = model(LRU(features=H, r_min=0.5, **FLOAT64))
    cell, flow = net.cells[0], gradient_flow(net, xs, losses)
    found = 10 ** (2 * flow["layer0/h"].log10())
    _, ys = jax.lax.scan(cell, cell.initialize_carry((B, D)), xs)
    d_y = jax.grad(lambda y: jnp.sum(losses(net.readout(y[None]))))(ys[-1])
    d_re, d_im = jnp.split(d_y @ cell.c[...].T, 2, axis=-1)
    sizes = np.abs(cell.eigenvalues()) ** (2 * np.arange(T)[:, None, None])
    np.testing.assert_allclose(found, np.sum(sizes * (d_re**2 + d_im**2), axis=-1), rtol=1e-10)
    paths = gradient_paths(net, xs, losses)["layer0/h"]
    np.testing.assert_allclose(paths.shares()["direct"], 1, rtol=1e-10)


def test_an_lru_begins_on_the_ring_with_a_state_of_the_inputs_size():
    """|lambda|^2 is uniform in [r_min^2, r_max^2]; gamma^2 sum |lambda|^2k = 1, so white inputs keep their variance."""
    cell = lru(features=2000, r_min=0.6, r_max=0.9, max_phase=1.0)
    eigenvalues = np.asarray(cell.eigenvalues())
    square, phase = np.sort(np.abs(eigenvalues) ** 2), np.sort(np.angle(eigenvalues))
    np.testing.assert_allclose(square, np.linspace(0.36, 0.81, len(square)), atol=0.05)
    np.testing.assert_allclose(phase, np.linspace(0, 1, len(phase)), atol=0.1)
    gamma = np.exp(np.asarray(cell.log_gamma[...], np.float64))
    np.testing.assert_allclose(gamma**2 / (1 - np.abs(eigenvalues) ** 2), 1, rtol=1e-5)


@pytest.mark.parametrize("radius", [{"r_min": 1.0}, {"r_max": 1e-9}])
def test_an_lru_at_the_edge_of_its_ring_is_finite(radius):
    """|lambda| of exactly 0 or 1 would be a parameter of infinity."""
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(lru(**radius)))


def test_an_lrus_parameters_are_counted_and_its_settings_checked():
    assert sum(leaf.size for leaf in jax.tree.leaves(lru())) == 2 * D * H + H**2 + 3 * H // 2
    with pytest.raises(ValueError, match=r"features=5: half real parts, half imaginary parts; the nearest is 6"):
        LRU(features=5)
    with pytest.raises(ValueError, match=r"r_min=0\.9: must be at most r_max=0\.5"):
        LRU(r_min=0.9, r_max=0.5)


@pytest.mark.parametrize("spec", [MinGRU, MinLSTM, LRU])
def test_weights_are_the_same_where_float64_is_enabled(spec):
    found = []
    for enabled in (False, True):
        with jax.enable_x64(enabled):
            found.append([np.asarray(leaf) for leaf in jax.tree.leaves(spec(features=8).build(2, rngs=nnx.Rngs(0)))])
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)
        assert one.dtype == two.dtype == np.float32


def test_a_model_reads_the_last_y_where_it_is_not_the_carry():
    """An LRU's y; and a state in float32 whose y is rounded to bfloat16."""
    for spec in (LRU(features=H), MinGRU(features=H, dtype="bfloat16")):
        net, xs = model(spec)
        whole, last = (jax.jit(net, static_argnames="answers")(xs.astype("f"), answers=n) for n in (T, 1))
        np.testing.assert_allclose(last[0], whole[-1], rtol=1e-5)
