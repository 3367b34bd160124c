"""Sequences of unequal length in one batch are the separate sequences; a reset is a new sequence."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from rnnlab.cells import LSTM, LSTM1997
from rnnlab.scan.presence import align_ends, align_starts, reverse
from rnnlab.scan.unroll import unroll

T, B, D, H = 6, 3, 2, 4
FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}


@functools.cache
def cell_of(kind):
    if kind == "LSTM":
        return LSTM(features=H, **FLOAT64).build(D, rngs=nnx.Rngs(0))
    if kind == "LSTM1997":
        return LSTM1997(features=H, gradient="truncated", init_range=1.0, **FLOAT64).build(D, rngs=nnx.Rngs(0))
    return nnx.GRUCell(D, H, rngs=nnx.Rngs(0), dtype=jnp.float64, param_dtype=jnp.float64)


def start(cell, batch):
    """A carry that is not the cell's initial one."""
    zeros = cell.initialize_carry((batch, D), nnx.Rngs(0))
    return jax.tree.map(lambda c: c + jnp.linspace(-1, 1, c.shape[-1]), zeros)


@functools.cache
def padded(kind, segment):
    """(cell, xs, taps, lengths, resets) -> loss, outputs and all gradients of the batch."""

    def loss(cell, xs, taps, carry, lengths, resets, weights):
        carry, ys = unroll(cell, carry, xs, taps=taps, segment=segment, lengths=lengths, resets=resets)
        return jnp.sum(ys * weights) + sum(jnp.sum(jnp.sin(c)) for c in jax.tree.leaves(carry)), (carry, ys)

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2, 3), has_aux=True))


@functools.cache
def piece(kind, length):
    """The same of one sequence of so many steps: the gradient of what its carry and outputs get, by plain scan."""

    def run(cell, carry, xs, d_carry, weights):
        (carry, ys), pull = jax.vjp(lambda *args: jax.lax.scan(*args), cell, carry, xs)
        return carry, ys, *pull((d_carry, weights))

    return jax.jit(lambda cell, carry, xs: jax.lax.scan(cell, carry, xs)), jax.jit(run)


def separate(kind, cell, carry, xs, weights, starts):
    """One sequence cut into pieces that begin at `starts`: (carry, ys, gradients of cell, first carry and xs)."""
    ends = [*starts[1:], len(xs)]
    fresh = cell.initialize_carry((1, D), nnx.Rngs(0))
    carries = [carry, *[fresh] * (len(starts) - 1)]
    last = carry
    for first, stop, begin in zip(starts, ends, carries, strict=True):
        last, _ = piece(kind, stop - first)[0](cell, begin, xs[first:stop]) if stop > first else (begin, None)
    d_last = jax.tree.map(jnp.cos, last)
    ys, d_xs, d_cell, d_first = [], [], jax.tree.map(jnp.zeros_like, cell), None
    for number, (first, stop, begin) in enumerate(zip(starts, ends, carries, strict=True)):
        d_carry = d_last if number == len(starts) - 1 else jax.tree.map(jnp.zeros_like, d_last)
        if stop > first:
            _, y, dc, d_begin, dx = piece(kind, stop - first)[1](
                cell, begin, xs[first:stop], d_carry, weights[first:stop]
            )
            ys.append(y), d_xs.append(dx)
            d_cell = jax.tree.map(jnp.add, d_cell, dc)
        else:
            d_begin = d_carry
        d_first = d_begin if number == 0 else d_first
    empty = [jnp.zeros((0, 1, D)), jnp.zeros((0, 1, H))]
    return last, jnp.concatenate([*ys, empty[1]]), d_cell, d_first, jnp.concatenate([*d_xs, empty[0]])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "segment"), [("LSTM", None), ("LSTM", 4), ("LSTM1997", 4), ("GRUCell", None), ("GRUCell", 4)]
)
@given(
    lengths=st.tuples(*[st.integers(0, T)] * B),
    resets=st.lists(st.tuples(st.integers(1, T - 1), st.integers(0, B - 1)), max_size=3),
)
def test_a_padded_batch_is_its_separate_sequences(kind, segment, lengths, resets):
    """Outputs, last carries and every gradient, in float64 to 1e-12; what is behind an end holds NaN."""
    cell = cell_of(kind)
    xs = jax.random.normal(jax.random.key(1), (T, B, D), jnp.float64)
    weights = jax.random.normal(jax.random.key(2), (T, B, H), jnp.float64)
    carry = start(cell, B)
    behind = (np.arange(T)[:, None] >= np.array(lengths))[..., None]
    marks = np.zeros((T, B), bool)
    for at in resets:
        marks[at] = True
    taps = jax.tree.map(lambda c: jnp.zeros((T, B)), carry)
    (_, (last, ys)), (d_cell, d_xs, norms, d_carry) = padded(kind, segment)(
        cell, jnp.where(behind, jnp.nan, xs), taps, carry, jnp.array(lengths), jnp.array(marks), weights
    )
    total = jax.tree.map(jnp.zeros_like, cell)
    for b, length in enumerate(lengths):
        row = slice(b, b + 1)
        starts = [0, *[t for t in range(1, length) if marks[t, b]]]
        one = jax.tree.map(lambda c, row=row: c[row], carry)
        want = separate(kind, cell, one, xs[:length, row], weights[:length, row], starts)
        found = jax.tree.map(lambda c, row=row: c[row], last), ys[:length, row]
        gradients = jax.tree.map(lambda c, row=row: c[row], d_carry), d_xs[:length, row]
        close((*found, *gradients), (*want[:2], *want[3:]))
        total = jax.tree.map(jnp.add, total, want[2])
        for array in (ys, d_xs, *jax.tree.leaves(norms)):
            np.testing.assert_array_equal(array[length:, b], 0)
    close(d_cell, total)


def close(found, want):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def test_adjoint_norms_of_a_short_sequence_are_those_of_it_alone():
    cell, xs = cell_of("LSTM"), jax.random.normal(jax.random.key(3), (T, 2, D), jnp.float64)

    def norms(xs, lengths):
        carry = cell.initialize_carry(xs.shape[1:])
        taps = jax.tree.map(lambda c: jnp.zeros(xs.shape[:2]), carry)
        return jax.grad(lambda taps: jnp.sum(unroll(cell, carry, xs, taps=taps, lengths=lengths)[0][1]))(taps)

    both = norms(xs, jnp.array([T, 4]))
    close(jax.tree.map(lambda n: n[:4, 1:], both), norms(xs[:4, 1:], None))


def test_lengths_of_t_and_no_resets_change_no_bit():
    cell, xs = cell_of("LSTM"), jax.random.normal(jax.random.key(3), (T, 2, D), jnp.float64)

    def run(cell, **options):
        carry, ys = unroll(cell, cell.initialize_carry((2, D)), xs, **options)
        return jnp.sum(jnp.sin(ys)) + jnp.sum(carry[0])

    plain = jax.value_and_grad(run)(cell)
    same = jax.value_and_grad(lambda c: run(c, lengths=jnp.array([T, T]), resets=jnp.zeros((T, 2), bool)))(cell)
    jax.tree.map(np.testing.assert_array_equal, plain, same)


def test_a_reset_takes_a_learned_initial_carry_and_its_gradient():
    """h_t = h_{t-1} + x_t from a learned h: each beginning adds 1 to its derivative."""

    class Sum(nnx.RNNCellBase):
        num_feature_axes = 1

        def __init__(self):
            self.first = nnx.Param(jnp.array([2.0]))

        def __call__(self, carry, x):
            return carry + x, carry + x

        def initialize_carry(self, input_shape, rngs=None, carry_init=None):
            return jnp.broadcast_to(self.first[...], input_shape)

    resets = jnp.zeros((5, 1), bool).at[3].set(True)

    def last(cell):
        return unroll(cell, cell.initialize_carry((1, 1)), jnp.ones((5, 1, 1)), resets=resets)[1][-1, 0, 0]

    value, gradient = jax.value_and_grad(last)(Sum())
    assert value == 4.0 and gradient.first[0] == 1.0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"lengths": jnp.array([1])}, r"lengths: int64\[1\], must be integers"),
        ({"resets": jnp.zeros((2, 6), bool)}, r"resets: bool\[2, 6\], must be booleans \[T, \*B\] = \[6, 2\]"),
    ],
)
def test_wrong_shapes_are_told(options, told):
    cell = cell_of("LSTM")
    with pytest.raises(ValueError, match=told):
        unroll(cell, cell.initialize_carry((2, D)), jnp.zeros((T, 2, D)), **options)


def test_alignment_moves_each_sequence_by_its_own_length():
    xs = jnp.arange(1, 9).reshape(4, 2)  # columns 1 3 5 7 and 2 4 6 8
    lengths = jnp.array([4, 2])
    moved = align_ends(xs, lengths)
    np.testing.assert_array_equal(moved[:, 0], [1, 3, 5, 7])
    np.testing.assert_array_equal(moved[2:, 1], [2, 4])
    np.testing.assert_array_equal(align_starts(moved, lengths), xs)
    np.testing.assert_array_equal(reverse(xs, lengths), [[7, 4], [5, 2], [3, 6], [1, 8]])
    np.testing.assert_array_equal(reverse(xs, None), xs[::-1])
