"""The LSTM of 1997: its weight counts, its equations, and its two gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import LSTM1997
from rnnlab.model import SequenceModel
from rnnlab.scan.unroll import unroll

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}


def model(gradient="truncated", features=4, size=2, inputs=2, outputs=1, **more):
    spec = LSTM1997(features=features, cells_per_block=size, gradient=gradient, init_range=0.5, **FLOAT64, **more)
    return SequenceModel(spec, inputs, outputs, rngs=nnx.Rngs(0))


def count(blocks, size, inputs, outputs):
    leaves = jax.tree.leaves(jax.eval_shape(lambda: model("full", blocks * size, size, inputs, outputs)))
    return sum(leaf.size for leaf in leaves)


@pytest.mark.parametrize(
    ("network", "unbiased", "published"),
    [
        ((2, 2, 2, 1), 0, 93),  # experiments 4 and 5
        ((2, 2, 8, 4), 0, 156),  # 6a
        ((3, 2, 8, 8), 0, 308),  # 6b
        ((3, 1, 1, 1), 1, 102),  # 3: all but the output
        ((4, 1, 7, 7), 4 + 7, 264),  # 1: gates alone
        ((3, 2, 7, 7), 6 + 7, 276),  # 1
        ((2, 1, 54, 2), 6 + 2, 364),  # 2c: none; p + 4 inputs, p = 50 to 1000
        ((2, 1, 104, 2), 6 + 2, 664),
        ((2, 1, 204, 2), 6 + 2, 1264),
        ((2, 1, 504, 2), 6 + 2, 3064),
        ((2, 1, 1004, 2), 6 + 2, 6064),
    ],
)
def test_weight_counts_are_those_of_the_papers_tables(network, unbiased, published):
    """Fully connected hidden layer, outputs that read cells alone; which units have no bias differs by experiment."""
    assert count(*network) - unbiased == published


def sigma(x):
    return 1 / (1 + np.exp(-x))


def appendix(spec, parameters, readout, xs, d_out):
    """Gradients of the truncated learning rule, weight by weight, by the forward traces of appendix A.1.

    `d_out` [T, K] is dL/d(outputs) at every step; a trace is carried on from step to step, as the paper does.
    """
    w_x, w_h, b, w_g = parameters
    size, blocks, cells = spec.cells_per_block, spec.num_blocks, spec.features
    w = np.concatenate([w_x, w_g, w_h, b[None]])  # what a unit reads: input, gates, cells, bias
    d_w, d_kernel, d_bias = np.zeros_like(w), np.zeros_like(readout), np.zeros(readout.shape[1])
    s, gates, y = np.zeros(cells), np.zeros(2 * blocks), np.zeros(cells)
    trace_in, trace_cell = np.zeros((cells, len(w))), np.zeros((cells, len(w)))
    outputs = []
    for x, d in zip(xs, d_out, strict=True):
        source = np.concatenate([x, gates, y, [1.0]])
        net = source @ w
        gates, y, h, dh = sigma(net[: 2 * blocks]), np.zeros(cells), np.zeros(cells), np.zeros(cells)
        for c in range(cells):
            block = c // size
            i, o = gates[block], gates[blocks + block]
            f = sigma(net[2 * blocks + c])
            g, dg = 4 * f - 2, 4 * f * (1 - f)
            s[c] += i * g
            trace_in[c] += g * i * (1 - i) * source
            trace_cell[c] += i * dg * source
            h[c], dh[c] = 2 * sigma(s[c]) - 1, 2 * sigma(s[c]) * (1 - sigma(s[c]))
            y[c] = o * h[c]
            e = readout[c] @ d
            d_w[:, 2 * blocks + c] += e * o * dh[c] * trace_cell[c]
            d_w[:, block] += e * o * dh[c] * trace_in[c]
            d_w[:, blocks + block] += e * h[c] * o * (1 - o) * source
        d_kernel += np.outer(y, d)
        d_bias += d
        outputs.append(y @ readout)
    return np.stack(outputs), d_w, d_kernel, d_bias


@pytest.mark.slow
@pytest.mark.parametrize("answers", [1, 7])
@pytest.mark.parametrize("size", [1, 2])
def test_the_truncated_gradient_is_the_papers_learning_rule(answers, size):
    """1e-10 in float64, with an error at the end alone, and at every step."""
    net = model(size=size, inputs=3, outputs=2)
    cell = net.cells[0]
    xs = np.random.default_rng(0).normal(size=(7, 3))
    d_out = np.random.default_rng(1).normal(size=(7, 2)) * (np.arange(7) >= 7 - answers)[:, None]
    parameters = [np.asarray(p[...]) for p in (cell.w_x, cell.w_h, cell.b, cell.w_g)]
    wanted = appendix(cell.spec, parameters, np.asarray(net.readout.kernel[...], np.float64), xs, d_out)
    outputs, d_w, d_kernel, d_bias = wanted

    def loss(net):
        found = net(jnp.asarray(xs)[:, None], answers=answers)[:, 0]
        return jnp.sum(found * d_out[7 - answers :]), found

    (_, found), got = jax.value_and_grad(loss, has_aux=True)(net)
    bias = np.asarray(net.readout.bias[...])
    np.testing.assert_allclose(found - bias, outputs[7 - answers :], rtol=1e-10)
    split = 3, 3 + 2 * cell.spec.num_blocks
    for mine, theirs in zip(
        (got.cells[0].w_x, got.cells[0].w_g, got.cells[0].w_h, got.cells[0].b),
        (d_w[: split[0]], d_w[split[0] : split[1]], d_w[split[1] : -1], d_w[-1]),
        strict=True,
    ):
        np.testing.assert_allclose(mine[...], theirs, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(got.readout.kernel[...], d_kernel, rtol=1e-10)
    np.testing.assert_allclose(got.readout.bias[...], d_bias, rtol=1e-10)


def test_the_full_gradient_is_plain_autodiffs_and_the_truncated_one_is_another():
    xs = jax.random.normal(jax.random.key(0), (30, 2, 2), jnp.float64)

    def by(run, net):
        return jax.grad(lambda net: jnp.sum(jnp.sin(net.readout(run(net.cells[0])))))(net)

    carry = model().cells[0].initialize_carry((2, 2))
    full, truncated = model("full"), model("truncated")
    engine = by(lambda cell: unroll(cell, carry, xs)[1], full)
    plain = by(lambda cell: jax.lax.scan(cell, carry, xs)[1], full)
    for one, two in zip(jax.tree.leaves(engine), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-13)
    short = by(lambda cell: unroll(cell, carry, xs)[1], truncated)
    assert np.abs(short.cells[0].w_x[...] - engine.cells[0].w_x[...]).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("segment", [None, 4, 30])
def test_segments_do_not_change_the_truncated_gradient(segment):
    xs = jax.random.normal(jax.random.key(0), (30, 2, 2), jnp.float64)
    grads = [jax.grad(lambda net, s=s: jnp.sum(jnp.sin(net(xs, answers=1, segment=s))))(model()) for s in (segment, 1)]
    for one, two in zip(*map(jax.tree.leaves, grads), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-13)


def test_the_cell_state_is_a_constant_error_carousel():
    """With the truncated gradient ds_T/ds_0 is exactly 1, however long the sequence."""
    cell = model().cells[0]
    s, gates, h = cell.initialize_carry((2,))
    xs = jax.random.normal(jax.random.key(0), (200, 2), jnp.float64)
    jacobian = jax.jacobian(lambda s: jax.lax.scan(cell, (s, gates, h), xs)[0][0])(s)
    np.testing.assert_array_equal(jacobian, np.eye(4))


def test_gates_are_named_and_make_the_state_and_the_output():
    """s_t - s_{t-1} = i g and y_t = o r(s_t); each gate is one of its block."""
    net = model("full")
    found = jax.jit(lambda net, xs: net.intermediates(xs))(net, jax.random.normal(jax.random.key(0), (5, 2, 2)))
    i, g, o, s, h = (np.asarray(found[f"layer0/{name}"]) for name in "igosh")
    np.testing.assert_allclose(np.diff(s, axis=0, prepend=0), i * g, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(h, o * (2 * sigma(s) - 1), rtol=1e-12, atol=1e-14)
    for gate in (i, o):
        np.testing.assert_array_equal(gate[..., 0::2], gate[..., 1::2])


def test_biases_are_set_block_by_block_and_the_rest_is_drawn_from_the_stated_range():
    spec = LSTM1997(features=4, input_biases=(-3.0, -6.0), output_biases=(-1.0, -2.0))
    cell = spec.build(2, rngs=nnx.Rngs(0))
    b = np.asarray(cell.b[...])
    np.testing.assert_array_equal(b[:4], [-3, -6, -1, -2])
    drawn = np.concatenate([np.asarray(w[...]).ravel() for w in (cell.w_x, cell.w_h, cell.w_g)] + [b[4:]])
    assert 0.08 < np.abs(drawn).max() <= 0.1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"features": 7, "cells_per_block": 2}, "features=7: cells come in blocks of 2; the nearest is 8"),
        ({"features": 4, "input_biases": (-3.0,)}, r"input_biases=\(-3.0,\): one a block, so 2, or none"),
        ({"features": 4, "cells_per_block": 0}, "cells_per_block=0"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        LSTM1997(**values)
