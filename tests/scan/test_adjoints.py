"""An addition to a step's carry reaches every use of it, wherever the value comes from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.scan.adjoints import with_carry_addition


def test_an_addition_reaches_later_uses_within_the_step():
    """c' = 2 c and h' = c'^2: an addition to c' changes h' as well, dh'/d(addition) = 2 c'."""

    def step(carry, x):
        c, _ = carry
        c = 2 * c + x
        h = c**2
        return (c, h), h

    def h_of(addition):
        return with_carry_addition(step)((jnp.array(3.0), jnp.zeros(())), jnp.ones(()), (addition, jnp.zeros(())))[1]

    assert h_of(jnp.array(0.0)) == 49.0 and h_of(jnp.array(1.0)) == 64.0
    np.testing.assert_allclose(jax.grad(h_of)(jnp.array(0.0)), 14.0)


def test_components_passed_through_constant_or_twice_the_same():
    def step(carry, x):
        kept, _, _, _ = carry
        new = kept + x
        return (kept, jnp.ones(()), new, new), new * kept

    def numbers(*values):
        return tuple(map(jnp.array, values))

    before, x = numbers(2.0, 0.0, 0.0, 0.0), jnp.ones(())
    carry, y = with_carry_addition(step)(before, x, numbers(0.5, 0.25, 1.0, 10.0))
    # what enters the step is not what leaves it: the addition to `kept` does not reach y
    np.testing.assert_allclose(carry, (2.5, 1.25, 14.0, 14.0))
    np.testing.assert_allclose(y, 28.0)
    np.testing.assert_allclose(with_carry_addition(step)(before, x, numbers(0.0, 0.0, 0.0, 0.0))[1], step(before, x)[1])


def test_flaxs_own_cell_with_an_addition_of_zero_is_itself():
    cell = nnx.OptimizedLSTMCell(2, 3, rngs=nnx.Rngs(0))
    carry = cell.initialize_carry((4, 2), nnx.Rngs(0))
    x = jnp.ones((4, 2))
    same = with_carry_addition(cell)(carry, x, jax.tree.map(jnp.zeros_like, carry))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), same, cell(carry, x))


def test_an_addition_reaches_uses_within_a_jitted_step_and_a_hidden_one_is_refused():
    def step(carry, x):
        c, _ = carry
        c = 2 * c + x
        h = c**2
        return (c, h), h

    args = (jnp.array(3.0), jnp.zeros(())), jnp.ones(()), (jnp.ones(()), jnp.zeros(()))
    assert with_carry_addition(jax.jit(step))(*args)[1] == 64.0
    with pytest.raises(TypeError, match="hides how a step uses its carry"):
        with_carry_addition(jax.checkpoint(step))(*args)


def test_an_addition_to_a_component_passed_through_reaches_the_y_that_it_is():
    """h_t = z_t, linear: y_t is h_t, so a tap on h_t counts the loss at y_t."""

    def step(z):
        return z, z

    carry, y = with_carry_addition(step)(jnp.ones(()), jnp.array(2.0))
    assert carry == y == 3.0
