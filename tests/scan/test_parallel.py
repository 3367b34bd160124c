"""Newton's method over a whole trajectory: equal to the sequential scan or not converged, and so its gradient."""

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

from rnnlab.cells import GRU, LSTM, CellSpec, VanillaRNN
from rnnlab.scan.parallel import solve_in_parallel
from rnnlab.specs.discover import subclasses

TYPES = {"dtype": "float64", "param_dtype": "float64"}
KINDS = ["VanillaRNN", "LSTM", "GRU", "flax GRU"]
METHODS = ["deer", "quasi-deer", "elk", "quasi-elk"]
LENGTH, BATCH, WIDTH, FEATURES = 12, 2, 2, 3


def build(kind, **settings):
    if kind == "flax GRU":
        return nnx.GRUCell(WIDTH, FEATURES, rngs=nnx.Rngs(0), dtype=jnp.float64, param_dtype=jnp.float64)
    specs = {"LSTM": LSTM, "VanillaRNN": VanillaRNN, "GRU": GRU}
    return specs[kind](features=FEATURES, **(TYPES | settings)).build(WIDTH, rngs=nnx.Rngs(0))


def problem(cell, length=LENGTH, seed=0):
    """Inputs, and a first carry that is not zero."""
    keys = iter(jax.random.split(jax.random.key(seed), 9))
    carry = cell.initialize_carry((BATCH, WIDTH), nnx.Rngs(0))
    carry = jax.tree.map(lambda leaf: jax.random.normal(next(keys), leaf.shape, jnp.float64), carry)
    return carry, jax.random.normal(next(keys), (length, BATCH, WIDTH), jnp.float64)


solve = jax.jit(solve_in_parallel, static_argnames=("method", "tolerance", "most", "damping"))
scan = jax.jit(jax.lax.scan)


def assert_close(got, want, tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), got, want)


def scaled(cell, factor):
    """The cell with all its weights times a factor: from almost linear to chaotic."""
    return jax.tree.map(lambda leaf: leaf * factor if leaf.dtype == jnp.float64 else leaf, cell)


@pytest.mark.parametrize("kind", KINDS)
@given(factor=st.floats(0, 6), seed=st.integers(0, 100))
def test_a_sequence_is_equal_to_the_scan_or_not_converged(kind, factor, seed):
    """To 1e-5, each sequence by itself; T iterations are enough wherever float64 determines the trajectory."""
    cell = scaled(build(kind), factor)
    carry, xs = problem(cell, seed=seed)
    found, (want_carry, want_ys) = solve(cell, carry, xs, most=LENGTH + 2), scan(cell, carry, xs)
    assert found.converged.all() and (found.iterations <= LENGTH + 1).all()
    assert_close((found.carry, found.ys), (want_carry, want_ys), 1e-5)


@pytest.mark.campaign
@pytest.mark.parametrize(("name", "spec"), sorted(subclasses(CellSpec).items()))
def test_every_cell_of_the_library_in_few_iterations(name, spec):
    """A linear recurrence in one; a cell of a new file comes in by itself."""
    cell = spec(features=4, **TYPES).build(WIDTH, rngs=nnx.Rngs(0))
    carry, xs = problem(cell)
    found = solve(cell, carry, xs)
    assert found.converged.all() and (found.iterations <= LENGTH).all()
    assert (found.iterations == 1).all() == (name in ("LRU", "MinGRU", "MinLSTM"))
    assert_close((found.carry, found.ys), scan(cell, carry, xs), 1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_an_lstms_trajectory(method):
    cell = build("LSTM")
    carry, xs = problem(cell)
    found = solve(cell, carry, xs, method=method, tolerance=1e-9)
    assert found.converged.all()
    assert_close((found.carry, found.ys), scan(cell, carry, xs), 1e-8)
    assert jax.tree.structure(found.carry) == jax.tree.structure(carry)
    for residuals, iterations in zip(found.residuals.T, found.iterations, strict=True):
        assert np.isfinite(residuals[: iterations + 1]).all() and np.isnan(residuals[iterations + 1 :]).all()


def loss(run, weights, cell, carry, xs):
    """Every output and every component of the last carry counts."""
    last, ys = run(cell, carry, xs)[:2]
    parts = jax.tree.map(lambda a, w: jnp.sum(jnp.sin(a) * w), (last, ys), weights)
    return sum(jax.tree.leaves(parts))


@pytest.mark.parametrize(("kind", "method"), [*((kind, "deer") for kind in KINDS), ("LSTM", "quasi-elk")])
def test_gradients_are_those_of_the_scan(kind, method):
    """Of weights, inputs and initial carry."""
    cell = build(kind)
    carry, xs = problem(cell)
    weights = jax.tree.map(lambda leaf: jnp.cos(jnp.arange(leaf.size * 1.0)).reshape(leaf.shape), scan(cell, carry, xs))
    fast = functools.partial(solve_in_parallel, method=method, tolerance=1e-11)
    gradient = functools.partial(jax.grad, argnums=(0, 1, 2), allow_int=True)
    want = jax.jit(gradient(functools.partial(loss, jax.lax.scan, weights)))(cell, carry, xs)
    got = jax.jit(gradient(functools.partial(loss, fast, weights)))(cell, carry, xs)
    floats = functools.partial(jax.tree.map, lambda x: x if x.dtype == jnp.float64 else np.zeros(()))
    assert_close(floats(got), floats(want), 1e-8)


def test_a_function_that_closes_over_its_weights_gives_them_their_gradient():
    cell = build("VanillaRNN")
    carry, xs = problem(cell, length=5)

    def total(run, cell):
        return jnp.sum(run(lambda c, x: cell(c, x), carry, xs)[1] ** 3)

    fast = functools.partial(solve_in_parallel, tolerance=1e-11)
    got, want = (jax.jit(jax.grad(functools.partial(total, run)))(cell) for run in (fast, jax.lax.scan))
    assert_close(got, want, 1e-9)


def test_second_derivatives_and_vmap():
    cell = build("VanillaRNN")
    carry, xs = problem(cell, length=5)
    weights = jax.tree.map(jnp.ones_like, scan(cell, carry, xs))

    def curvature(run):
        along = lambda a: loss(run, weights, cell, a * carry, xs)  # noqa: E731
        return jax.jit(jax.grad(jax.grad(along)))(1.0)

    fast = functools.partial(solve_in_parallel, tolerance=1e-12)
    np.testing.assert_allclose(curvature(fast), curvature(jax.lax.scan), rtol=1e-9)
    both = jax.jit(jax.vmap(lambda xs: fast(cell, carry, xs).ys))(jnp.stack([xs, 2 * xs]))
    assert_close(both[1], scan(cell, carry, 2 * xs)[1], 1e-11)


def test_the_batch_over_devices_within_shard_map():
    cell = build("VanillaRNN")
    carry, xs = problem(cell)
    mesh, batch = jax.make_mesh((2,), ("b",), axis_types=(AxisType.Auto,)), P(None, "b")

    def total(cell, carry, xs):
        return jax.lax.psum(jnp.sum(solve_in_parallel(cell, carry, xs, tolerance=1e-11).ys ** 3), "b")

    over = jax.shard_map(total, mesh=mesh, in_specs=(P(), P("b"), batch), out_specs=P())
    want = jax.jit(jax.grad(lambda cell: jnp.sum(jax.lax.scan(cell, carry, xs)[1] ** 3)))(cell)
    assert_close(jax.jit(jax.grad(over))(cell, carry, xs), want, 1e-9)


def newton_by_dense_algebra(cell, start, xs, method, most, damping):
    """Largest residuals by iteration of one sequence of tanh units: the whole Jacobian [T N, T N] and a solver."""
    w_x, w_h, b = (np.asarray(p) for p in cell.projection())
    length, size = len(xs), len(b)
    states, sizes = np.zeros((length, size)), []

    def residual(states):
        values = np.tanh(xs @ w_x + np.concatenate([start[None], states[:-1]]) @ w_h + b)
        return states - values, values

    for _ in range(most + 1):
        r, values = residual(states)
        sizes.append(np.abs(r).max())
        whole = np.eye(length * size)
        for t in range(1, length):
            block = (1 - values[t] ** 2)[:, None] * w_h.T
            block = np.diag(np.diag(block)) if method.startswith("quasi") else block
            whole[t * size : (t + 1) * size, (t - 1) * size : t * size] = -block
        if method.endswith("deer"):
            states = states - np.linalg.solve(whole, r.ravel()).reshape(states.shape)
            continue
        move = np.linalg.solve(whole.T @ whole + damping * np.eye(len(whole)), -whole.T @ r.ravel())
        moved = states + move.reshape(states.shape)
        lower = (residual(moved)[0] ** 2).sum() < (r**2).sum()
        states, damping = (moved, damping / 10) if lower else (states, damping * 10)
    return np.array(sizes)


@pytest.mark.parametrize("method", METHODS)
def test_iterations_are_those_of_dense_algebra(method):
    """Residuals of every iteration, in a network so nonlinear that elk refuses some of its steps."""
    cell = scaled(build("VanillaRNN"), 3.0)
    carry, xs = problem(cell)
    found = solve(cell, carry, xs, method=method, most=6, tolerance=1e-14, damping=1e-3)
    for b in range(BATCH):
        want = newton_by_dense_algebra(cell, np.asarray(carry[b]), np.asarray(xs[:, b]), method, 6, 1e-3)
        np.testing.assert_allclose(found.residuals[:, b], want, rtol=1e-6, atol=1e-12)
    assert (jnp.diff(found.residuals, axis=0) == 0).any() == method.endswith("elk")


def test_a_linear_map_takes_one_iteration_and_a_right_guess_hardly_more():
    """Whose error is told only by what an iteration leaves of it: of rounding alone, on some processors, by two."""
    cell = build("VanillaRNN", activation="linear")
    carry, xs = problem(cell)
    found = solve(cell, carry, xs)
    assert found.converged.all() and (found.iterations == 1).all()
    assert_close((found.carry, found.ys), scan(cell, carry, xs), 1e-10)
    found = solve(cell, carry, xs, guess=scan(cell, carry, xs)[1])
    assert found.converged.all() and (found.iterations <= 2).all()


def test_a_derivative_that_is_not_the_jacobian_is_not_taken_for_it():
    """With stop_gradient an iteration leaves .99 of the error: its step is a hundredth of what is missing."""

    def step(h, x):
        new = 0.99 * jax.lax.stop_gradient(h) + 0.01 * jnp.tanh(x)
        return new, new

    xs = 1.0 + jax.random.normal(jax.random.key(0), (1500, 1, 2), jnp.float64)
    found = solve_in_parallel(step, jnp.zeros((1, 2), jnp.float64), xs, tolerance=1e-3, most=1500)
    want = jax.lax.scan(step, jnp.zeros((1, 2), jnp.float64), xs)[1]
    assert found.converged.all() and found.iterations[0] > 200
    assert jnp.max(jnp.abs(found.ys - want)) <= 1e-3


def test_a_diagonal_recurrence_is_the_same_to_its_diagonal():
    cell = build("VanillaRNN")
    cell.w_h[...] = jnp.diag(jnp.array([1.5, -0.5, 2.0]))
    carry, xs = problem(cell)
    full, diagonal = (solve(cell, carry, xs, method=method) for method in ("deer", "quasi-deer"))
    np.testing.assert_allclose(full.residuals, diagonal.residuals, rtol=1e-6, atol=1e-12)


def test_the_error_of_a_diagonal_is_that_of_all_steps_to_come():
    """Two units that read each other have a diagonal of 0: at weight .95 an iteration takes 5 % off the error, and the
    step that it makes is a twentieth of what is left.
    """
    cell = VanillaRNN(features=2, activation="linear", **TYPES).build(2, rngs=nnx.Rngs(0))
    cell.w_h[...] = 0.95 * jnp.array([[0.0, 1.0], [1.0, 0.0]])
    carry, xs = jnp.zeros((1, 2), jnp.float64), 0.02 * jnp.ones((400, 1, 2), jnp.float64)
    found = solve(cell, carry, xs, method="quasi-deer", tolerance=1e-3, most=400)
    want = scan(cell, carry, xs)[1]
    assert found.converged.all() and found.iterations[0] < 200 and jnp.max(jnp.abs(want)) < 1
    assert 1e-4 < jnp.max(jnp.abs(found.ys - want)) <= 1e-3


@jax.tree_util.Partial
def logistic(carry, x):
    new = 4 * carry * (1 - carry) + x
    return new, new


@pytest.mark.parametrize("method", ["deer", "quasi-deer"])
def test_each_iteration_makes_one_more_step_of_chaos_right(method):
    """The logistic map at 4, whose exponent is ln 2: rounding of 2^-52 is amplified to 1e-5 within 36 steps, so that
    what does converge over 30 never does over 64, though T iterations make its residual 0.
    """
    start, xs = jnp.full((1, 1), 0.3), jnp.zeros((64, 1, 1))
    want = scan(logistic, start, xs)[1]
    for most in (3, 20):
        found = solve(logistic, start, xs, method=method, most=most)
        np.testing.assert_allclose(found.ys[:most], want[:most], atol=1e-8)
        assert jnp.isfinite(found.ys[: most + 1]).all() and not found.converged.any()
    short = solve(logistic, start, xs[:30], method=method)
    assert short.converged.all() and short.iterations[0] <= 32
    np.testing.assert_allclose(short.ys, want[:30], atol=1e-5)
    whole = solve(logistic, start, xs, method=method)
    assert not whole.converged.any() and 40 < whole.iterations[0] <= 66
    assert whole.residuals[whole.iterations[0], 0] == 0 and jnp.isfinite(whole.ys).all()


def test_products_of_jacobians_that_overflow_do_no_harm():
    """At a guess of 0 they are (-20)^k, beyond float32 after 30 steps; the trajectory saturates, and is found."""
    cell = build("VanillaRNN", dtype="float32", param_dtype="float32")
    cell.w_h[...] = -20 * jnp.eye(FEATURES, dtype=jnp.float32)
    carry, xs = (jnp.ones(shape, jnp.float32) for shape in ((BATCH, FEATURES), (128, BATCH, WIDTH)))
    found = solve(cell, carry, xs, most=128)
    assert found.converged.all() and (found.iterations <= 128).all()
    np.testing.assert_allclose(found.ys, scan(cell, carry, xs)[1], atol=1e-5)


def test_chaos_whose_jacobians_overflow_in_any_stretch_still_takes_no_more_than_T_iterations():
    """s_t = sin(30 s_{t-1}): products of 128 Jacobians are beyond float32, also along the trajectory itself."""
    start, xs = jnp.full((1, 1), 0.3, jnp.float32), jnp.zeros((256, 1, 1), jnp.float32)
    wild = jax.tree_util.Partial(lambda carry, x: (jnp.sin(30 * carry) + x,) * 2)
    found = solve(wild, start, xs, most=258)
    assert found.iterations[0] <= 257 and not found.converged.any()
    assert found.residuals[found.iterations[0], 0] == 0 and (jnp.abs(found.ys) <= 1).all()


def test_what_overflows_or_is_nan_is_not_converged():
    cell = build("VanillaRNN", activation="linear")
    cell.w_h[...] = 1e30 * jnp.eye(FEATURES)
    carry, xs = problem(cell, length=14)
    assert not solve(cell, carry, xs).converged.any()
    cell = build("LSTM")
    carry, xs = problem(cell)
    found, want = solve(cell, carry, xs.at[4, 0].set(jnp.nan)), scan(cell, carry, xs)[1]
    assert found.converged.tolist() == [False, True]
    np.testing.assert_allclose(found.ys[:, 1], want[:, 1], atol=1e-5)
    np.testing.assert_allclose(found.ys[:4, 0], want[:4, 0], atol=1e-5)
    found = solve(cell, carry, xs, guess=jax.tree.map(lambda c: jnp.full((LENGTH, *c.shape), jnp.nan), carry))
    assert found.converged.all()


def test_no_steps_and_one():
    cell = build("LSTM")
    carry, xs = problem(cell)
    for length in (0, 1):
        found = solve_in_parallel(cell, carry, xs[:length])
        assert found.converged.all() and (found.iterations == length).all()
        assert_close((found.carry, found.ys), jax.lax.scan(cell, carry, xs[:length]), 1e-12)


class Counting(nnx.Module):
    def __init__(self):
        self.count = nnx.Variable(jnp.zeros((), jnp.int32))

    def __call__(self, carry, x):
        self.count[...] += 1
        return carry, carry


@pytest.mark.parametrize(("settings", "message"), [
    ({"method": "newton"}, "method='newton': must be one of deer, quasi-deer"), ({"most": 0}, "most=0"),
    ({"tolerance": -1.0}, "tolerance=-1.0"), ({"damping": 0.0}, "damping=0.0"),
    ({"guess": jnp.zeros((3, 2, 3))}, "guess: shapes"), ({"cell": Counting()}, "Counting has state .* use unroll"),
])  # fmt: skip
def test_bad_settings_are_named(settings, message):
    cell = build("VanillaRNN")
    carry, xs = problem(cell)
    with pytest.raises(ValueError, match=message):
        solve_in_parallel(settings.pop("cell", cell), carry, xs, **settings)
