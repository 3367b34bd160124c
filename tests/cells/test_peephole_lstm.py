"""Peepholes and the nine networks of the search space odyssey, each against NumPy as the paper writes it."""

import warnings
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import LSTM, AblatedLSTM, PeepholeLSTM
from rnnlab.cells.ablated_lstm import AblatedLSTMCell, Variant
from rnnlab.cells.contract import check_cell
from rnnlab.model import SequenceModel
from rnnlab.probes.dynamics.gates import gate_values
from rnnlab.probes.gradients.paths import gradient_paths
from rnnlab.scan.unroll import unroll
from rnnlab.specs.contract import ContractError

VARIANTS = get_args(Variant)
BLOCKS = {"NIG": "fgo", "NFG": "igo", "NOG": "ifg", "CIFG": "fgo"}  # of z; the others have all four
FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
D, H, B, T = 3, 4, 2, 12


def build(variant, seed=0):
    """A cell with weights of its own in every place, so that no term is too small to be seen."""
    spec = AblatedLSTM(features=H, variant=variant, bias="uniform", **FLOAT64)
    cell = spec.build(D, rngs=nnx.Rngs(seed))
    for number, part in enumerate(("b", "peepholes", "w_gates")):
        if (parameter := getattr(cell, part)) is not None:
            draw = jax.random.normal(jax.random.key(number), parameter.shape, jnp.float64)
            parameter[...] = draw / (1 if part != "w_gates" else 2)
    return cell


def sigma(a):
    return 1 / (1 + np.exp(-a))


def odyssey(variant, cell, xs):
    """{name: [T, B, H]} of section 2 of the paper, in its letters, with what the variant's own equation says."""
    gates = BLOCKS.get(variant, "ifgo")
    w, r, b = (dict(zip(gates, np.split(np.asarray(p[...]), len(gates), axis=-1), strict=True))
               for p in (cell.w_x, cell.w_h, cell.b))  # fmt: skip
    p = {gate: np.zeros(H) for gate in "ifo"}
    if variant != "NP":
        p |= dict(zip([gate for gate in gates if gate != "g"], np.asarray(cell.peepholes[...]), strict=True))
    if variant == "CIFG":  # the paper keeps the input gate and has f = 1 - i: the same with all its weights negated
        w["i"], r["i"], b["i"], p["i"] = -w["f"], -r["f"], -b["f"], -p["f"]
    between = {(one, two): np.zeros((H, H)) for one in "ifo" for two in "ifo"}
    if variant == "FGR":
        w_gates = np.asarray(cell.w_gates[...])
        for m, one in enumerate("ifo"):
            for n, two in enumerate("ifo"):
                between[one, two] = w_gates[m * H : (m + 1) * H, n * H : (n + 1) * H]
    y, c, before, found = np.zeros((B, H)), np.zeros((B, H)), {gate: np.zeros((B, H)) for gate in "ifo"}, []
    for x in xs:

        def net(gate, state, x=x, y=y, before=before):
            recurrent = sum(before[one] @ between[one, gate] for one in "ifo")
            return x @ w[gate] + y @ r[gate] + p[gate] * state + b[gate] + recurrent

        ones, z = np.ones((B, H)), x @ w["g"] + y @ r["g"] + b["g"]
        z = z if variant == "NIAF" else np.tanh(z)
        i = ones if variant == "NIG" else sigma(net("i", c))
        f = ones if variant == "NFG" else 1 - i if variant == "CIFG" else sigma(net("f", c))
        c = z * i + c * f
        o = ones if variant == "NOG" else sigma(net("o", c))
        y, before = (c if variant == "NOAF" else np.tanh(c)) * o, {"i": i, "f": f, "o": o}
        found.append({"c": c, "h": y, "g": z} | before)
    return {name: np.stack([step[name] for step in found]) for name in found[0]}


def inputs(length=T):
    return 2 * jax.random.normal(jax.random.key(9), (length, B, D), jnp.float64)


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_of_the_nine_is_the_papers_own_step(variant):
    """States and gates to 1e-12. i and f read the last cell state, o the new one."""
    cell, xs = build(variant), inputs()

    def step(carry, x):
        named = cell.internals(carry, cell.project(carry[-1], x))
        carry, _ = cell(carry, x)
        return carry, {"c": carry[0], "h": carry[-1]} | named

    got = jax.lax.scan(step, cell.initialize_carry((B, D)), xs)[1]
    want = odyssey(variant, cell, np.asarray(xs))
    assert {"c", "h", "g"} < set(got) <= set(want)
    assert len(got) == 5 + (variant not in ("NIG", "NFG", "NOG"))  # c, h and g, and the gates that are there
    for name, values in got.items():
        np.testing.assert_allclose(values, want[name], rtol=1e-12, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_left_has_the_weights_of_an_lstm_of_the_same_seed(variant):
    """And G H (D + H + 1) parameters of its own kind, one peephole a gate and unit, nine matrices between gates."""
    whole = LSTM(features=H, bias="chrono").build(D, rngs=nnx.Rngs(5))
    cell = AblatedLSTM(features=H, bias="chrono", variant=variant).build(D, rngs=nnx.Rngs(5))
    gates = BLOCKS.get(variant, "ifgo")
    columns = np.repeat([gate in gates for gate in "ifgo"], H)
    for mine, theirs in ((cell.w_x, whole.w_x), (cell.w_h, whole.w_h), (cell.b, whole.b)):
        np.testing.assert_array_equal(mine[...], theirs[...][..., columns])
    count = sum(leaf.size for leaf in jax.tree.leaves(cell))
    peepholes = (len(gates) - 1) * H if variant != "NP" else 0
    assert count == len(gates) * H * (D + H + 1) + peepholes + (9 * H * H if variant == "FGR" else 0)


@pytest.mark.parametrize("variant", ["V", "CIFG", "FGR"])
def test_unroll_gives_the_gradient_of_plain_autodiff_and_dl_dc_with_the_output_gates_peephole(variant):
    """Of every parameter, peepholes and the matrices between gates too; dL/dc_T in closed form."""
    cell, xs = build(variant), inputs(7)
    carry = cell.initialize_carry((B, D))
    taps = jax.tree.map(lambda c: jnp.zeros((len(xs), B)), carry)

    def loss(way, cell, **options):
        return jnp.sum(jnp.sin(way(cell, carry, xs, **options)[1][-1]))

    plain = jax.jit(jax.grad(lambda cell: loss(jax.lax.scan, cell)))(cell)
    fast, norms = jax.jit(jax.grad(lambda cell, taps: loss(unroll, cell, taps=taps), argnums=(0, 1)))(cell, taps)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), plain, fast)
    c, h, o = (odyssey(variant, cell, np.asarray(xs))[name][-1] for name in "cho")
    p_o = np.asarray(cell.peepholes[...])[-1]
    d_c = np.cos(h) * (o * (1 - np.tanh(c) ** 2) + np.tanh(c) * o * (1 - o) * p_o)
    np.testing.assert_allclose(norms[0][-1], np.linalg.norm(d_c, axis=1), rtol=1e-10)


@pytest.mark.parametrize("variant", ["V", "NFG", "CIFG"])
def test_peepholes_belong_to_the_cell_path(variant):
    """dc_t/dc_{t-1} at fixed z in closed form, element by element."""
    cell = build(variant)
    c, h = (jax.random.normal(jax.random.key(k), (B, H), jnp.float64) for k in range(2))
    z = cell.project(h, inputs(1)[0])
    (_, slope) = jax.jvp(lambda c: cell.update((c, h), z)[0][0], (c,), (jnp.ones_like(c),))
    named = {"i": 1.0, "f": 1.0} | cell.internals((c, h), z)
    i, f, g = (named[gate] for gate in "ifg")
    p = dict(zip([gate for gate in BLOCKS.get(variant, "ifgo") if gate != "g"], cell.peepholes[...], strict=True))
    by_f = f * (1 - f) * p.get("f", 0)
    by_i = -by_f if variant == "CIFG" else i * (1 - i) * p.get("i", 0)
    np.testing.assert_allclose(slope, f + c * by_f + g * by_i, rtol=1e-12)


def test_the_direct_path_of_a_peephole_lstm_is_the_product_of_these_slopes():
    """gradient_paths against states of the forward pass alone; dL/dc at the end counts the output gate's peephole."""
    model = SequenceModel(PeepholeLSTM(features=H, **FLOAT64), D, 1, rngs=nnx.Rngs(0))
    cell, xs = model.cells[0], inputs(6)
    cell.peepholes[...] = jax.random.normal(jax.random.key(3), (3, H), jnp.float64)
    paths = jax.jit(gradient_paths, static_argnums=2)(model, xs, lambda outputs: outputs[-1, :, 0])
    states, slopes = odyssey("V", cell, np.asarray(xs)), []
    p_i, p_f, p_o = np.asarray(cell.peepholes[...])
    last = np.zeros((B, H))
    for c, i, f, g in zip(*(states[name] for name in "cifg"), strict=True):
        slopes.append(f + last * f * (1 - f) * p_f + g * i * (1 - i) * p_i)
        last = c
    o = states["o"][-1]
    d = np.asarray(model.readout.kernel[...])[:, 0] * (o * (1 - np.tanh(c) ** 2) + np.tanh(c) * o * (1 - o) * p_o)
    for lag, direct in enumerate(np.asarray(paths["layer0/c"].norms["direct"].log10())):
        np.testing.assert_allclose(10**direct, np.linalg.norm(d, axis=1), rtol=1e-10)
        d = d * slopes[-1 - lag]


def test_a_peephole_lstm_is_the_variant_v_and_one_without_peepholes_an_lstm():
    for one, two in (
        (PeepholeLSTM(features=H, forget_bias=2.0), AblatedLSTM(features=H, forget_bias=2.0, variant="V")),
        (LSTM(features=H), AblatedLSTM(features=H, variant="NP")),
    ):
        cells = [spec.build(D, rngs=nnx.Rngs(1)) for spec in (one, two)]
        jax.tree.map(np.testing.assert_array_equal, *map(jax.tree.leaves, cells))
        ys = [jax.lax.scan(cell, cell.initialize_carry((B, D)), inputs().astype(jnp.float32))[1] for cell in cells]
        np.testing.assert_array_equal(*ys)


@pytest.mark.parametrize(("variant", "dtype"), [("NIG", "float32"), ("FGR", "float32"), ("FGR", "bfloat16")])
def test_the_contract_holds_with_one_gate_less_and_with_gates_in_the_carry(variant, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_cell(AblatedLSTM(features=4, variant=variant, dtype=dtype))


@pytest.mark.parametrize("variant", ["V", "NIG", "CIFG", "FGR"])
def test_gate_probes_read_gates_that_see_the_cell_state(variant):
    model = SequenceModel(AblatedLSTM(features=H, variant=variant, **FLOAT64), D, 1, rngs=nnx.Rngs(0))
    model.cells[0], xs = build(variant), inputs(6)
    want = odyssey(variant, model.cells[0], np.asarray(xs))
    gates = jax.jit(gate_values)(model, xs)
    assert set(gates) == {"i", "f", "o"} - ({"i"} if variant == "NIG" else set())
    for name, values in gates.items():
        np.testing.assert_allclose(values, want[name], rtol=1e-12)


def test_internals_of_another_width_break_the_contract(monkeypatch):
    monkeypatch.setattr(AblatedLSTMCell, "internals", lambda self, carry, z: {"i": z[..., :1]})
    with pytest.raises(ContractError, match=r"gave i \[3, 1\], where \[B, H\] = \[3, 4\] is needed"):
        check_cell(PeepholeLSTM(features=4))


def test_what_is_removed_is_said_once():
    with pytest.raises(ValueError, match="without='forget gate': variant=NIG says what is removed; leave one out"):
        AblatedLSTM(variant="NIG", without="forget gate")
    assert AblatedLSTM(variant="NIG").removed == "input gate"
