"""The compiled LSTM equals plain autodiff, whatever the shape and the segment; without a compiler all runs in JAX."""

import functools
import os
import re
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec as P

from rnnlab.cells import LSTM, LayerNormLSTM
from rnnlab.cells.lstm import LSTMCell
from rnnlab.scan import compiler, lstm_kernel, projected
from rnnlab.scan.presence import Presence
from rnnlab.scan.unroll import unroll

KERNEL = "rnnlab.scan.projected.runs_compiled"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    needs_compiler = pytest.mark.skipif(compiler.library("lstm.cc") is None, reason="no C++ compiler")


def drawn(length, batch, inputs, features, seed=0):
    """Weights, carry, inputs and the weights of a dense loss, in float64."""
    rng = np.random.default_rng(seed)
    w_x, w_h = (rng.normal(size=(n, 4 * features)) / np.sqrt(n + features) for n in (inputs, features))
    shapes = [(4 * features,), (*batch, features), (*batch, features), (length, *batch, inputs)]
    b, c, h, xs = (rng.normal(size=shape) for shape in shapes)
    losses = [rng.normal(size=shape) for shape in ((*batch, features), (*batch, features), (length, *batch, features))]
    return (w_x, w_h, b), (c, h), xs, losses


def cell_of(weights):
    dtype = str(weights[0].dtype)
    spec = LSTM(features=len(weights[1]), dtype=dtype, param_dtype=dtype)
    return LSTMCell(spec, len(weights[0]), *weights)


def measured(arrays, dtype, *, last=False, **options):
    """The gradients of a loss by weights, carry, inputs and taps."""
    weights, carry, xs, losses = jax.tree.map(lambda a: jnp.asarray(a, dtype), arrays)

    def loss(weights, carry, xs, taps):
        (c, h), ys = unroll(cell_of(weights), carry, xs, taps=taps, **options)
        ends = jnp.sum(jnp.cos(c) * losses[0]) + jnp.sum(jnp.sin(h) * losses[1])
        return ends if last else ends + jnp.sum(jnp.sin(ys) * losses[2])

    taps = (jnp.zeros(xs.shape[:-1], dtype),) * 2
    return jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3)))(weights, carry, xs, taps)


def assert_close(ours, exact, tolerance):
    """To so much of the largest number of each array."""
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(exact), strict=True):
        other = np.asarray(other)
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * max(np.abs(other).max(initial=0), 1e-3))


def refuse(*_):
    raise AssertionError("the plain form was to run")


SHAPES = {  # T, *B, D, H
    "one sequence": (10, (1,), 1, 7),
    "no batch": (6, (), 2, 3),
    "two axes of batch": (5, (2, 3), 2, 33),
    "few sequences": (9, (3,), 4, 64),
    "a panel and a bit": (20, (5,), 3, 40),
    "parts of unequal rows": (8, (29,), 5, 100),
    "more than a depth": (4, (16,), 600, 130),
    "more than a chunk": (60, (33,), 3, 20),
}


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("segment", [3, 100])
@pytest.mark.parametrize("last", [False, True])
def test_equals_the_plain_form_in_float64(shape, segment, last):
    """All gradients, as the plain form in float32 has them."""
    arrays = drawn(*SHAPES[shape])
    ours = measured(arrays, jnp.float32, segment=segment, last=last)
    with jax.enable_x64(True):
        exact = measured(arrays, jnp.float64, segment=100, last=last)
    assert_close(ours, exact, 1e-5)


@needs_compiler
@pytest.mark.parametrize("segment", [3, 100])
@pytest.mark.parametrize("threads", [1, 3])
def test_equals_the_plain_form_in_float32(monkeypatch, segment, threads):
    """To 1e-6, also over threads and with sequences of unequal length, inputs behind whose end are not numbers."""
    weights, carry, xs, losses = drawn(20, (9,), 6, 48)
    lengths = jnp.array([20, 0, 1, 19, 7, 3, 20, 12, 5])
    xs[np.arange(20)[:, None] >= np.asarray(lengths)] = np.nan
    monkeypatch.setattr(lstm_kernel, "_threads", lambda _: threads)
    for when in ({}, {"lengths": lengths}):
        arrays = weights, carry, xs if when else np.nan_to_num(xs), losses
        ours = measured(arrays, jnp.float32, segment=segment, **when)
        with monkeypatch.context() as patched:
            patched.setattr(KERNEL, lambda *_: False)
            plain = measured(arrays, jnp.float32, segment=100, **when)
        assert_close(ours, plain, 1e-6)


@pytest.mark.slow
@needs_compiler
def test_a_long_sum_loses_nothing():
    """The weights' gradient over 100,000 steps of one sign, as of a bias, is a sum of sums."""
    weights, carry, xs, _ = jax.tree.map(jnp.float32, drawn(2000, (50,), 1, 3))
    xs = jnp.ones_like(xs)

    def gradient(cast):
        given = jax.tree.map(lambda a: a.astype(cast), (weights, carry, xs))
        return jax.jit(jax.grad(lambda w, c, x: jnp.sum(unroll(cell_of(w), c, x, segment=2000)[1])))(*given)

    ours = gradient(jnp.float32)
    with jax.enable_x64(True):
        assert_close(ours, gradient(jnp.float64), 5e-6)


@pytest.mark.slow
@needs_compiler
def test_a_derivative_of_adjoint_norms_of_unequal_sequences():
    """A norm of zeros, beyond a sequence's end, has no derivative, and takes no part."""
    weights, carry, xs, _ = jax.tree.map(jnp.float32, drawn(6, (4,), 3, 5))
    taps = (jnp.zeros((6, 4), jnp.float32),) * 2

    def penalty(weights):
        def loss(taps):
            return jnp.sum(unroll(cell_of(weights), carry, xs, taps=taps, lengths=jnp.array([1, 3, 6, 2]))[1] ** 2)

        return sum(jnp.sum(norms) for norms in jax.grad(loss)(taps))

    ours = jax.grad(penalty)(weights)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(KERNEL, lambda *_: False)
        assert_close(ours, jax.grad(penalty)(weights), 1e-5)


@needs_compiler
def test_norms_have_the_dtype_of_their_taps():
    weights, carry, xs, _ = jax.tree.map(jnp.float32, drawn(3, (2,), 3, 5))
    taps = jnp.zeros((3, 2), jnp.bfloat16), jnp.zeros((3, 2), jnp.float32)
    norms = jax.grad(lambda taps: jnp.sum(unroll(cell_of(weights), carry, xs, taps=taps)[1]))(taps)
    assert [norm.dtype for norm in norms] == [jnp.bfloat16, jnp.float32]


@needs_compiler
@pytest.mark.parametrize("wrong", ["inputs", "carry", "no batch", "one part"])
def test_arrays_that_do_not_fit_never_reach_the_kernel(wrong):
    weights, (c, h), xs, _ = jax.tree.map(jnp.float32, drawn(4, (5,), 3, 8))
    carry = {"carry": (c[:1], h[:1]), "no batch": (c[0], h[0]), "one part": (c, h[:, :7])}.get(wrong, (c, h))
    with pytest.raises((TypeError, ValueError)):
        unroll(cell_of(weights), carry, xs[..., :2] if wrong == "inputs" else xs)


@needs_compiler
def test_no_tracer_leaks():
    weights, carry, xs, _ = jax.tree.map(jnp.float32, drawn(4, (2,), 3, 5))
    with jax.check_tracer_leaks():
        jax.jit(gradient_of(unroll))(weights, carry, xs)


@needs_compiler
@pytest.mark.parametrize("present", [False, True])
def test_outputs_made_in_parts(monkeypatch, present):
    """As those of a long sequence are; parts, segments and T that do not divide."""
    arrays, when = drawn(23, (3,), 2, 5), {"lengths": jnp.array([23, 9, 20])} if present else {}
    monkeypatch.setattr(lstm_kernel, "PARTS", dict.fromkeys((False, True), 8 * 3 * 5 * 4))
    ours = measured(arrays, jnp.float32, segment=4, **when)
    with jax.enable_x64(True):
        exact = measured(arrays, jnp.float64, segment=100, **when)
    assert_close(ours, exact, 3e-6)


@needs_compiler
def test_values_without_a_gradient_equal_the_plain_scan():
    weights, carry, xs, _ = jax.tree.map(jnp.float32, drawn(11, (4,), 3, 50))
    got, want = unroll(cell_of(weights), carry, xs), jax.lax.scan(cell_of(weights), carry, xs)
    assert_close(got, want, 1e-6)


@needs_compiler
def test_saturated_gates_and_numbers_that_are_none():
    """Nothing overflows where gates are full or shut; what is no number stays none, in its own sequence."""
    weights, carry, xs, losses = drawn(7, (4,), 3, 20)
    xs[:, 0] *= 10
    xs[:, 1] *= 1e30
    with jax.enable_x64(True):
        exact = measured((weights, carry, xs, losses), jnp.float64)
    assert_close(measured((weights, carry, xs, losses), jnp.float32), exact, 3e-6)
    xs[3, 2] = np.nan
    weights, carry, xs, _ = jax.tree.map(jnp.float32, (weights, carry, xs, losses))
    _, ys = unroll(cell_of(weights), carry, xs)
    assert jnp.isnan(ys[3:, 2]).all() and jnp.isfinite(ys[:3]).all() and jnp.isfinite(ys[:, [0, 1, 3]]).all()


@needs_compiler
def test_small_numbers_keep_their_relative_precision():
    """tanh near 0 and sigmoid far below it, as of a gate that forgets all: nothing is lost in a difference."""
    z = np.array([-30.0, -20.0, -10.0, 0.0, 20.0])
    weights = np.zeros((1, 20)), np.zeros((5, 20)), np.concatenate([z, z, 2e-6 * z, z])
    carry, xs = (np.full((1, 5), 1e-5), np.zeros((1, 5))), np.zeros((1, 1, 1))
    weights, carry, xs = jax.tree.map(jnp.float32, (weights, carry, xs))
    (c, h), _ = unroll(cell_of(weights), carry, xs)
    gate = 1 / (1 + np.exp(-z))
    exact = gate * 1e-5 + gate * np.tanh(2e-6 * z)
    np.testing.assert_allclose(c[0], exact, rtol=1e-6)
    np.testing.assert_allclose(h[0], gate * np.tanh(exact), rtol=1e-6)


def gradient_of(run):
    def loss(weights, carry, xs):
        last, ys = run(cell_of(weights), carry, xs)
        return jnp.sum(jnp.sin(ys)) + sum(jnp.sum(part) for part in last)

    return jax.grad(loss, argnums=(0, 1, 2))


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("over", ["inputs", "weights", "cotangents"])
def test_vmap(over):
    weights, carry, xs, _ = jax.tree.map(jnp.float32, drawn(6, (2,), 3, 9))
    two = functools.partial(jax.tree.map, lambda a: jnp.stack([a, 0.5 * a]))
    if over == "cotangents":
        got, want = (jax.jacrev(lambda x, run=run: run(cell_of(weights), carry, x)[1][-1, 0])(xs)
                     for run in (unroll, jax.lax.scan))  # fmt: skip
    else:
        axes, given = ((None, None, 0), (weights, carry, two(xs))) if over == "inputs" else ((0, None, None), None)
        given = given or (two(weights), carry, xs)
        got, want = (jax.jit(jax.vmap(gradient_of(run), axes))(*given) for run in (unroll, jax.lax.scan))
    assert_close(got, want, 1e-6)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("segment", [2, 6])
def test_a_derivative_of_a_gradient(segment):
    """As a penalty on the gradient has, and a product with the Hessian."""
    weights, carry, xs, _ = jax.tree.map(jnp.float32, drawn(6, (2,), 3, 5))

    def penalty(run, weights):
        return sum(jnp.sum(d**2) for d in jax.tree.leaves(gradient_of(run)(weights, carry, xs)))

    runs = functools.partial(unroll, segment=segment), jax.lax.scan
    for transform in (lambda f: jax.jit(jax.grad(f)), lambda f: lambda w: jax.jvp(f, (w,), (w,))):
        got, want = (transform(functools.partial(penalty, run))(weights) for run in runs)
        assert_close(got, want, 2e-6)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("check", [True, False])
def test_over_devices(check):
    weights, carry, xs, _ = jax.tree.map(jnp.float32, drawn(6, (4,), 3, 5))
    mesh = jax.make_mesh((2,), ("b",), axis_types=(jax.sharding.AxisType.Auto,))

    def run(weights, carry, xs):
        weights, *others = gradient_of(unroll)(weights, carry, xs)
        return (weights if check else jax.lax.psum(weights, "b")), *others

    spread = (P(), P("b"), P(None, "b"))
    got = jax.jit(jax.shard_map(run, mesh=mesh, in_specs=spread, out_specs=spread, check_vma=check))(weights, carry, xs)
    assert_close(got, gradient_of(jax.lax.scan)(weights, carry, xs), 1e-6)


def runs(monkeypatch, spec=None, batch=4, when=None, inputs=3, backend="cpu"):
    monkeypatch.setattr(lstm_kernel, "_registered", lambda: True)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    cell = (spec or LSTM(features=8)).build(inputs, rngs=nnx.Rngs(0))
    xs = jnp.zeros((5, batch, inputs), cell.dtype)
    return lstm_kernel.runs_compiled(cell, cell.initialize_carry(xs.shape[1:]), xs, when or Presence())


class OwnCell(LSTMCell):
    """A subclass, whose step may be another."""


def test_what_runs_compiled(monkeypatch):
    assert runs(monkeypatch)
    assert runs(monkeypatch, when=Presence(present=jnp.ones((5, 4), bool)))
    assert not runs(monkeypatch, when=Presence(resets=jnp.ones((5, 4), bool)))
    assert not runs(monkeypatch, backend="gpu")
    assert not runs(monkeypatch, batch=0)
    assert not runs(monkeypatch, LSTM(features=8, dtype="bfloat16"))
    assert not runs(monkeypatch, LayerNormLSTM(features=8))
    cell = OwnCell(LSTM(features=2), 1, jnp.zeros((1, 8)), jnp.zeros((2, 8)), jnp.zeros(8))
    xs = jnp.zeros((3, 4, 1))
    assert not lstm_kernel.runs_compiled(cell, cell.initialize_carry((4, 1)), xs, Presence())


def test_wide_weights_run_compiled_for_many_sequences_alone(monkeypatch):
    monkeypatch.setattr(lstm_kernel, "_threads", lambda sequences: 1)
    assert not runs(monkeypatch, LSTM(features=512), batch=15, inputs=1)
    assert runs(monkeypatch, LSTM(features=512), batch=16, inputs=1)
    assert not runs(monkeypatch, LSTM(features=512), batch=64, inputs=2000)
    monkeypatch.setattr(lstm_kernel, "_threads", lambda sequences: 2)
    assert not runs(monkeypatch, LSTM(features=512), batch=31, inputs=1)


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """As in a new process with an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(compiler.SWITCH, raising=False)
    compiler.library.cache_clear()
    yield tmp_path / "rnnlab"
    compiler.library.cache_clear()


def test_without_a_compiler_or_switched_off_layers_run_in_jax(monkeypatch, fresh):
    monkeypatch.setenv(compiler.SWITCH, "Off")
    assert compiler.library("lstm.cc") is None and compiler.describe("lstm.cc") == "plain JAX"
    monkeypatch.delenv(compiler.SWITCH)
    compiler.library.cache_clear()
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert compiler.wanted() is None and compiler.library("lstm.cc") is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "ziglang")
    assert compiler.wanted() == [sys.executable, "-m", "ziglang", "c++"]
    assert not fresh.exists()


def test_a_compiler_that_fails_is_told_in_one_line(monkeypatch, fresh, tmp_path):
    broken, silent = tmp_path / "broken", tmp_path / "silent"
    broken.write_text("""#!/bin/sh\n[ "$1" = --version ] && exec echo it 1\necho "x: error: no header" >&2; exit 1\n""")
    silent.write_text("#!/bin/sh\n")
    for file in (broken, silent):
        file.chmod(0o755)
    for command, told in (
        (str(broken), "x: error: no header"),
        (str(silent), "cannot open shared object"),
        (str(tmp_path / "nowhere"), "No such file"),
        ("g++ '", "No closing quotation"),
    ):
        compiler.library.cache_clear()
        monkeypatch.setenv("CXX", command)
        with pytest.warns(
            UserWarning, match=f"CXX={re.escape(command)}: lstm.cc cannot be .*plain JAX.*{told}"
        ) as warned:
            assert compiler.library("lstm.cc") is None
        assert len(warned) == 1 and "\n" not in str(warned[0].message)
    assert not list(fresh.glob("*"))


def test_a_switch_that_is_none_is_said(monkeypatch, fresh):
    monkeypatch.setenv(compiler.SWITCH, "of")
    with pytest.warns(UserWarning, match="RNNLAB_KERNEL=of: must be on or off; taken as on"):
        compiler.wanted()


@pytest.mark.slow
@needs_compiler
def test_a_damaged_library_is_built_again_and_options_are_part_of_its_name(monkeypatch, fresh):
    first = compiler.library("lstm.cc")
    (path,) = fresh.iterdir()
    path.unlink()  # that of this process stays mapped
    path.write_bytes(b"")
    compiler.library.cache_clear()
    assert compiler.library("lstm.cc").key == first.key
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[:5000])  # to load it would end the process
    compiler.library.cache_clear()
    assert compiler.library("lstm.cc").key == first.key and path.stat().st_size > 5000
    monkeypatch.setenv("CXX", f"{compiler.wanted()[0]} -O1")
    compiler.library.cache_clear()
    assert compiler.library("lstm.cc").key != first.key


@pytest.mark.slow
@needs_compiler
def test_a_cache_that_cannot_be_written_costs_a_build(monkeypatch, fresh):
    fresh.write_text("a file")
    assert compiler.library("lstm.cc") and fresh.read_text() == "a file"


@pytest.mark.slow
@needs_compiler
def test_many_that_build_at_once_get_one_whole_library(fresh):
    code = "from rnnlab.scan import compiler; print(compiler.library('lstm.cc').key)"

    def build(_):
        return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    with ThreadPoolExecutor(3) as pool:
        keys = set(pool.map(build, range(3)))
    assert len(keys) == 1 and len(list(fresh.iterdir())) == 1


@pytest.mark.slow
@needs_compiler
def test_a_program_kept_by_jax_finds_the_kernel_in_another_process(tmp_path):
    code = """
import jax, jax.numpy as jnp
from flax import nnx
from rnnlab.cells import LSTM
from rnnlab.scan.unroll import unroll
cell = LSTM(features=5).build(3, rngs=nnx.Rngs(0))
loss = lambda xs: jnp.sum(unroll(cell, cell.initialize_carry((2, 3)), xs)[1])
print(jax.jit(jax.value_and_grad(loss))(jnp.ones((4, 2, 3)))[0])
"""
    options = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
               "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1", "JAX_LOGGING_LEVEL": "DEBUG",
               "JAX_PLATFORMS": "cpu"}  # fmt: skip
    first, second = (
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=os.environ | options
        )
        for _ in range(2)
    )
    assert first.stdout == second.stdout and "Persistent compilation cache hit for 'jit__lambda" in second.stderr


def test_the_kernel_is_what_runs(monkeypatch):
    """So that no test above compares the plain form with itself."""
    if compiler.library("lstm.cc") is None:
        pytest.skip("no C++ compiler")
    monkeypatch.setattr(projected, "_unroll", refuse)
    weights, carry, xs, _ = jax.tree.map(jnp.float32, drawn(3, (2,), 1, 4))
    assert jax.tree.leaves(gradient_of(unroll)(weights, carry, xs))
