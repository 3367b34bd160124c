"""Under every transformation of JAX a gradient is what it is without: nothing made inside lacks what it joins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import rnnlab
from rnnlab.cells import GRU, LSTM, VanillaRNN
from rnnlab.scan.segments import zeros_like
from rnnlab.scan.unroll import unroll

pytestmark = pytest.mark.slow

T, B, D, H = 7, 4, 3, 4
FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
CELLS = {
    "LSTM": lambda: LSTM(features=H, **FLOAT64).build(D, rngs=nnx.Rngs(0)),
    "VanillaRNN": lambda: VanillaRNN(features=H, **FLOAT64).build(D, rngs=nnx.Rngs(0)),
    "GRU": lambda: GRU(features=H, **FLOAT64).build(D, rngs=nnx.Rngs(0)),
    "flax": lambda: nnx.GRUCell(D, H, rngs=nnx.Rngs(0), dtype=jnp.float64, param_dtype=jnp.float64),
}
OTHERS = ("GRU", "VanillaRNN")
BATCH = P(None, "b")


def inputs():
    return jax.random.normal(jax.random.key(0), (T, B, D), jnp.float64)


def of_cell(segment, last=False):
    """(cell, xs) -> gradient of a loss at every step, or at the last alone, with the adjoint norms.

    At the last of sequences of unequal length with resets, both read off xs so that they are spread as xs are.
    """

    def loss(cell, taps, xs):
        carry = cell.initialize_carry(xs.shape[1:], nnx.Rngs(0))
        unequal = {"lengths": (jnp.abs(10 * xs[0, :, 0]) % (T + 1)).astype(int), "resets": xs[..., 1] > 1}
        carry, ys = unroll(cell, carry, xs, taps=taps, segment=segment, **(unequal if last else {}))
        return jnp.sum(jnp.sin(jax.tree.leaves(carry)[-1] if last else ys))

    def gradient(cell, xs):
        carry = cell.initialize_carry(xs.shape[1:], nnx.Rngs(0))
        taps = jax.tree.map(lambda c: zeros_like(xs[..., 0]), carry)
        return jax.grad(loss, argnums=(0, 1))(cell, taps, xs)

    return gradient


def mesh():
    return jax.make_mesh((2,), ("b",), axis_types=(AxisType.Auto,))


def in_shard_map(function, check):
    """The batch over two devices: weights' gradients summed over them, adjoint norms side by side."""

    def run(cell, xs):
        weights, norms = function(cell, xs)
        return (weights if check else jax.lax.psum(weights, "b")), norms

    return jax.jit(jax.shard_map(run, mesh=mesh(), in_specs=(P(), BATCH), out_specs=(P(), BATCH), check_vma=check))


def by_vmap(function):
    """Each sequence by itself."""

    def run(cell, xs):
        weights, norms = jax.vmap(lambda x: function(cell, x[:, None]), in_axes=1)(xs)
        return jax.tree.map(lambda g: g.sum(0), weights), jax.tree.map(lambda n: n[:, :, 0].T, norms)

    return run


def by_pmap(function):
    def run(cell, xs):
        parts = jnp.stack(jnp.split(xs, 2, axis=1))
        weights, norms = jax.pmap(function, in_axes=(None, 0), devices=jax.devices()[:2])(cell, parts)
        return jax.tree.map(lambda g: g.sum(0), weights), jax.tree.map(lambda n: jnp.concatenate(list(n), 1), norms)

    return run


TRANSFORMATIONS = {
    "shard_map": lambda f: in_shard_map(f, check=True),
    "shard_map unchecked": lambda f: in_shard_map(f, check=False),
    "vmap": by_vmap,
    "pmap": by_pmap,
    "nested jit": lambda f: jax.jit(lambda *args: jax.jit(f)(*args)),
    "remat": lambda f: jax.jit(jax.checkpoint(f)),
}


@pytest.mark.parametrize("name", ["flax", "LSTM", *(pytest.param(n, marks=pytest.mark.campaign) for n in OTHERS)])
@pytest.mark.parametrize("how", TRANSFORMATIONS)
@pytest.mark.parametrize(("segment", "last"), [(None, False), (3, True)])
def test_a_gradient_under_a_transformation(name, how, segment, last):
    cell, function = CELLS[name](), of_cell(segment, last)
    got, want = TRANSFORMATIONS[how](function)(cell, inputs()), function(cell, inputs())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), got, want)


@pytest.mark.parametrize("name", ["LSTM", "flax"])
def test_a_gradient_of_a_rematerialised_loss(name):
    cell = CELLS[name]()

    def loss(cell, xs):
        return jnp.sum(unroll(cell, cell.initialize_carry(xs.shape[1:], nnx.Rngs(0)), xs, segment=3)[1] ** 2)

    got, want = jax.grad(jax.checkpoint(loss))(cell, inputs()), jax.grad(loss)(cell, inputs())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), got, want)


def test_forward_mode_is_refused_by_name_and_the_plain_scan_has_it():
    cell, xs = CELLS["LSTM"](), inputs()
    carry = cell.initialize_carry(xs.shape[1:])
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda xs: unroll(cell, carry, xs)[1], (xs,), (xs,))
    _, tangent = jax.jvp(lambda xs: jax.lax.scan(cell, carry, xs)[1], (xs,), (xs,))
    assert tangent.shape == (T, B, H)


@pytest.mark.parametrize("check", [True, False])
def test_measurements_in_shard_map(check):
    """Gradient flow and paths of sequences on two devices are those of each sequence."""
    model = rnnlab.SequenceModel(LSTM(features=H, **FLOAT64), D, 1, layers=2, rngs=nnx.Rngs(0))

    def measured(model, xs):
        flow = rnnlab.gradient_flow(model, xs, lambda outputs: outputs[-1, :, 0] ** 2)
        paths = rnnlab.gradient_paths(model, xs, lambda outputs: outputs[-1, :, 0] ** 2)
        return flow, paths

    run = jax.shard_map(measured, mesh=mesh(), in_specs=(P(), BATCH), out_specs=BATCH, check_vma=check)
    got, want = jax.jit(run)(model, inputs()), jax.jit(measured)(model, inputs())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), got, want)


def test_models_on_different_devices_with_the_same_inputs():
    """Each device measures its own network."""
    models = [rnnlab.SequenceModel(LSTM(features=H, **FLOAT64), D, 1, rngs=nnx.Rngs(seed)) for seed in (0, 1)]
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)

    def measured(model, xs):
        flow = rnnlab.gradient_flow(jax.tree.map(lambda x: x[0], model), xs, lambda outputs: outputs[-1, :, 0])
        return jax.tree.map(lambda x: x[None], flow)

    run = jax.jit(jax.shard_map(measured, mesh=mesh(), in_specs=(P("b"), P()), out_specs=P("b")))
    got = run(both, inputs())["layer0/h"].log10()
    for one, model in zip(got, models, strict=True):
        want = rnnlab.gradient_flow(model, inputs(), lambda outputs: outputs[-1, :, 0])["layer0/h"].log10()
        np.testing.assert_allclose(one, want, rtol=1e-9)


def test_taps_that_would_be_summed_over_devices_are_refused():
    """Zeros made inside are taken to be replicated: their gradient would be the sum of both devices' norms."""

    def norms(cell, xs):
        carry, taps = cell.initialize_carry(xs.shape[1:]), jnp.zeros((T, xs.shape[1]))
        return jax.grad(lambda taps: jnp.sum(unroll(cell, carry, xs, taps=taps)[1]))(taps)

    run = jax.shard_map(norms, mesh=mesh(), in_specs=(P(), BATCH), out_specs=BATCH)
    with pytest.raises(ValueError, match=r"taps: must vary over \('b',\) as xs do: jax.lax.pcast"):
        jax.jit(run)(CELLS["VanillaRNN"](), inputs())
