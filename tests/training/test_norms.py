"""The norm of a gradient is a number wherever its leaves are, and has optax's bits wherever that one holds them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rnnlab.training.norms import global_norm

TREE = {name: jax.random.normal(jax.random.key(n), (5, n + 1), jnp.float32) for n, name in enumerate("abc")}


@pytest.mark.parametrize("power", [-40, 0, 7, 40])
def test_it_has_the_bits_of_the_plain_norm_where_that_holds_the_squares(power):
    tree = jax.tree.map(lambda leaf: jnp.ldexp(leaf, power), TREE)
    np.testing.assert_array_equal(jax.jit(global_norm)(tree), jax.jit(optax.tree.norm)(tree))


@pytest.mark.parametrize("scale", [1e-35, 1e-25, 1e25, 3e37])
def test_squares_beyond_float32_are_no_loss(scale):
    tree = jax.tree.map(lambda leaf: leaf * jnp.float32(scale), TREE)
    exact = np.sqrt(sum(np.sum(np.asarray(leaf, np.float64) ** 2) for leaf in jax.tree.leaves(tree)))
    np.testing.assert_allclose(global_norm(tree), exact, rtol=1e-6)


def test_zero_is_zero_and_what_is_no_number_stays_so():
    assert global_norm({"a": jnp.zeros(3), "b": jnp.zeros((0, 2))}) == 0
    assert np.isnan(global_norm([jnp.array([1.0, jnp.nan])])) and np.isinf(global_norm([jnp.array([1.0, -jnp.inf])]))
