"""The engine equals the plain scan: values and every gradient, whatever the shape, the cell and the segment."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.cells.lstm import LSTMCell
from rnnlab.scan.unroll import choose_segment, unroll

TYPES = {"dtype": "float64", "param_dtype": "float64"}


class PeepholeLSTMCell(LSTMCell):
    """An LSTM whose update has a parameter of its own (Gers & Schmidhuber 2000), to test that these get gradients."""

    def __init__(self, *args):
        super().__init__(*args)
        self.peephole = nnx.Param(jnp.linspace(-1.0, 1.0, self.features))

    def update(self, carry, z):
        c, _ = carry
        gate = jnp.concatenate([jnp.zeros_like(c), self.peephole[...] * c, jnp.zeros_like(c), jnp.zeros_like(c)], -1)
        return super().update(carry, z + gate)


def build(kind, features, width, seed=0):
    rngs = nnx.Rngs(seed)
    if kind == "peephole":
        plain = LSTM(features=features, **TYPES).build(width, rngs=rngs)
        spec = LSTM(features=features, **TYPES)
        return PeepholeLSTMCell(spec, width, plain.w_x[...], plain.w_h[...], plain.b[...])
    if kind == "flax GRU":
        return nnx.GRUCell(width, features, rngs=rngs, dtype=jnp.float64, param_dtype=jnp.float64)
    return {"LSTM": LSTM, "VanillaRNN": VanillaRNN}[kind](features=features, **TYPES).build(width, rngs=rngs)


def random_like(tree, key):
    leaves, treedef = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    return treedef.unflatten([jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)])


def problem(kind, length, batch, width, features, seed=0):
    cell = build(kind, features, width, seed)
    xs = jax.random.normal(jax.random.key(seed + 1), (length, batch, width), jnp.float64)
    carry = random_like(cell.initialize_carry((batch, width), nnx.Rngs(0)), jax.random.key(seed + 2))
    carry = jax.tree.map(lambda x: x.astype(jnp.float64), carry)
    return cell, carry, xs


def loss(run, weights, cell, carry, xs):
    """A dense loss: every output and every component of the last carry counts, each with its own weight."""
    last, ys = run(cell, carry, xs)
    parts = jax.tree.map(lambda a, w: jnp.sum(jnp.sin(a) * w), (last, ys), weights)
    return sum(jax.tree.leaves(parts))


def assert_close(a, b, tolerance=1e-10):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance), a, b)


@pytest.mark.parametrize("kind", ["LSTM", "VanillaRNN", "peephole", "flax GRU"])
@given(
    length=st.integers(0, 9),
    batch=st.integers(1, 3),
    width=st.integers(1, 3),
    features=st.integers(1, 4),
    segment=st.integers(1, 10),
)
def test_values_and_all_gradients_equal_plain_autodiff(kind, length, batch, width, features, segment):
    """Weights, the update's own parameters, inputs and initial carry, to 1e-10 in float64."""
    cell, carry, xs = problem(kind, length, batch, width, features)
    weights = random_like(jax.eval_shape(lambda: jax.lax.scan(cell, carry, xs)), jax.random.key(9))
    fast = functools.partial(loss, functools.partial(unroll, segment=segment), weights)
    plain = functools.partial(loss, jax.lax.scan, weights)
    gradient = functools.partial(jax.value_and_grad, argnums=(0, 1, 2), allow_int=True)
    got, want = jax.jit(gradient(fast))(cell, carry, xs), jax.jit(gradient(plain))(cell, carry, xs)
    floats = functools.partial(jax.tree.map, lambda x: x if x.dtype == jnp.float64 else np.zeros(()))
    assert_close(floats(got), floats(want))


@pytest.mark.parametrize("kind", ["LSTM", "VanillaRNN"])
def test_unroll_equals_flax_rnn(kind):
    cell, carry, xs = problem(kind, 11, 2, 3, 4)
    rnn = nnx.RNN(cell, time_major=True, return_carry=True)
    assert_close(unroll(cell, carry, xs, segment=4), rnn(xs, initial_carry=carry))


def test_hoisting_the_input_projection_changes_nothing(monkeypatch):
    """Inputs projected a segment at a time, as on an accelerator, give what a step's own matmul gives."""
    cell, carry, xs = problem("LSTM", 7, 2, 3, 4)
    weights = random_like(jax.eval_shape(lambda: jax.lax.scan(cell, carry, xs)), jax.random.key(9))
    gradient = jax.grad(functools.partial(loss, functools.partial(unroll, segment=3), weights), argnums=(0, 2))
    want = gradient(cell, carry, xs)
    monkeypatch.setattr("rnnlab.scan.projected.hoists_input", lambda: True)
    assert_close(gradient(cell, carry, xs), want)


@pytest.mark.slow
@pytest.mark.parametrize("transform", ["vmap", "remat", "vmap over weights"])
def test_gradients_survive_transformations(transform):
    cell, carry, xs = problem("peephole", 7, 2, 3, 4)
    weights = random_like(jax.eval_shape(lambda: jax.lax.scan(cell, carry, xs)), jax.random.key(9))

    def gradient(run):
        one = jax.grad(functools.partial(loss, run, weights), argnums=(0, 1, 2))
        if transform == "remat":
            return jax.grad(jax.checkpoint(functools.partial(loss, run, weights)), argnums=(0, 1, 2))(cell, carry, xs)
        if transform == "vmap":
            return jax.vmap(one, in_axes=(None, None, 0))(cell, carry, jnp.stack([xs, 2 * xs]))
        cells = jax.tree.map(lambda a: jnp.stack([a, 0.5 * a]), cell)
        return jax.vmap(one, in_axes=(0, None, None))(cells, carry, xs)

    assert_close(gradient(functools.partial(unroll, segment=3)), gradient(jax.lax.scan))


def tap_zeros(carry, length):
    return jax.tree.map(lambda c: jnp.zeros((length, *c.shape[:-1]), c.dtype), carry)


def separate_adjoint_norms(cell, carry, xs, weights, t):
    """||dL/dc_t||, ||dL/dh_t|| of an LSTM by a VJP of its own: the loss as a function of (c_t, h_t) for one t."""
    before, _ = jax.lax.scan(cell, carry, xs[:t])
    c_before, h_before = before
    z = cell.project(h_before, xs[t])
    i, f, g, o = cell.gates(z).values()
    c = f * c_before + i * g
    last_weights, y_weights = weights

    def rest(c, h):
        last, ys = jax.lax.scan(cell, (c, h), xs[t + 1 :])
        late = jax.tree.map(lambda a, w: jnp.sum(jnp.sin(a) * w), last, last_weights)
        return sum(late) + jnp.sum(jnp.sin(ys) * y_weights[t + 1 :]) + jnp.sum(jnp.sin(h) * y_weights[t])

    total_c = jax.grad(lambda c: rest(c, o * jnp.tanh(c)))(c)
    total_h = jax.grad(lambda h: rest(c, h))(o * jnp.tanh(c))
    return jnp.linalg.norm(total_c, axis=-1), jnp.linalg.norm(total_h, axis=-1)


@pytest.mark.parametrize("segment", [2, 7])
@pytest.mark.parametrize("form", ["projected", "general"])
def test_taps_are_the_norms_of_the_adjoints(segment, form):
    """Every t, 1e-12: c_t counts its use in h_t, h_t counts its use as y_t, in either form."""
    cell, carry, xs = problem("LSTM", 7, 3, 2, 4)
    weights = random_like(jax.eval_shape(lambda: jax.lax.scan(cell, carry, xs)), jax.random.key(9))
    step = cell if form == "projected" else lambda carry, x: cell(carry, x)

    def tapped(taps):
        return loss(lambda *args: unroll(*args, taps=taps, segment=segment), weights, step, carry, xs)

    norms = jax.grad(tapped)(tap_zeros(carry, 7))
    for t in range(7):
        assert_close(
            jax.tree.map(lambda n, t=t: n[t], norms), separate_adjoint_norms(cell, carry, xs, weights, t), 1e-12
        )


def test_taps_leave_the_gradient_as_it_is():
    cell, carry, xs = problem("LSTM", 7, 3, 2, 4)
    weights = random_like(jax.eval_shape(lambda: jax.lax.scan(cell, carry, xs)), jax.random.key(9))
    taps = tap_zeros(carry, 7)
    with_taps = jax.grad(functools.partial(loss, functools.partial(unroll, taps=taps, segment=3), weights))
    without = jax.grad(functools.partial(loss, functools.partial(unroll, segment=3), weights))
    assert_close(with_taps(cell, carry, xs), without(cell, carry, xs), 1e-13)


def test_segments_cut_the_memory_of_a_loss_at_the_end_fifty_fold():
    """XLA's own count of temporary memory, T = 16,384, B = 8, H = 64."""
    cell = LSTM(features=64).build(2, rngs=nnx.Rngs(0))
    carry = cell.initialize_carry((8, 2))
    xs = jax.ShapeDtypeStruct((16_384, 8, 2), jnp.float32)

    def bytes_of(run):
        def last(cell, xs):
            return jnp.sum(run(cell, carry, xs)[0][1])

        return jax.jit(jax.grad(last)).lower(cell, xs).compile().memory_analysis().temp_size_in_bytes

    assert bytes_of(jax.lax.scan) > 50 * bytes_of(functools.partial(unroll, segment=64))
    assert bytes_of(jax.lax.scan) > 50 * bytes_of(unroll)


def test_weight_gradients_of_bfloat16_are_summed_in_float32():
    """A sum of 4,096 equal terms stalls at 256 in bfloat16; the engine's does not."""
    spec = VanillaRNN(features=1, activation="linear", dtype="bfloat16", recurrent="identity", spectral_radius=1e-6)
    cell = spec.build(1, rngs=nnx.Rngs(0))
    xs = jnp.ones((4096, 1, 1), jnp.bfloat16)
    carry = cell.initialize_carry((1, 1))
    gradient = jax.grad(lambda cell: jnp.sum(unroll(cell, carry, xs)[1].astype(jnp.float32)))(cell)
    assert gradient.b[...].dtype == jnp.float32
    np.testing.assert_allclose(gradient.b[...], [4096.0], rtol=1e-2)


def test_bad_arguments_are_named():
    cell, carry, xs = problem("LSTM", 7, 3, 2, 4)
    with pytest.raises(ValueError, match="segment=0"):
        unroll(cell, carry, xs, segment=0)
    with pytest.raises(ValueError, match=r"taps: shape \(6, 3\), must be .* \(7, 3\)"):
        unroll(cell, carry, xs, taps=tap_zeros(carry, 6))


@pytest.mark.parametrize(
    ("length", "shape"), [(1, (1, 1)), (5, (64, 512)), (1000, (32, 128)), (10**6, (1, 64)), (3, (2**20, 4))]
)
def test_a_chosen_segment_fits(length, shape):
    assert 1 <= choose_segment(length, shape) <= length


def test_a_chosen_segment_divides_the_time_and_bounds_what_is_kept():
    assert choose_segment(1000, (16, 128)) == 25
    for projected in (True, False):
        segment = choose_segment(100_000, (64, 512), projected=projected)  # all of it would be 100 GiB
        assert 100_000 % segment == 0 and segment <= 64
    assert choose_segment(16_384, (8, 64), projected=False) == 16_384


class Noisy(nnx.RNNCellBase):
    """A Flax cell with dropout, and a count of its steps."""

    num_feature_axes = 1

    def __init__(self, rngs):
        self.cell, self.dropout = nnx.GRUCell(3, 4, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
        self.steps = nnx.BatchStat(jnp.zeros(()))

    def __call__(self, carry, inputs):
        self.steps[...] += 1
        return self.cell(carry, self.dropout(inputs))

    def initialize_carry(self, input_shape, rngs=None, carry_init=None):
        return jnp.zeros((*input_shape[:-1], 4))


@pytest.mark.parametrize("segment", [None, 2])
def test_a_cells_own_state_goes_from_step_to_step_as_in_flax(segment):
    """Dropout draws anew at each step, and what the cell has counted stays in it."""
    ours, theirs = Noisy(nnx.Rngs(7)), nnx.RNN(Noisy(nnx.Rngs(7)), time_major=True)
    xs = jax.random.normal(jax.random.key(0), (5, 2, 3))
    carry = ours.initialize_carry((2, 3))
    want = theirs(xs, initial_carry=carry)
    np.testing.assert_allclose(unroll(ours, carry, xs, segment=segment)[1], want, rtol=1e-6)
    assert ours.steps[...] == 5 == theirs.cell.steps[...]
    assert ours.dropout.rngs.count[...] == theirs.cell.dropout.rngs.count[...]
    again = unroll(ours, carry, xs, segment=segment)[1]
    assert not np.allclose(again, want)  # the next call has other noise

    assert unroll(ours, carry, xs[:0], segment=segment)[1].shape == (0, 2, 4) and ours.steps[...] == 10

    @nnx.jit
    def gradient(cell, xs):
        return nnx.grad(lambda cell: jnp.sum(unroll(cell, carry, xs, segment=segment)[1] ** 2))(cell)

    found = gradient(ours, xs)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found)) and ours.steps[...] == 15
