"""A linear cell run over all of time at once is the plain scan: values, gradients, adjoint norms, masks and resets."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from rnnlab.cells import LRU, MinGRU, MinLSTM
from rnnlab.scan.segments import zeros_like
from rnnlab.scan.unroll import unroll
from rnnlab.scan.unroll_linear import choose_linear_segment, unroll_linear

T, B, D, H = 7, 4, 3, 6
FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
SPECS = {"MinGRU": MinGRU, "MinLSTM": MinLSTM, "LRU": LRU}
PAIRS = [("MinGRU", "sequential"), ("LRU", "associative")]  # each cell and each method once: they do not meet


def problem(name):
    """A cell, a carry and another that resets begin with, and inputs."""
    cell = SPECS[name](features=H, **FLOAT64).build(D, rngs=nnx.Rngs(0))
    keys, shapes = jax.random.split(jax.random.key(1), 3), [(B, H), (B, H), (T, B, D)]
    carry, start, xs = (jax.random.normal(key, shape, jnp.float64) for key, shape in zip(keys, shapes, strict=True))
    return cell, carry, start, xs


def loss(run, *args):
    """Every output and every component of the last carry counts, each with its own weight."""
    parts = jax.tree.leaves(run(*args))
    return sum(jnp.sum(jnp.sin(part + jnp.arange(part.size).reshape(part.shape))) for part in parts)


def assert_close(got, want, tolerance=1e-10):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance), got, want)


@pytest.mark.parametrize(
    ("name", "method", "segment"),
    [
        ("MinGRU", "sequential", None),
        ("MinLSTM", "associative", 3),
        ("LRU", "sequential", 2),
        ("LRU", "associative", 7),
    ],
)
def test_values_and_all_gradients_are_those_of_the_plain_scan(name, method, segment):
    cell, carry, _, xs = problem(name)
    parallel = functools.partial(unroll_linear, method=method, segment=segment)
    got, want = (
        jax.jit(lambda *args, run=run: (run(*args), jax.grad(loss, argnums=(1, 2, 3))(run, *args)))(cell, carry, xs)
        for run in (parallel, jax.lax.scan)
    )
    assert_close(got, want)


def masked_step(cell, start):
    """A step that may not exist: what it would have changed is chosen from before it."""

    def step(carry, inputs):
        x, keep, reset = inputs
        before = jnp.where((reset & keep)[:, None], start, carry)
        carry = jnp.where(keep[:, None], cell(before, x)[0], carry)
        return carry, jnp.where(keep[:, None], cell.output(carry, cell.project(before, x)), 0)

    return step


def by_step(cell, carry, start, xs, keep, resets):
    return jax.lax.scan(masked_step(cell, start), carry, (xs, keep, resets))


def at_once(method):
    def run(cell, carry, start, xs, keep, resets):
        xs = jnp.where(keep[..., None], xs, jnp.nan)
        return unroll_linear(cell, carry, xs, keep=keep, resets=resets, start=start, method=method, segment=3)

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method"), PAIRS)
def test_masks_and_resets_are_those_of_a_scan_step_by_step(name, method):
    """Values, and gradients of weights, inputs and both carries; a NaN at a step that does not exist reaches none."""
    cell, carry, start, xs = problem(name)
    gradients = [
        jax.jit(jax.value_and_grad(functools.partial(loss, run), argnums=(0, 1, 2, 3)))
        for run in (at_once(method), by_step)
    ]

    @given(seed=st.integers(0, 2**32 - 1))
    def check(seed):
        drawn = np.random.default_rng(seed).random((2, T, B))
        keep, resets = jnp.asarray(drawn[0] < 0.7), jnp.asarray(drawn[1] < 0.3)
        got, want = (gradient(cell, carry, start, xs, keep, resets) for gradient in gradients)
        assert_close(got, want)

    check()


@pytest.mark.parametrize(("name", "method"), PAIRS)
def test_padded_and_packed_sequences_are_the_separate_ones(name, method):
    """Lengths 0 to T in one batch, padded with NaN; and the same ones laid end to end, the carry reset in between."""
    cell, _, _, xs = problem(name)
    zeros, lengths = cell.initialize_carry((B, D)), [0, 1, 4, T]
    run = jax.jit(functools.partial(unroll_linear, method=method))
    keep = jnp.arange(T)[:, None] < jnp.array(lengths)
    last, ys = run(cell, zeros, jnp.where(keep[..., None], xs, jnp.nan), keep=keep)
    one = zeros[:1]
    alone = [run(cell, one, xs[:n, b : b + 1]) for b, n in enumerate(lengths)]
    for b, (carry, outputs) in enumerate(alone):
        np.testing.assert_allclose(ys[: lengths[b], b], outputs[:, 0], rtol=1e-12)
        assert not np.any(ys[lengths[b] :, b])
        assert_close(last[b], carry[0], 1e-13)
    packed = jnp.concatenate([xs[:n, b : b + 1] for b, n in enumerate(lengths)])
    resets = jnp.zeros((len(packed), 1), bool).at[jnp.array([0, 1, 5]), 0].set(True)
    _, ys = run(cell, one + jnp.nan, packed, resets=resets)
    np.testing.assert_allclose(ys, jnp.concatenate([outputs for _, outputs in alone]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["MinGRU", "LRU"])
def test_taps_are_the_norms_of_the_adjoints(name):
    """Those of the engine that adds to the carry where a step defines it; of none where there is no step."""
    cell, carry, start, xs = problem(name)
    taps = jnp.zeros((T, B))
    keep = jnp.ones((T, B), bool).at[5:, 1].set(False).at[2, 0].set(False)
    resets = jnp.zeros((T, B), bool).at[3, 2].set(True)

    def of_steps(taps):
        return loss(lambda *args: unroll(masked_step(cell, start), *args, taps=taps), carry, (xs, keep, resets))

    def of_all(taps):
        masks = {"keep": keep, "resets": resets, "start": start}
        return loss(functools.partial(unroll_linear, taps=taps, segment=4, **masks), cell, carry, xs)

    got, want = (jax.jit(jax.grad(f))(taps) for f in (of_all, of_steps))
    assert_close(got, jnp.where(keep, want, 0), 1e-12)
    assert np.all((got > 0) == keep)


def in_shard_map(function):
    mesh = jax.make_mesh((2,), ("b",), axis_types=(AxisType.Auto,))
    side = P(None, "b")
    return jax.shard_map(function, mesh=mesh, in_specs=(P(), side, side), out_specs=(P(), side))


def by_vmap(function):
    def run(cell, xs, keep):
        weights, norms = jax.vmap(lambda x, k: function(cell, x[:, None], k[:, None]), in_axes=1)(xs, keep)
        return jax.tree.map(lambda g: g.sum(0), weights), norms[:, :, 0].T

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method"), PAIRS)
def test_gradients_under_transformations(name, method):
    """In shard_map, by vmap and rematerialised: of weights, with adjoint norms, masks and resets."""
    cell, _, _, xs = problem(name)
    keep = jnp.ones((T, B), bool).at[5:, 1].set(False)

    def function(cell, xs, keep):
        def total(cell, taps):
            carry = cell.initialize_carry(xs.shape[1:])
            masks = {"keep": keep, "resets": ~keep}
            _, ys = unroll_linear(cell, carry, xs, taps=taps, **masks, method=method, segment=3)
            return jnp.sum(jnp.sin(ys))

        return jax.grad(total, argnums=(0, 1))(cell, zeros_like(xs[..., 0]))

    want = jax.jit(function)(cell, xs, keep)
    for transformed in (in_shard_map, by_vmap, jax.checkpoint):
        assert_close(jax.jit(transformed(function))(cell, xs, keep), want, 1e-11)


@pytest.mark.parametrize("name", ["MinGRU", "LRU"])
def test_unroll_is_the_plain_scan_within_shard_map_too(name):
    """The front door: weights replicated over devices, sequences not."""
    cell, _, _, xs = problem(name)

    def gradient(run):
        return jax.grad(lambda cell, xs: jnp.sum(run(cell, cell.initialize_carry(xs.shape[1:]), xs)[1] ** 2))

    mesh = jax.make_mesh((2,), ("b",), axis_types=(AxisType.Auto,))
    split = jax.shard_map(gradient(unroll), mesh=mesh, in_specs=(P(), P(None, "b")), out_specs=P())
    assert_close(jax.jit(split)(cell, xs), jax.jit(gradient(jax.lax.scan))(cell, xs))


def test_a_chosen_segment_bounds_what_is_kept(monkeypatch):
    """All of it where it is small; what fits a CPU's cache, or an accelerator's memory, where it is not."""
    for backend, most in (("cpu", 2**18), ("gpu", 2**25)):
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        assert choose_linear_segment(1000, 256) == 1000
        for numbers in (1, 4096, 2**20):
            segment = choose_linear_segment(100_000, numbers)
            assert 100_000 % segment == 0 and segment * numbers <= max(most, 64 * numbers)


def test_segments_cut_the_memory_of_a_loss_at_the_end():
    """XLA's own count of temporary memory, T = 16,384, B = 8, H = 64: ten times less than the plain scan's."""
    cell = MinGRU(features=64).build(2, rngs=nnx.Rngs(0))
    carry, xs = cell.initialize_carry((8, 2)), jax.ShapeDtypeStruct((16_384, 8, 2), jnp.float32)

    def bytes_of(run):
        gradient = jax.grad(lambda cell, xs: jnp.sum(run(cell, carry, xs)[0]))
        return jax.jit(gradient).lower(cell, xs).compile().memory_analysis().temp_size_in_bytes

    assert bytes_of(jax.lax.scan) > 10 * bytes_of(unroll_linear)


def test_a_segment_below_one_is_refused():
    cell, carry, _, xs = problem("LRU")
    with pytest.raises(ValueError, match="segment=0: a segment is at least 1 step"):
        unroll_linear(cell, carry, xs, segment=0)


def test_no_steps_leave_the_carry():
    cell, carry, _, xs = problem("LRU")
    last, ys = unroll_linear(cell, carry, xs[:0])
    assert_close(last, carry)
    assert ys.shape == (0, B, H)


def test_sums_over_time_of_bfloat16_are_made_in_float32():
    """A state that keeps all but 1 part in 4,096 a step, whose gate would be 1 in bfloat16, and its gradient's sums."""
    cell = MinGRU(features=1, dtype="bfloat16").build(1, rngs=nnx.Rngs(0))
    cell.w_x[...], cell.b[...] = np.zeros((1, 2), "f"), np.array([np.log(4095), 0.5], "f")  # g = 1
    carry, xs = cell.initialize_carry((1, 1)), jnp.ones((4096, 1, 1), jnp.bfloat16)
    run = jax.jit(jax.value_and_grad(lambda c: jnp.sum(unroll_linear(c, carry, xs)[0])))
    h, gradient = run(cell)
    assert carry.dtype == gradient.b.dtype == jnp.float32 and unroll_linear(cell, carry, xs)[1].dtype == jnp.bfloat16
    np.testing.assert_allclose([h, gradient.b[...][1]], 1 - np.exp(-1), rtol=1e-2)
