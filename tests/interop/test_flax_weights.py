"""Flax's own cells give the same outputs here, and these models there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

from rnnlab.cells import GRU
from rnnlab.interop import from_flax, to_flax
from rnnlab.model import SequenceModel
from rnnlab.specs.errors import UserError


class Network(nnx.Module):
    def __init__(self, kind, *, both=False, seed=0):
        rngs = nnx.Rngs(seed)

        def layer(width):
            cells = [nnx.RNN(kind(width, 4, bias_init=nnx.initializers.normal(), rngs=rngs)) for _ in range(1 + both)]
            return nnx.Bidirectional(*cells) if both else cells[0]

        self.layers = nnx.List([layer(3), layer(8 if both else 4)])
        self.readout = nnx.Linear(8 if both else 4, 2, bias_init=nnx.initializers.normal(), rngs=rngs)


def outputs(network, xs):
    """[T, B, K], by lax.scan of the cells."""
    for layer in network.layers:
        runs = [layer.forward_rnn, layer.backward_rnn] if isinstance(layer, nnx.Bidirectional) else [layer]
        ys = []
        for number, run in enumerate(runs):
            carry = run.cell.initialize_carry(xs.shape[1:], nnx.Rngs(0))
            ys.append(jax.lax.scan(run.cell, carry, xs, reverse=bool(number))[1])
        xs = jnp.concatenate(ys, axis=-1)
    return network.readout(xs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "both"),
    [("LSTMCell", False), ("OptimizedLSTMCell", True), ("GRUCell", True), ("GRUCell", False), ("SimpleCell", False)],
)
def test_cells_of_flax_have_the_same_outputs_here_and_back_there(name, both, tmp_path):
    kind = getattr(nnx, name)
    theirs = Network(kind, both=both)
    xs = jax.random.normal(jax.random.key(0), (5, 2, 3), jnp.float32)
    want = jax.jit(outputs)(theirs, xs)
    model = from_flax(theirs)
    np.testing.assert_allclose(jax.jit(lambda model, xs: model(xs))(model, xs), want, atol=1e-5)
    words = {"lstm": name} if "LSTM" in name else {}
    to_flax(model, tmp_path / "it", **words)
    other = Network(kind, both=both, seed=1)
    tensors = load_file(tmp_path / "it")
    for path, param in nnx.to_flat_state(nnx.state(other, nnx.Param)):
        param[...] = tensors.pop(".".join(map(str, path)))
    assert not tensors
    jax.tree.map(np.testing.assert_array_equal, nnx.state(other, nnx.Param), nnx.state(theirs, nnx.Param))
    jax.tree.map(np.testing.assert_array_equal, from_flax(tmp_path / "it"), model)


def test_a_bias_that_flaxs_gru_has_not_is_not_lost(tmp_path):
    model = SequenceModel(GRU(features=2), 3, 1, rngs=nnx.Rngs(0))
    model.cells[0].b[...] = jnp.arange(8.0, dtype=jnp.float32)
    with pytest.raises(UserError, match=r"cells\[0\].b: n's bias of h w_h reaches 7; Flax's GRUCell has none there"):
        to_flax(model, tmp_path / "it")


def test_a_wrong_module_is_one_line():
    missing = r"mapping: dense_h.kernel is missing; expected \[H, 4H\], .* there is bias, kernel"
    with pytest.raises(UserError, match=missing):
        from_flax(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
    unlike = nnx.List([nnx.GRUCell(3, 4, rngs=nnx.Rngs(0)) for _ in range(2)])
    with pytest.raises(UserError, match=r"1.dense_i.kernel has shape \[3, 12\]; expected \[4, 12\]"):
        from_flax(unlike)
