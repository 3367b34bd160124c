"""A linear recurrence is what a loop makes of it, whichever way it is computed, and so is its gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnlab.scan.linear import choose_method, linear_scan

METHODS = ["sequential", "associative"]


def loop(a, b, start):
    states = [start]
    for factor, addition in zip(a, b, strict=True):
        states.append(factor * states[-1] + addition)
    return np.array(states[1:])


def run(method):
    return jax.jit(functools.partial(linear_scan, method=method))


def problem(length, shape, kind, nearest=1.0, seed=0):
    """Factors of size up to `nearest`, half of them within 0.001 of it."""
    rng = np.random.default_rng(seed)
    whole = (length, *shape)
    size = nearest - np.where(rng.random(whole) < 0.5, 1e-3, 0.5) * rng.random(whole)
    b, start = rng.normal(size=whole), rng.normal(size=shape)
    if kind == "real":
        return size * rng.choice([-1, 1, 1, 1], size=whole), b, start
    return size * np.exp(2j * np.pi * rng.random(whole)), b + 1j * rng.normal(size=whole), start + 1j


@pytest.mark.parametrize("method", METHODS)
@given(
    length=st.sampled_from([1, 2, 7, 64, 129]),
    shape=st.sampled_from([(1,), (5,), (2, 3), (2, 1, 3)]),
    kind=st.sampled_from(["real", "complex"]),
)
def test_either_method_is_the_loop(method, length, shape, kind):
    """To 1e-5 of the largest state in float32, factors within 0.001 of 1."""
    a, b, start = problem(length, shape, kind)
    short = np.float32 if kind == "real" else np.complex64
    want = loop(a, b, start)
    got = run(method)(*(jnp.asarray(x.astype(short)) for x in (a, b, start)))
    assert got.dtype == short
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("method", METHODS)
def test_over_ten_thousand_steps(method):
    """T odd and large, float32 against a loop in float64: a sum over thousands of steps that still count."""
    a, b, start = problem(10_001, (4,), "real")
    a = 1 - np.abs(1 - a) / 100
    got = run(method)(*(jnp.asarray(x, jnp.float32) for x in (a, b, start)))
    want = loop(*(np.asarray(x, np.float32).astype(np.float64) for x in (a, b, start)))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_those_of_a_plain_scan(method, kind):
    """With respect to all three, first and second order, to 1e-11 in float64; complex ones in JAX's convention."""
    given = [jnp.asarray(x) for x in problem(7, (2, 3), kind)]

    def plain(a, b, start):
        return jax.lax.scan(lambda s, ab: (ab[0] * s + ab[1],) * 2, start, (a, b))[1]

    def loss(run, *arrays):
        states = run(*arrays)
        return jnp.sum(jnp.sin(states.real) + jnp.cos(2 * states.imag) * states.real)

    def both(run):
        first = functools.partial(jax.grad(loss, argnums=(1, 2, 3)), run)
        size = jax.grad(lambda *arrays: sum(jnp.sum(jnp.abs(g) ** 2) for g in first(*arrays)), argnums=(0, 1, 2))
        return jax.jit(lambda *arrays: (first(*arrays), size(*arrays)))(*given)

    got, want = both(functools.partial(linear_scan, method=method)), both(plain)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-11), got, want)


@pytest.mark.parametrize("method", METHODS)
def test_factors_that_broadcast_get_the_sum_of_their_gradients(method):
    a, b, start = (jnp.asarray(x) for x in problem(7, (2, 3), "complex"))

    def loss(one, spread):
        return jnp.sum(linear_scan(jnp.broadcast_to(one, b.shape) if spread else one, b, start, method=method).imag)

    got, want = (jax.jit(jax.grad(loss), static_argnums=1)(a[0, 0], spread) for spread in (False, True))
    np.testing.assert_allclose(got, want, rtol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_a_zero_factor_leaves_nothing_not_even_a_nan(method):
    """Forwards of what stands before it, backwards of what comes after."""
    a, b, start = (jnp.asarray(x) for x in problem(9, (2,), "real"))
    a, b = a.at[4].set(0), b.at[2].set(jnp.nan)
    states, pull = jax.vjp(run(method), a, b, start)
    assert np.isnan(states[2:4]).all()
    np.testing.assert_allclose(states[4:], loop(a[4:], b[4:], jnp.zeros(2)), rtol=1e-12)
    _, d_b, d_start = pull(jnp.ones_like(states).at[6].set(jnp.nan))
    assert np.isnan(d_b[4:7]).all() and np.isfinite(d_b[:4]).all() and np.isfinite(d_start).all()


def test_no_steps_make_no_states():
    assert linear_scan(jnp.ones((0, 2)), jnp.ones((0, 2)), jnp.ones(2)).shape == (0, 2)


def test_the_method_follows_from_backend_and_shape(monkeypatch):
    """A rule from a recorded measurement: a timing at first use would make a run's last bits a matter of chance."""
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert {choose_method(n) for n in (1, 100, 10_000)} == {"sequential"}
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert [choose_method(n) for n in (1, 8, 9, 10_000)] == ["sequential"] * 2 + ["associative"] * 2
    with pytest.raises(ValueError, match="method='parallel': must be 'sequential' or 'associative'"):
        linear_scan(jnp.ones((3, 2)), jnp.ones((3, 2)), jnp.ones(2), method="parallel")


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "method"), [(0.5, "associative"), (0.9, "sequential"), (0.99, "sequential")])
def test_the_curse_of_memory(factor, method):
    """h_t = lambda h_{t-1} + x_t with white x: E[h^2] = 1 / (1 - lambda^2), and the sensitivity to lambda explodes:
    E[(dh/dlambda)^2] = (1 + lambda^2) / (1 - lambda^2)^3. Zucchet & Orvieto 2024, section 2.

    An expectation over white inputs of what is linear in them is the sum of squares over unit impulses: no sampling.
    """
    length = round(20 / (1 - factor))  # lambda^2T is below 1e-17
    impulses = jnp.eye(length)[:, :, None]  # [T, B = T, 1]

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def sensitivities(factors):
        last = linear_scan(factors, impulses, jnp.zeros((length, 1)), method=method)[-1]
        return jnp.sum(last), last

    sensitivity, last = sensitivities(jnp.full((length, 1), factor))  # of each impulse's h_T by itself
    np.testing.assert_allclose(jnp.sum(last**2), 1 / (1 - factor**2), rtol=1e-12)
    want = (1 + factor**2) / (1 - factor**2) ** 3
    np.testing.assert_allclose(jnp.sum(sensitivity**2), want, rtol=1e-12)
