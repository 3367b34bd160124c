"""The battery: whatever stands in rnnlab/cells is tested here, with no edit for a new file.

All ways to run a cell and all that is measured of it are one compiled program a cell, in float64.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import CellSpec
from rnnlab.cells.contract import check_cell
from rnnlab.model import SequenceModel
from rnnlab.probes.dynamics.lyapunov import lyapunov_spectrum
from rnnlab.probes.gradients.flow import gradient_flow
from rnnlab.probes.gradients.paths import gradient_paths
from rnnlab.probes.gradients.reverse_scan import has_paths
from rnnlab.scan.unroll import unroll
from rnnlab.specs.contract import quickly_compiled
from rnnlab.specs.discover import subclasses

pytestmark = pytest.mark.slow

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
SPECS = sorted((name, spec) for name, spec in subclasses(CellSpec).items() if spec.__module__.startswith("rnnlab."))
T, B, D, H = 6, 3, 3, 4
LENGTHS = (6, 0, 4)
RESET = 2  # before this step the first sequence begins anew
XS = np.random.default_rng(0).normal(size=(T, B, D))
WEIGHTS = np.random.default_rng(1).normal(size=(T, B, H))


def built(spec, seed=0):
    return spec(features=H, **FLOAT64).build(D, rngs=nnx.Rngs(seed))


def fresh(cell, batch):
    return cell.initialize_carry((batch, D), nnx.Rngs(0))


def with_gradient(run, cell, xs):
    """(outputs, gradients by cell and xs) of a weighted sum of sin(ys)."""

    def loss(cell, xs):
        _, ys = run(cell, xs)
        return jnp.sum(jnp.sin(ys) * WEIGHTS[:, : ys.shape[1]]), ys

    (_, ys), gradient = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(cell, xs)
    return ys, *gradient


def padded(cell, xs):
    """Behind the ends of sequences there is NaN."""
    lengths = jnp.array(LENGTHS)
    xs = jnp.where((jnp.arange(T)[:, None] >= lengths)[..., None], jnp.nan, xs)
    resets = jnp.zeros((T, B), bool).at[RESET, 0].set(True)

    def loss(cell, xs):
        carry, ys = unroll(cell, fresh(cell, B), xs, lengths=lengths, resets=resets, segment=4)
        return jnp.sum(jnp.sin(ys) * WEIGHTS), (carry, ys)

    (_, found), gradient = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(cell, xs)
    return *found, *gradient


def separate(cell, xs):
    """The same as three sequences by themselves, of steps 0 to 1, 2 to 5, and 0 to 3."""
    pieces = [(slice(0, RESET), 0), (slice(RESET, T), 0), (slice(0, LENGTHS[2]), 2)]

    def loss(cell, xs):
        found = [jax.lax.scan(cell, fresh(cell, 1), xs[steps, b : b + 1]) for steps, b in pieces]
        parts = [
            jnp.sum(jnp.sin(ys) * WEIGHTS[steps, b : b + 1]) for (steps, b), (_, ys) in zip(pieces, found, strict=True)
        ]
        return sum(parts), found

    (_, found), gradient = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(cell, xs)
    return found, *gradient


def difference(cell, xs):
    """(derivative, finite difference) of the loss along a direction in all parameters."""
    leaves, treedef = jax.tree.flatten(cell)
    direction = [jax.random.normal(jax.random.key(k), leaf.shape, leaf.dtype) for k, leaf in enumerate(leaves)]

    def loss(step):
        moved = treedef.unflatten([leaf + step * d for leaf, d in zip(leaves, direction, strict=True)])
        return jnp.sum(jnp.sin(jax.lax.scan(moved, fresh(moved, B), xs)[1]))

    return jax.grad(loss)(0.0), (loss(1e-6) - loss(-1e-6)) / 2e-6


def in_chunks(cell, xs):
    carry, first = unroll(cell, fresh(cell, B), xs[:4])
    return jnp.concatenate([first, unroll(cell, carry, xs[4:])[1]])


def probed(model, xs):
    def losses(outputs):
        return jnp.sum(jnp.sin(outputs), axis=(0, 2))

    taps = jax.grad(lambda taps: jnp.sum(losses(model(xs, answers=2, taps=taps))))(model.tap_zeros(T, B))
    paths = gradient_paths(model, xs, losses, 2) if has_paths(model.cells[0]) else {}
    spectrum = lyapunov_spectrum(model.step, xs, k=1, carry=model.initial_carry(B), warmup=0, blocks=2, every=2)
    return {
        "flow": gradient_flow(model, xs, losses, 2),
        "paths": {name: part.norms["full"] for name, part in paths.items()},
        "taps": dict(zip(jax.tree.leaves(model.names()), jax.tree.leaves(taps), strict=True)),
        "exponent": spectrum.exponents,
    }


@functools.cache
def results(name):
    spec = dict(SPECS)[name]

    @quickly_compiled
    def run(cell, other, model, xs):
        both = jax.tree.map(lambda *leaves: jnp.stack(leaves), cell, other)
        return {
            "scan": with_gradient(lambda c, xs: jax.lax.scan(c, fresh(c, B), xs), cell, xs),
            "unroll": with_gradient(lambda c, xs: unroll(c, fresh(c, B), xs, segment=4), cell, xs),
            "other": unroll(other, fresh(other, B), xs)[1],
            "seeds": jax.vmap(lambda c: unroll(c, fresh(c, B), xs)[1])(both),
            "chunks": in_chunks(cell, xs),
            "rnn": nnx.RNN(cell, time_major=True)(xs, initial_carry=fresh(cell, B)),
            "padded": padded(cell, xs),
            "separate": separate(cell, xs),
            "difference": difference(cell, xs),
            "probed": probed(model, xs),
        }

    model = SequenceModel(spec(features=H, **FLOAT64), D, 2, rngs=nnx.Rngs(0))
    return jax.device_get(run(built(spec), built(spec, 1), model, jnp.asarray(XS)))


def close(found, want, rtol=1e-9):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-11)


@pytest.mark.parametrize("name", dict(SPECS))
class TestEveryCell:
    """What a cell of this library can be relied on for."""

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_it_keeps_the_contract_that_a_users_own_is_checked_by(self, name, dtype):
        check_cell(dict(SPECS)[name](features=H, dtype=dtype))

    def test_its_equations_have_a_source(self, name):
        spec = dict(SPECS)[name]
        assert spec.source, "write source = 'Author year, section'"
        assert spec.__doc__ and not spec.__doc__.startswith(f"{name}(")

    def test_finite_differences_agree_with_its_gradient(self, name):
        found, numeric = results(name)["difference"]
        np.testing.assert_allclose(found, numeric, rtol=1e-6)

    def test_unroll_is_the_plain_scan_in_values_and_gradients(self, name):
        close(results(name)["unroll"], results(name)["scan"])

    def test_chunks_with_their_carry_handed_on_are_the_whole(self, name):
        close(results(name)["chunks"], results(name)["scan"][0])

    def test_seeds_may_be_batched(self, name):
        close(results(name)["seeds"], np.stack([results(name)["scan"][0], results(name)["other"]]))

    def test_flaxs_rnn_runs_it(self, name):
        close(results(name)["rnn"], results(name)["scan"][0])

    def test_padded_sequences_and_resets_are_separate_sequences(self, name):
        carry, ys, *gradients = results(name)["padded"]
        ((_, one), (end, two), (last, three)), *want = results(name)["separate"]
        close((ys[:, :1], ys[:4, 2:]), (np.concatenate([one, two]), three))
        close(jax.tree.map(lambda c: (c[:1], c[2:]), carry), jax.tree.map(lambda a, b: (a, b), end, last))
        close(gradients, want)
        assert not ys[:, 1].any() and not ys[4:, 2].any()

    def test_gradient_flow_is_the_backward_passs_and_paths_add_up_to_it(self, name):
        found = results(name)["probed"]
        for part, norms in found["taps"].items():
            np.testing.assert_allclose(10 ** found["flow"][part].log10()[::-1], norms, rtol=1e-7, atol=1e-12)
        for part, norm in found["paths"].items():
            np.testing.assert_allclose(10 ** norm.log10()[::-1], found["taps"][part], rtol=1e-7, atol=1e-12)

    def test_it_has_a_top_lyapunov_exponent(self, name):
        """-inf is one: units that are off lose a direction for good."""
        assert (results(name)["probed"]["exponent"] < np.inf).all()

    def test_parameters_stay_float32_where_y_is_not(self, name):
        cell = dict(SPECS)[name](features=H, dtype="bfloat16").build(D, rngs=nnx.Rngs(0))
        _, y = jax.eval_shape(lambda cell: cell(fresh(cell, 2), jnp.ones((2, D))), cell)
        assert y.dtype == jnp.bfloat16
        assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(cell))

    def test_same_seed_same_weights_and_a_spec_is_hashable(self, name):
        spec = dict(SPECS)[name]
        one, two = (spec(features=H).build(D, rngs=nnx.Rngs(7)) for _ in range(2))
        jax.tree.map(np.testing.assert_array_equal, one, two)
        assert hash(spec(features=H)) == hash(spec(features=H))

    def test_a_width_below_one_is_refused(self, name):
        with pytest.raises(ValueError, match="features=0"):
            dict(SPECS)[name](features=0)
