"""An unroll is the same with the weights as left factor as with them as right one, for every cell in projected form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import GRU, LSTM, CellSpec
from rnnlab.cells.base import Cell
from rnnlab.scan import product
from rnnlab.scan.unroll import hidden, unroll
from rnnlab.specs.discover import subclasses

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
T, B, D, H = 7, 5, 3, 4
XS = np.random.default_rng(0).normal(size=(T, B, D))
WEIGHTS = np.random.default_rng(1).normal(size=(T, B, H))


def projected(spec):
    built = spec(features=H).build(D, rngs=nnx.Rngs(0))
    return isinstance(built, Cell) and not hasattr(built, "coefficients")


SPECS = {
    name: spec
    for name, spec in sorted(subclasses(CellSpec).items())
    if spec.__module__.startswith("rnnlab.") and projected(spec)
}


def measured(monkeypatch, spec, large, segment, present):
    """Outputs, last carry, gradients by cell, carry and inputs, and adjoint norms."""
    monkeypatch.setattr(product, "LARGE", large)
    cell = spec(features=H, **FLOAT64).build(D, rngs=nnx.Rngs(0))
    xs = jnp.asarray(XS)
    carry = jax.tree.map(lambda c: c + 0.1, cell.initialize_carry(xs.shape[1:]))
    assert product.weights_left(hidden(carry), *cell.projection()[:2]) == (large == 0)
    taps = jax.tree.map(lambda c: jnp.zeros((T, B)), carry)
    when = {"lengths": jnp.array([7, 0, 4, 1, 7]), "resets": jnp.zeros((T, B), bool).at[3, 0].set(True)}

    def loss(cell, carry, xs, taps):
        last, ys = unroll(cell, carry, xs, taps=taps, segment=segment, **(when if present else {}))
        ends = sum(jnp.sum(jnp.cos(c)) for c in jax.tree.leaves(last))
        return jnp.sum(jnp.sin(ys) * WEIGHTS[..., : ys.shape[-1]]) + ends, (last, ys)

    return jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3), has_aux=True))(cell, carry, xs, taps)


@pytest.mark.slow
@pytest.mark.parametrize("present", [False, True])
@pytest.mark.parametrize("segment", [3, T])
@pytest.mark.parametrize("name", SPECS)
def test_both_forms_are_equal(monkeypatch, name, segment, present):
    with jax.enable_x64(True):
        right, left = (measured(monkeypatch, SPECS[name], large, segment, present) for large in (2**60, 0))
        for one, other in zip(jax.tree.leaves(right), jax.tree.leaves(left), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


class Own(Cell):
    """A step written for [B, H] alone, with a carry of whatever parts, h last."""

    def __init__(self):
        spec = LSTM(features=H, **FLOAT64)
        keys = jax.random.split(jax.random.key(0), 2)
        super().__init__(spec, D, jax.random.normal(keys[0], (D, 2 * H)), jax.random.normal(keys[1], (H, 2 * H)), None)

    def update(self, carry, z):
        *others, h = carry
        h = jnp.tanh(z[:, :H]) * jax.nn.sigmoid(z[:, H:]) + 0.1 * h
        others = [0.9 * part + (jnp.mean(h) if part.ndim == 0 else 0.1) for part in others]
        return (*others, h + sum(jnp.sum(part) for part in others if part.ndim == 0)), h


@pytest.mark.parametrize("parts", [[], [(B, 1)], [(B, H, 2)], [(B,)], [()]])
def test_a_step_written_for_a_batch_runs_with_whatever_carry(monkeypatch, parts):
    monkeypatch.setattr(product, "LARGE", 0)
    with jax.enable_x64(True):
        cell, xs = Own(), jnp.asarray(XS)
        carry = (*[jnp.ones(shape) for shape in parts], jnp.zeros((B, H)))
        assert product.weights_left(hidden(carry), *cell.projection()[:2])

        def loss(run, cell, xs):
            (*_, h), ys = run(cell, carry, xs)
            return jnp.sum(jnp.sin(ys)) + jnp.sum(h)

        ours, plain = (jax.grad(loss, argnums=(1, 2))(run, cell, xs) for run in (unroll, jax.lax.scan))
        for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def left(spec, batch):
    cell = spec.build(spec.features, rngs=nnx.Rngs(0))
    return product.weights_left(hidden(cell.initialize_carry((*batch, spec.features))), *cell.projection()[:2])


def test_weights_that_fill_a_cores_cache_are_left_factors_on_a_cpu_alone(monkeypatch):
    monkeypatch.setattr(product, "LARGE", 2**19)
    assert left(LSTM(features=128), [4])
    assert not left(LSTM(features=128), [3])
    assert not left(LSTM(features=128), [2, 4])
    assert not left(LSTM(features=127), [64])
    assert left(GRU(features=148), [4])
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not left(LSTM(features=128), [4])
