"""Clipping of vectors whose clipped direction is known by hand."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rnnlab.probes.training.clipping import clipped_mean, clipping, clipping_each

VECTOR = {"w": jnp.array([[3.0]]), "b": jnp.array([4.0])}


@pytest.mark.parametrize("limit", [0.1, 1.0, 4.999])
def test_a_norm_clip_keeps_the_direction(limit):
    found = clipping(VECTOR, optax.clip_by_global_norm(limit))
    np.testing.assert_allclose((found.before, found.after, found.cosine), (5, limit, 1))
    assert found.clipped and found.angle < 1e-12


def test_a_gradient_below_the_limit_is_left_alone():
    found = clipping(VECTOR, optax.clip_by_global_norm(5.001))
    assert found == (5, 5, False, 0)


def test_a_clip_of_values_turns_the_gradient():
    """(3, 4) becomes (1, 1) or (3, 3), both at cosine 7 / (5 sqrt 2): the angle between 53.13 and 45 degrees."""
    for limit in (1.0, 3.0):
        found = clipping(VECTOR, optax.clip(limit))
        np.testing.assert_allclose(found.cosine, 7 / (5 * np.sqrt(2)))
        np.testing.assert_allclose(found.angle, np.arctan2(4, 3) - np.pi / 4)
        np.testing.assert_allclose(found.after, limit * np.sqrt(2))
    np.testing.assert_allclose(clipping(VECTOR, optax.scale(-1.0)).angle, np.pi)


def test_clipping_by_block_turns_the_whole():
    """Each leaf to norm 1 on its own turns (3, 4) into (1, 1) as well."""
    assert clipping(VECTOR, optax.clip_by_block_rms(1.0)).angle == pytest.approx(np.arctan2(4, 3) - np.pi / 4)


def test_a_rule_that_reads_parameters():
    params = {"w": jnp.array([[30.0]]), "b": jnp.array([1.0])}
    found = clipping(VECTOR, optax.adaptive_grad_clip(0.5), params)  # w stays 3, b becomes .5
    np.testing.assert_allclose(found.after, np.sqrt(9.25))


def test_small_angles_are_not_rounded_away():
    """1e-5 in float32, whose cosine is 1 - 5e-11, that is 1."""
    found = clipping(jnp.array([1.0, 1e-3], jnp.float32), optax.clip(1 - 1e-2))
    np.testing.assert_allclose(found.angle, 1e-3 / 0.99 - 1e-3, rtol=1e-2)


def test_an_exploded_gradient_has_a_norm():
    """1e30 squared is beyond float32."""
    found = clipping(jnp.array([3e30, 4e30], jnp.float32), optax.clip(1.0))
    np.testing.assert_allclose(found.before, 5e30, rtol=1e-6)
    np.testing.assert_allclose(found.cosine, 7 / (5 * np.sqrt(2)), rtol=1e-6)


def test_the_rate_of_a_batch():
    gradients = {"w": jnp.array([[3.0], [0.3], [30.0], [0.0]]), "b": jnp.array([4.0, 0.4, 40.0, 0.0])}
    found = clipping_each(gradients, optax.clip_by_global_norm(1.0))
    assert found.clipped.tolist() == [True, False, True, False] and found.rate == 0.5
    np.testing.assert_allclose(found.after, [1, 0.5, 1, 0], rtol=1e-6)
    np.testing.assert_allclose(found.cosine, 1)


def test_clipping_each_example_turns_the_mean():
    """(10, 0) and (0, 1), each clipped to norm 1: the mean turns from (5, .5) to (.5, .5)."""
    gradients = jnp.array([[10.0, 0.0], [0.0, 1.0]])
    found = clipped_mean(gradients, optax.clip_by_global_norm(1.0))
    np.testing.assert_allclose(found.angle, np.pi / 4 - np.arctan2(0.5, 5))
    np.testing.assert_allclose((found.before, found.after), (np.hypot(5, 0.5), np.sqrt(0.5)))


def test_zero_and_what_is_not_finite():
    zero = clipping(jnp.zeros(3), optax.clip_by_global_norm(1.0))
    assert zero == (0, 0, False, 0) and zero.cosine == 1
    assert np.isnan(clipping(jnp.ones(3), optax.set_to_zero()).angle)
    broken = clipping(jnp.array([jnp.nan, 1.0]), optax.clip(1.0))
    assert broken.clipped and np.isnan(broken.before) and np.isnan(broken.angle)
    exploded = clipping(jnp.array([jnp.inf, 1.0]), optax.clip(1.0))
    assert exploded.clipped and np.isnan(exploded.before) and np.isnan(exploded.angle)
