"""Gradients decomposed by path, against every product of factors written out and against closed forms."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import GRU, LSTM, Cell, VanillaRNN
from rnnlab.model import SequenceModel
from rnnlab.probes.gradients import flow
from rnnlab.probes.gradients import paths as probe
from rnnlab.probes.gradients.paths import DIRECT, TRUNCATED

# Compiled as a whole: op by op, as Python would run it, compiling takes longer than the test
gradient_paths = jax.jit(probe.gradient_paths, static_argnums=(2, 3, 4))

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
GATES = ("i", "f", "g", "o")
SUBSETS = tuple(s for n in range(1, 5) for s in itertools.combinations(GATES, n))


def model_and_batch(spec, length=5, batch=2, layers=1, **options):
    model = SequenceModel(spec(features=3, **FLOAT64, **options), 2, 2, layers=layers, rngs=nnx.Rngs(1))
    return model, jax.random.normal(jax.random.key(0), (length, batch, 2), jnp.float64)


def loss_of(outputs):
    return jnp.sum(jnp.square(outputs), axis=(0, 2))


def factors(model, xs):
    """Of each step of the first example: Jacobians [after, before] of (c, h), A and J_g, and dh_t/dc_t of the step."""
    cell, size = model.cells[0], model.cells[0].features

    def packed(carry, z):
        (c, h), _ = cell.update((carry[:size], carry[size:]), z)
        return jnp.concatenate([c, h])

    @jax.jit
    def of_step(carry, x):
        z = cell.project(carry[size:], x)
        by_carry, by_z = jax.jacrev(packed, argnums=(0, 1))(carry, z)
        w_h = cell.projection()[1]
        found = {"A": by_carry}
        for k, gate in enumerate(GATES):
            block = slice(k * size, (k + 1) * size)
            found[gate] = jnp.zeros((2 * size, 2 * size)).at[:, size:].set(by_z[:, block] @ w_h[:, block].T)
        carry = packed(carry, z)
        return carry, found | {"h by c": cell.gates(z)["o"] * (1 - jnp.tanh(carry[:size]) ** 2)}

    carry, steps = jnp.zeros(2 * size), []
    for x in xs[:, 0]:
        carry, found = of_step(carry, x)
        steps.append(jax.tree.map(np.asarray, found))
    d_h = jax.grad(lambda h: loss_of(model.readout(h[None, None]))[0])(carry[size:])
    return steps, np.concatenate([np.zeros(size), d_h])


def sum_of_paths(steps, d_last, lag, wanted):
    """The total adjoints (c, h) at a lag: the sum over all products of A, J_i, J_f, J_g, J_o that are `wanted`."""
    total = np.zeros_like(d_last)
    for path in itertools.product(("A", *GATES), repeat=lag):
        if wanted(set(path) - {"A"}):
            d = d_last
            for step, factor in zip(reversed(steps), path, strict=False):
                d = d @ step[factor]
            total += d
    d_c, d_h = np.split(total, 2)
    return {"c": d_c + d_h * steps[-1 - lag]["h by c"], "h": d_h}


@pytest.fixture(scope="module")
def written_out():
    """An LSTM's 5 steps: the sum over the paths that a test wants, at every lag, and the probe's result."""
    model, xs = model_and_batch(LSTM, forget_bias=0.5)
    steps, d_last = factors(model, xs)

    def brute(part, wanted):
        return np.stack([sum_of_paths(steps, d_last, lag, wanted)[part] for lag in range(len(xs))])

    return brute, gradient_paths(model, xs, loss_of, 1, SUBSETS)


def path_name(gates):
    return "via " + "+".join(gates) if gates else DIRECT


@pytest.mark.parametrize("part", ["c", "h"])
def test_every_subset_of_gates_is_the_sum_over_its_paths(written_out, part):
    """All 16 paths against brute force: every product of A, J_i, J_f, J_g, J_o of length 0 to 4."""
    brute, found = written_out
    paths = found[f"layer0/{part}"]
    full = brute(part, lambda used: True)
    for gates in ((), *SUBSETS):
        want = brute(part, set(gates).issuperset)
        got = 10 ** paths.norms[path_name(gates)].log10()[:, 0]
        np.testing.assert_allclose(got, np.linalg.norm(want, axis=1), rtol=1e-10)
        share = np.sum(want * full, axis=1) / np.sum(full * full, axis=1)
        np.testing.assert_allclose(paths.along[path_name(gates)].value()[:, 0], share, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("part", ["c", "h"])
def test_parts_and_cross_terms_add_up_to_the_full_gradient(written_out, part):
    """Moebius inversion over subsets and the products with two gates or more give the same cross terms."""
    brute, found = written_out
    paths = found[f"layer0/{part}"]

    def pure(gates):
        smaller = [s for n in range(len(gates) + 1) for s in itertools.combinations(gates, n)]
        return sum((-1) ** (len(gates) - len(s)) * paths.along[path_name(s)].value()[:, 0] for s in smaller)

    shares = {name: share[:, 0] for name, share in paths.shares().items()}
    for gate in GATES:
        np.testing.assert_allclose(shares[f"via {gate}"], pure((gate,)), atol=1e-12)
    np.testing.assert_allclose(shares["cross"], sum(pure(s) for s in SUBSETS if len(s) > 1), atol=1e-10)
    np.testing.assert_allclose(sum(shares.values()), 1, atol=1e-12)

    crossing, full = brute(part, lambda used: len(used) > 1), brute(part, lambda used: True)
    want = np.sum(crossing * full, axis=1) / np.sum(full * full, axis=1)
    np.testing.assert_allclose(shares["cross"], want, atol=1e-10)
    assert abs(want[-1]) > 1e-4  # not a sum of zeros


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "layers", "answers"), [(LSTM, 1, 1), (LSTM, 2, 9), (GRU, 1, 4), (VanillaRNN, 2, 1)])
def test_via_all_gates_is_full_and_agrees_with_flow(spec, layers, answers):
    model, xs = model_and_batch(spec, length=30, layers=layers)
    owners = tuple(dict.fromkeys(probe.block_owners(model.cells[-1])))
    found = gradient_paths(model, xs, loss_of, answers, (owners, *owners))
    profile = jax.jit(flow.gradient_flow, static_argnums=(2, 3))(model, xs, loss_of, answers)
    for name, paths in found.items():
        assert name.startswith(f"layer{layers - 1}/")
        np.testing.assert_allclose(paths.norms["via " + "+".join(owners)].log10(), profile[name].log10(), atol=1e-12)
        np.testing.assert_allclose(paths.norms["full"].log10(), profile[name].log10(), atol=1e-12)
        np.testing.assert_allclose(paths.norms[TRUNCATED].log10(), profile[f"{name} cell path"].log10(), atol=1e-12)
        np.testing.assert_allclose(sum(paths.shares().values()), 1, atol=1e-12)
        np.testing.assert_allclose(paths.along["full"].value(), 1, atol=1e-12)


@pytest.mark.parametrize(("spec", "keeps", "options"), [(LSTM, "f", {}), (GRU, "u", {"update_bias": 1.0})])
def test_the_direct_path_is_the_product_of_the_gate_that_keeps(spec, keeps, options):
    """dc_t/dc_{t-1} = f of an LSTM, dh_t/dh_{t-1} = u of a GRU, at fixed z, element by element."""
    model, xs = model_and_batch(spec, length=40, **options)
    state = "c" if spec is LSTM else "h"
    traced = jax.jit(lambda m, xs: m.intermediates(xs))(model, xs)
    d = jax.grad(lambda h: jnp.sum(loss_of(model.readout(h)[None])))(traced["layer0/h"][-1])
    if spec is LSTM:
        d = d * traced["layer0/o"][-1] * (1 - jnp.tanh(traced["layer0/c"][-1]) ** 2)
    want = []
    for gate in traced[f"layer0/{keeps}"][::-1]:
        want.append(np.log10(np.linalg.norm(d, axis=-1)))
        d = d * gate
    got = gradient_paths(model, xs, loss_of)[f"layer0/{state}"].norms[DIRECT].log10()
    np.testing.assert_allclose(got, np.stack(want), atol=1e-11)


def test_nothing_leaves_lag_0_of_a_vanilla_rnn_directly():
    """All its gradient goes through z: the direct share is 1, 0, 0, ... and no cross terms are left."""
    model, xs = model_and_batch(VanillaRNN, length=20)
    paths = gradient_paths(model, xs, loss_of)["layer0/h"]
    assert np.isneginf(paths.norms[DIRECT].log10()[1:]).all()
    shares = paths.shares()
    np.testing.assert_allclose(shares["via z"], np.tile(np.arange(20)[:, None] > 0, (1, 2)), atol=1e-12)
    np.testing.assert_allclose(shares["cross"], 0, atol=1e-12)


def test_the_truncated_gradient_is_the_carousel_alone():
    """Hochreiter & Schmidhuber 1997, appendix A.1: what stop_gradient on h_{t-1} in z leaves of dL/dc_t."""
    model, xs = model_and_batch(LSTM, length=12)
    cell = model.cells[0]

    def loss(additions):
        def step(carry, inputs):
            x, addition = inputs
            z = cell.project(jax.lax.stop_gradient(carry[1]), x)
            (c, _), _ = cell.update(carry, z)
            c = c + addition
            h = cell.gates(z)["o"] * jnp.tanh(c)
            return (c, h), h

        _, hs = jax.lax.scan(step, model.initial_carry(2)[0], (xs, additions))
        return jnp.sum(loss_of(model.readout(hs[-3:])))

    want = jnp.linalg.norm(jax.jit(jax.grad(loss))(jnp.zeros((12, 2, 3))), axis=-1)[::-1]
    got = gradient_paths(model, xs, loss_of, 3)["layer0/c"].norms[TRUNCATED].log10()
    np.testing.assert_allclose(10**got, want, rtol=1e-10)


def test_shares_of_paths_that_differ_by_hundreds_of_orders_of_magnitude():
    """Float32: the direct path is below 1e-200 of the full gradient, whose own norm has no float32."""
    spec = LSTM(features=8, forget_bias=-4.0)
    model = SequenceModel(spec, 2, 2, rngs=nnx.Rngs(0))
    xs = jax.random.normal(jax.random.key(0), (400, 2, 2), jnp.float32)
    paths = gradient_paths(model, xs, loss_of)["layer0/c"]
    assert (paths.norms["full"].log10()[-1] < -45).all()
    assert (paths.norms[DIRECT].log10()[-1] - paths.norms["full"].log10()[-1] < -200).all()
    shares = paths.shares()
    assert all(np.isfinite(share).all() for share in shares.values())
    np.testing.assert_allclose(sum(shares.values()), 1, atol=1e-6)
    # The mantissa and exponent know what a float64 share rounds to zero
    direct = paths.along[DIRECT]
    assert (direct.mantissa[-1] != 0).all() and (direct.exponent[-1] < -600).all()


def test_one_step_and_a_gradient_of_zero():
    model, xs = model_and_batch(LSTM, length=1)
    paths = gradient_paths(model, xs, loss_of)["layer0/c"]
    assert all(np.allclose(norm.log10(), paths.norms["full"].log10()) for norm in paths.norms.values())
    model, xs = model_and_batch(LSTM, length=6)
    paths = gradient_paths(model, xs, lambda outputs: 0 * loss_of(outputs))["layer0/c"]
    assert all(np.isneginf(norm.log10()).all() for norm in paths.norms.values())
    assert all(np.isnan(share).all() for share in paths.shares().values())


def test_a_nan_weight_shows():
    model, xs = model_and_batch(LSTM, length=6)
    model.cells[0].w_h[...] = model.cells[0].w_h[...].at[0, 0].set(jnp.nan)
    paths = gradient_paths(model, xs, loss_of)["layer0/c"]
    assert np.isnan(paths.norms["full"].log10()).all()
    assert np.isnan(paths.shares()["cross"]).all()


class Unnamed(Cell):
    """z of two blocks, without `blocks` to state which gates they belong to."""

    def update(self, carry, z):
        h = jnp.tanh(z[..., : self.features] * z[..., self.features :])
        return h, h

    def gates(self, z):
        return {"all": z}


def test_bad_arguments_are_named_in_one_line():
    model, xs = model_and_batch(LSTM)
    with pytest.raises(ValueError, match="via 'ff': LSTMCell has i, f, g, o; nearest is 'f'"):
        probe.gradient_paths(model, xs, loss_of, 1, ["ff"])
    with pytest.raises(ValueError, match="answers=6: must be 1 to T = 5"):
        probe.gradient_paths(model, xs, loss_of, 6)
    model.cells[0] = nnx.OptimizedLSTMCell(2, 3, rngs=nnx.Rngs(0), dtype=jnp.float64, param_dtype=jnp.float64)
    with pytest.raises(TypeError, match="OptimizedLSTMCell has no projection and update"):
        probe.gradient_paths(model, xs, loss_of)
    model, xs = model_and_batch(VanillaRNN)
    with pytest.raises(ValueError, match="via 'f': VanillaRNNCell has no gates"):
        probe.gradient_paths(model, xs, loss_of, 1, [("f",)])
    model.cells[0] = Unnamed(VanillaRNN(features=3), 2, jnp.ones((2, 6)), jnp.ones((3, 6)), jnp.ones(6))
    with pytest.raises(TypeError, match="Unnamed: z is 6 wide for 1 blocks of H = 3"):
        probe.gradient_paths(model, xs, loss_of)
    model.cells[0].blocks = ("a", "b", "c", "d")
    with pytest.raises(TypeError, match="Unnamed: z is 6 wide, which 4 equal `blocks` are not"):
        probe.gradient_paths(model, xs, loss_of)
