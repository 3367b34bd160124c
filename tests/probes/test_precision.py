"""What is measured is measured at full precision, whatever the device's or the user's default is."""

import re

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import rnnlab
from rnnlab.cells import LSTM
from rnnlab.probes.dynamics.gates import gate_map
from rnnlab.probes.dynamics.jacobians import singular_values
from rnnlab.probes.gradients.sensitivity import sensitivity, sensitivity_by_input

MODEL = rnnlab.SequenceModel(LSTM(features=3), 2, 1, rngs=nnx.Rngs(0))
XS = jnp.ones((5, 2, 2))


def squares(outputs):
    return outputs[-1, :, 0] ** 2


MEASURED = {
    "flow": lambda xs: rnnlab.gradient_flow(MODEL, xs, squares),
    "paths": lambda xs: rnnlab.gradient_paths(MODEL, xs, squares),
    "lyapunov": lambda xs: rnnlab.lyapunov_spectrum(MODEL.step, xs, k=2, carry=MODEL.initial_carry(2)),
    "jacobians": lambda xs: singular_values(MODEL.cells[0], xs, lags=(1, 3)),
    "sensitivity": lambda xs: sensitivity(MODEL, xs),
    "by input": lambda xs: sensitivity_by_input(MODEL, xs),
    "gates": lambda xs: gate_map(MODEL, xs),
}


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.parametrize("default", [None, "bfloat16"])
def test_every_matrix_product_is_at_the_highest_precision(name, default):
    """A GPU's default rounds factors to TF32, a TPU's to bfloat16."""
    with jax.default_matmul_precision(default) if default else jax.default_matmul_precision("default"):
        text = str(jax.make_jaxpr(MEASURED[name])(XS))
    products = re.findall(r"dot_general\[(.*?)\]\s", text, re.DOTALL)
    assert products and all("HIGHEST" in product for product in products)
