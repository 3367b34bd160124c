"""A random order whose entries are computed one by one is a permutation, and any one of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.training.shuffle import shuffled


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 3, 10, 64, 65])
def test_it_is_a_permutation_of_any_number_of_things(n):
    keys = jnp.broadcast_to(jax.random.key(n), (n,))
    assert sorted(np.asarray(shuffled(keys, jnp.arange(n), n))) == list(range(n))


def test_entries_go_anywhere_evenly_and_in_pairs():
    """Chi-square of 4,000 permutations of 5, at a fixed key: 4 and 19 degrees of freedom, below their 99.9 %."""
    keys = jax.random.split(jax.random.key(0), 4000)
    at = jnp.arange(5)
    found = np.asarray(jax.jit(jax.vmap(lambda key: shuffled(jnp.broadcast_to(key, (5,)), at, 5)))(keys))
    counts = np.stack([np.bincount(column, minlength=5) for column in found.T])
    assert (((counts - 800) ** 2 / 800).sum(axis=1) < 18.5).all()
    pairs = np.bincount(found[:, 0] * 5 + found[:, 1], minlength=25)[~np.eye(5, dtype=bool).ravel()]
    assert ((pairs - 200) ** 2 / 200).sum() < 43.8


def test_an_entry_does_not_depend_on_those_beside_it():
    key = jax.random.key(3)
    every = shuffled(jnp.broadcast_to(key, (7,)), jnp.arange(7), 7)
    assert shuffled(key[None], jnp.asarray([4]), 7)[0] == every[4]
