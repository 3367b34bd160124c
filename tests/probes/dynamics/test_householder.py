"""QR by panels against its definition, at any rank."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.probes.dynamics import householder


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "size", "k", "rank"), [((2,), 70, 70, 70), ((), 100, 67, 67), ((1,), 64, 40, 20),
                                                          ((3,), 40, 33, 0), ((2, 2), 5, 3, 3)])  # fmt: skip
def test_q_is_orthonormal_and_q_r_is_the_matrix(batch, size, k, rank):
    """Also where columns depend on each other, or are all zero: Gram-Schmidt would have no Q to give."""
    left, right = (jax.random.normal(jax.random.key(i), (*batch, *s)) for i, s in enumerate(((size, rank), (rank, k))))
    matrix = left @ right
    q, r = jax.jit(householder.qr)(matrix)
    np.testing.assert_allclose(q @ r, matrix, atol=1e-12)
    np.testing.assert_allclose(jnp.swapaxes(q, -1, -2) @ q, np.broadcast_to(np.eye(k), (*batch, k, k)), atol=1e-13)
    assert r.shape == (*batch, k, k) and (jnp.tril(r, -1) == 0).all()
    want = np.abs(np.linalg.qr(np.asarray(matrix), mode="r"))
    np.testing.assert_allclose(np.abs(r)[..., :rank, :], want[..., :rank, :], atol=1e-10)
