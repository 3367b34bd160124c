"""Exponential gates: the stabilised cell is the plain one, and never overflows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import SLSTM
from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.flow import gradient_flow

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
D, H = 3, 6
FORGET = pytest.mark.parametrize("forget_gate", ["sigmoid", "exp"])


def build(**settings):
    return SLSTM(features=H, **settings).build(D, rngs=nnx.Rngs(0))


def inputs(length=12):
    return 2 * jax.random.normal(jax.random.key(1), (length, 2, D), jnp.float64)


def run(cell, xs):
    return jax.lax.scan(cell, cell.initialize_carry(xs.shape[1:]), xs)[1]


def plain_step(forget_gate, w_x, blocks, b, lib=jnp):
    """Equations 8 to 14 without stabiliser, head by head: an implementation of its own, in NumPy or in JAX."""
    heads, width = len(blocks), H // len(blocks)

    def step(carry, x):
        c, n, h = carry
        z = (x @ w_x + b).reshape(-1, 4, heads, width)
        of_h = [(h[:, a * width : (a + 1) * width] @ blocks[a]).reshape(-1, 4, width) for a in range(heads)]
        i, f, g, o = ((z + lib.stack(of_h, axis=2)).reshape(-1, 4, H)[:, k] for k in range(4))
        f = lib.exp(f) if forget_gate == "exp" else 1 / (1 + lib.exp(-f))
        c = f * c + lib.exp(i) * lib.tanh(g)
        n = f * n + lib.exp(i)
        h = c / n / (1 + lib.exp(-o))
        return (c, n, h), h

    return step


@pytest.mark.parametrize(("forget_gate", "heads"), [("sigmoid", 3), ("exp", 1)])
def test_the_stabilised_cell_equals_the_plain_one_in_values_and_gradients(forget_gate, heads):
    """1e-12 and 1e-10 in float64."""
    cell, xs = build(forget_gate=forget_gate, heads=heads, **FLOAT64), inputs()
    cell.b[...] += jax.random.normal(jax.random.key(2), (4 * H,), jnp.float64)
    weights = [w[...] for w in (cell.w_x, cell.w_h, cell.b)]
    step, carry, want = plain_step(forget_gate, *map(np.asarray, weights), np), [np.zeros((2, H))] * 3, []
    for x in np.asarray(xs):
        carry, h = step(carry, x)
        want.append(h)
    np.testing.assert_allclose(run(cell, xs), want, rtol=1e-12)

    def plain_loss(*weights):
        return jnp.sum(jnp.sin(jax.lax.scan(plain_step(forget_gate, *weights), (jnp.zeros((2, H)),) * 3, xs)[1]))

    got = jax.grad(lambda cell: jnp.sum(jnp.sin(run(cell, xs))))(cell)
    for mine, its in zip((got.w_x, got.w_h, got.b), jax.grad(plain_loss, (0, 1, 2))(*weights), strict=True):
        np.testing.assert_allclose(mine[...], its, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@FORGET
def test_gates_beyond_the_range_of_exp_neither_overflow_nor_divide_by_zero(forget_gate):
    """In float32 exp(200) is infinite and exp(-200) is 0; at the first step h is o g, whatever i is."""
    cell = build(forget_gate=forget_gate)
    z_f, z_g, z_o = (jax.random.normal(jax.random.key(k), (H,), jnp.float32) for k in range(3))
    for z_i in (-200.0, 0.0, 200.0):

        def first(z_g, z_i=z_i):
            z = jnp.concatenate([jnp.full(H, z_i, jnp.float32), 100 * z_f, z_g, z_o])
            return cell.update(cell.initialize_carry((D,)), z)

        (carry, y), slope = first(z_g), jax.jacobian(lambda z_g: first(z_g)[1])(z_g)
        np.testing.assert_allclose(y, jax.nn.sigmoid(z_o) * jnp.tanh(z_g), rtol=1e-6)
        np.testing.assert_allclose(jnp.diag(slope), jax.nn.sigmoid(z_o) * (1 - jnp.tanh(z_g) ** 2), rtol=1e-5)
        assert all(np.isfinite(part).all() for part in carry)
    cell.w_x[...] *= 100
    gradient = jax.grad(lambda cell: jnp.sum(run(cell, inputs().astype(jnp.float32))))(cell)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_a_large_input_gate_revises_what_is_stored_and_c_over_n_is_a_mean():
    cell, xs = build(**FLOAT64), inputs(40)
    carry, ys = jax.lax.scan(cell, cell.initialize_carry((2, D)), xs)
    assert np.abs(ys).max() < 1
    z = jnp.zeros((2, 4 * H)).at[:, :H].set(40.0).at[:, 2 * H : 3 * H].set(0.7)
    (c, n, _, _), _ = cell.update(carry, z)
    np.testing.assert_allclose(c / n, np.tanh(0.7), rtol=1e-12)


def test_heads_do_not_mix_and_leave_fewer_parameters():
    cell = build(heads=3, **FLOAT64)
    assert sum(leaf.size for leaf in jax.tree.leaves(cell)) == 4 * H * (D + H // 3 + 1)
    c, n, m, h = jax.tree.map(
        lambda part: part[0], jax.lax.scan(cell, cell.initialize_carry((1, D)), inputs()[:, :1])[0]
    )
    step = jax.jacobian(lambda h: cell((c, n, m, h), inputs()[0, 0])[1])(h)
    within = np.kron(np.eye(3), np.ones((2, 2)))
    assert (np.asarray(step)[within == 1] != 0).all() and (np.asarray(step)[within == 0] == 0).all()
    with pytest.raises(ValueError, match="features=6: must be a multiple of heads = 4; nearest is 8"):
        SLSTM(features=6, heads=4)


def test_no_gradient_flows_in_the_stabiliser():
    """m is the scale that c and n are written in."""
    model = SequenceModel(SLSTM(features=H, **FLOAT64), D, 1, rngs=nnx.Rngs(0))
    flow = {name: norm.log10() for name, norm in gradient_flow(model, inputs(), lambda out: out[-1, :, 0]).items()}
    assert np.isneginf(flow["layer0/m"]).all() and np.isfinite(flow["layer0/c"]).all()
