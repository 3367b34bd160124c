"""The published order of a GRU's reset gate, and where it makes no difference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import GRU, MGU, GRUResetBefore
from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.paths import gradient_paths

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
D, H = 3, 5


def run(cell, xs):
    return jax.lax.scan(cell, cell.initialize_carry(xs.shape[1:]), xs)[1]


def inputs():
    return jax.random.normal(jax.random.key(1), (9, 2, D), jnp.float64)


def test_values_equal_numpy_with_kernels_as_keras_packs_them():
    """keras.layers.GRU(reset_after=False): kernels by z, r, h with z the part that is kept, and a bias by the same."""
    cell = GRUResetBefore(features=H, update_bias=1.0, **FLOAT64).build(D, rngs=nnx.Rngs(0))
    cell.b[...] += jax.random.normal(jax.random.key(2), (3 * H,), jnp.float64)
    kernel, recurrent, bias = (
        np.concatenate([np.asarray(w[..., H : 2 * H]), np.asarray(w[..., :H]), np.asarray(w[..., 2 * H :])], axis=-1)
        for w in (cell.w_x[...], cell.w_h[...], cell.b[...])
    )
    h, want = np.zeros((2, H)), []
    for x in np.asarray(inputs()):
        x_z, x_r, x_h = np.split(x @ kernel + bias, 3, axis=1)
        z = 1 / (1 + np.exp(-(x_z + h @ recurrent[:, :H])))
        r = 1 / (1 + np.exp(-(x_r + h @ recurrent[:, H : 2 * H])))
        h = z * h + (1 - z) * np.tanh(x_h + (r * h) @ recurrent[:, 2 * H :])
        want.append(h)
    np.testing.assert_allclose(run(cell, inputs()), want, rtol=1e-12)


def test_both_orders_agree_where_the_candidates_matrix_is_diagonal_and_nowhere_else():
    """r h w = (r h) w unit by unit; same seed, same weights."""
    for recurrent, alike in (("identity", True), ("orthogonal", False)):
        spec = {"features": H, "recurrent": recurrent, **FLOAT64}
        before, after = (kind(**spec).build(D, rngs=nnx.Rngs(4)) for kind in (GRUResetBefore, GRU))
        np.testing.assert_array_equal(before.w_h[...], after.w_h[...])
        assert np.allclose(run(before, inputs()), run(after, inputs()), rtol=1e-12, atol=1e-14) == alike


def test_at_fixed_z_its_derivative_is_the_update_gate():
    cell = GRUResetBefore(features=H, **FLOAT64).build(D, rngs=nnx.Rngs(0))
    h, x = jax.random.normal(jax.random.key(3), (H,), jnp.float64), inputs()[0, 0]
    z = cell.project(h, x)
    np.testing.assert_allclose(jax.jacobian(lambda h: cell.update(h, z)[0])(h), np.diag(cell.gates(z)["u"]))


@pytest.mark.slow
@pytest.mark.parametrize("spec", [GRUResetBefore, MGU])
def test_its_paths_are_products_of_the_jacobians_of_update_and_project(spec):
    """Step by step, dense: direct by the update at fixed z, via g through the block g of z besides."""
    model = SequenceModel(spec(features=H, **FLOAT64), D, 1, rngs=nnx.Rngs(0))
    cell, xs = model.cells[0], inputs()[:, :1]
    found = gradient_paths(model, xs, lambda outputs: outputs[-1, :, 0])["layer0/h"].norms

    @jax.vmap
    def jacobians(h, x):
        z = cell.project(h, x)
        direct, of_z = jax.jacobian(lambda h, z: cell.update(h, z)[0], (0, 1))(h, z)
        return direct, of_z, jax.jacobian(cell.project)(h, x)

    direct, of_z, z_of_h = jacobians(run(cell, xs)[:-1, 0], xs[1:, 0])
    gates = list(cell.gates(cell.project(xs[0, 0, :1].repeat(H), xs[0, 0])))
    paths = {"direct": [], "full": gates} | {f"via {gate}": [gate] for gate in gates}
    for name, wanted in paths.items():
        mask = np.repeat([gate in wanted for gate in gates], H)
        d = [model.readout.kernel[:, 0]]
        for t in reversed(range(len(xs) - 1)):
            d.append(d[-1] @ (direct[t] + (of_z[t] * mask) @ z_of_h[t]))
        np.testing.assert_allclose(10 ** found[name].log10()[:, 0], np.linalg.norm(d, axis=1), rtol=1e-12)
