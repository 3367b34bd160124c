"""Units that read themselves alone: their Jacobian is diag(u), and no more."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import IndRNN
from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.paths import gradient_paths

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
D, H = 3, 6


def test_values_equal_numpy():
    cell = IndRNN(features=H, **FLOAT64).build(D, rngs=nnx.Rngs(0))
    cell.b[...] = jax.random.normal(jax.random.key(1), (H,), jnp.float64)
    w_x, b, u = (np.asarray(w[...]) for w in (cell.w_x, cell.b, cell.u))
    xs, h, want = np.random.default_rng(0).normal(size=(9, 2, D)), np.full((2, H), 0.3), []
    for x in xs:
        h = np.maximum(x @ w_x + u * h + b, 0)
        want.append(h)
    got = jax.lax.scan(cell, jnp.full((2, H), 0.3), jnp.asarray(xs))[1]
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_over_k_steps_the_jacobian_is_diag_u_to_the_k_where_units_are_on_and_zero_where_one_was_off():
    cell = IndRNN(features=H, **FLOAT64).build(D, rngs=nnx.Rngs(0))
    cell.b[...] = jnp.array([1.0, 1, 1, 1, 1, -1e3])

    def last(h):
        return jax.lax.scan(cell, h, jnp.zeros((7, D)))[0]

    u = np.asarray(cell.u[...])
    np.testing.assert_allclose(jax.jacobian(last)(jnp.ones(H)), np.diag(u**7 * [1, 1, 1, 1, 1, 0]), rtol=1e-12)


@pytest.mark.slow
def test_the_direct_path_is_all_of_its_gradient():
    model = SequenceModel(IndRNN(features=H, **FLOAT64), D, 1, rngs=nnx.Rngs(0))
    model.cells[0].b[...] = jnp.ones(H)
    xs = jax.random.normal(jax.random.key(1), (9, 2, D), jnp.float64)
    paths = gradient_paths(model, xs, lambda outputs: outputs[-1, :, 0])["layer0/h"].norms
    full = paths["full"].log10()
    assert np.isfinite(full).all()
    np.testing.assert_array_equal(paths["direct"].log10(), full)


def test_recurrent_weights_at_first_keep_any_gradient_within_a_factor_of_two_over_the_longest_lag():
    """Li et al. 2018, section 3.1, gamma = 2: from above for all lags, and from below too for long lags alone."""
    for max_lag in (10, 5000):
        for memory, least in (("all lags", 0.0), ("long lags", 0.5)):
            u = IndRNN(features=4000, memory=memory, max_lag=max_lag, **FLOAT64).build(1, rngs=nnx.Rngs(0)).u[...]
            factor = np.asarray(u) ** max_lag
            assert least * 0.999 <= factor.min() and factor.max() <= 2.001
            low, high = least ** (1 / max_lag), 2 ** (1 / max_lag)
            np.testing.assert_allclose(np.quantile(u, [0.25, 0.5, 0.75]), np.quantile([low, high], [0.25, 0.5, 0.75]),
                                       atol=0.03 * (high - low))  # fmt: skip


def test_it_has_no_recurrent_matrix():
    """D H + 2 H parameters, the paper's count."""
    cell = IndRNN(features=H).build(D, rngs=nnx.Rngs(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(cell)) == D * H + 2 * H
