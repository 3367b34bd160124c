"""An LSTM with fewer outputs than cells: PyTorch's documented equations, and probes of two widths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import LSTM, ProjectionLSTM
from rnnlab.model import SequenceModel
from rnnlab.probes.dynamics.gates import gate_map
from rnnlab.probes.dynamics.lyapunov import lyapunov_spectrum
from rnnlab.probes.dynamics.weight_spectra import recurrent_spectra
from rnnlab.probes.gradients.paths import gradient_paths
from rnnlab.scan.unroll import unroll
from rnnlab.specs.errors import Undefined

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
D, H, N, B = 3, 2, 5, 2
SPEC = ProjectionLSTM(features=H, cells=N, bias="uniform", **FLOAT64)


def inputs(length=9):
    return 2 * jax.random.normal(jax.random.key(9), (length, B, D), jnp.float64)


def sigma(a):
    return 1 / (1 + np.exp(-a))


def test_a_step_is_that_of_pytorchs_documentation():
    """To 1e-12, with nn.LSTM's parameters by name; its two biases are one here."""
    cell = SPEC.build(D, rngs=nnx.Rngs(0))
    weight_ih, weight_hh, weight_hr = (np.asarray(w[...]).T for w in (cell.w_x, cell.w_h, cell.w_r))
    assert (weight_ih.shape, weight_hh.shape, weight_hr.shape) == ((4 * N, D), (4 * N, H), (H, N))
    bias, xs = np.asarray(cell.b[...]), inputs()
    (last_c, last_h), ys = jax.lax.scan(cell, cell.initialize_carry((B, D)), xs)
    c, h = np.zeros((B, N)), np.zeros((B, H))
    for x, y in zip(np.asarray(xs), ys, strict=True):
        i, f, g, o = np.split(x @ weight_ih.T + h @ weight_hh.T + bias, 4, axis=1)
        c = sigma(f) * c + sigma(i) * np.tanh(g)
        h = (sigma(o) * np.tanh(c)) @ weight_hr.T
        np.testing.assert_allclose(y, h, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(last_c, c, rtol=1e-12)
    np.testing.assert_array_equal(last_h, ys[-1])


def test_rows_and_columns_of_an_lstms_matrices():
    """Of one of the same seed with N cells; they are orthonormal where those are orthogonal."""
    cell = ProjectionLSTM(features=H, cells=N).build(D, rngs=nnx.Rngs(0))
    for block in np.split(np.asarray(cell.w_h[...], np.float64), 4, axis=1):
        np.testing.assert_allclose(block @ block.T, np.eye(H), atol=1e-6)
    w_r = np.asarray(cell.w_r[...], np.float64)
    np.testing.assert_allclose(w_r.T @ w_r, np.eye(H), atol=1e-6)
    lstm = LSTM(features=N).build(D, rngs=nnx.Rngs(0))
    for mine, theirs in ((cell.w_x, lstm.w_x[...]), (cell.w_h, lstm.w_h[:H]), (cell.b, lstm.b[...])):
        np.testing.assert_array_equal(mine[...], theirs)
    count = sum(leaf.size for leaf in jax.tree.leaves(cell))
    assert count == 4 * N * (D + H + 1) + N * H


def test_unroll_gives_the_gradient_of_plain_autodiff_and_adjoint_norms_of_both_widths():
    cell, xs = SPEC.build(D, rngs=nnx.Rngs(0)), inputs(6)
    carry = cell.initialize_carry((B, D))
    assert [part.shape for part in carry] == [(B, N), (B, H)]
    taps = jax.tree.map(lambda c: jnp.zeros((6, B)), carry)

    def loss(way, cell, **options):
        return jnp.sum(jnp.sin(way(cell, carry, xs, **options)[1][-1]))

    plain = jax.jit(jax.grad(lambda cell: loss(jax.lax.scan, cell)))(cell)
    fast, norms = jax.jit(jax.grad(lambda cell, taps: loss(unroll, cell, taps=taps), argnums=(0, 1)))(cell, taps)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), plain, fast)
    (c, _), ys = jax.lax.scan(cell, carry, xs)
    (_, before), _ = jax.lax.scan(cell, carry, xs[:-1])
    o = cell.gates(cell.project(before, xs[-1]))["o"]
    d_h = jnp.cos(ys[-1])
    np.testing.assert_allclose(norms[1][-1], jnp.linalg.norm(d_h, axis=1), rtol=1e-10)
    d_c = (d_h @ cell.w_r[...].T) * o * (1 - jnp.tanh(c) ** 2)
    np.testing.assert_allclose(norms[0][-1], jnp.linalg.norm(d_c, axis=1), rtol=1e-10)


def test_probes_see_the_cells_and_not_the_outputs():
    """Two layers: the second reads H numbers. Gates are N wide, and the direct path is the product of f."""
    model = SequenceModel(SPEC, D, 1, layers=2, rngs=nnx.Rngs(0))
    xs = inputs(6)
    paths = jax.jit(gradient_paths, static_argnums=2)(model, xs, lambda outputs: outputs[-1, :, 0])
    found = jax.jit(lambda m, xs: m.intermediates(xs))(model, xs)
    f, o, c = (np.asarray(found[f"layer1/{name}"]) for name in "foc")
    d = np.asarray(model.readout.kernel[...])[:, 0] @ np.asarray(model.cells[1].w_r[...]).T
    d = d * o[-1] * (1 - np.tanh(c[-1]) ** 2)
    for lag, direct in enumerate(np.asarray(paths["layer1/c"].norms["direct"].log10())):
        np.testing.assert_allclose(10**direct, np.linalg.norm(d, axis=1), rtol=1e-10)
        d = d * f[-1 - lag]
    assert set(paths["layer1/h"].norms) == {"direct", "via i", "via f", "via g", "via o", "full"}
    gates = jax.jit(gate_map)(model, xs)
    np.testing.assert_allclose(gates.tau, -1 / np.log(f).mean((0, 1)), rtol=1e-10)
    assert gates.carousel.shape == (6, N)


def test_its_lyapunov_spectrum_has_an_exponent_for_every_cell_and_output():
    """N + H in all; h_{t-1} has H numbers that z takes on, so at most N + H directions come back, none is invented."""
    cell = ProjectionLSTM(features=1, cells=2, **FLOAT64).build(D, rngs=nnx.Rngs(0))
    found = lyapunov_spectrum(cell, inputs(40)).exponents
    assert found.shape == (B, 3) and (found[:, 0] < 0).all()


def test_fewer_cells_than_outputs_are_refused_and_w_h_has_no_square_blocks():
    with pytest.raises(ValueError, match="cells=3: must be at least features=4, which they project to"):
        ProjectionLSTM(features=4, cells=3)
    assert ProjectionLSTM(features=4).num_cells == 8
    with pytest.raises(Undefined, match=r"ProjectionLSTMCell: w_h \[2, 20\] is not one square block a gate"):
        recurrent_spectra(SPEC.build(D, rngs=nnx.Rngs(0)))
