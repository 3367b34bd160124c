"""A cell of Flax, or a user's own, runs as its class says: values, gradients, types, one program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import rnnlab
from rnnlab.cells.contract import check_cell
from rnnlab.cells.flax_cell import FlaxCell
from rnnlab.settings.resolve import ArmSpec
from rnnlab.specs.errors import Undefined, UserError
from rnnlab.training.updates import program_key

FLAXS = [nnx.GRUCell, nnx.LSTMCell, nnx.OptimizedLSTMCell, nnx.SimpleCell]
FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}


class Leaky(nnx.RNNCellBase):
    """As a user writes one: no dtype, a function of each object's own, a carry by name, h not its last component."""

    def __init__(self, in_features, width, *, rngs):
        self.width = width
        self.z = nnx.Linear(in_features + width, width, rngs=rngs)
        self.gates = self.projection = self.update = nnx.data(None)  # names that mean nothing here
        self.slow = nnx.Param(rngs.uniform((width,)))
        self.act = lambda z: jnp.tanh(z)

    def __call__(self, carry, x):
        new = self.act(self.z(jnp.concatenate([x, carry["h"]], axis=-1)))
        mean = carry["m"] + jax.nn.sigmoid(self.slow[...]) * (new - carry["m"])
        h = new + mean
        return {"h": h, "m": mean}, h

    def initialize_carry(self, input_shape, rngs):
        zeros = jnp.zeros((*input_shape[:-1], self.width), jnp.float32)
        return {"h": zeros, "m": zeros}


class Misfit(Leaky):
    """Breaks one thing a class: see MISFITS."""


class Backwards(Misfit):
    def __init__(self, features, *, rngs):
        pass


class Constant(Misfit):
    def __init__(self, in_features, width, *, rngs):
        super().__init__(in_features, width, rngs=rngs)
        self.mask = jnp.ones(width)


class Randomly(Misfit):
    def __init__(self, in_features, width, *, rngs):
        super().__init__(in_features, width, rngs=rngs)
        self.rngs = rngs


class Wide(Misfit):
    def __call__(self, carry, x):
        carry, y = super().__call__(carry, x)
        return carry, jnp.concatenate([y, y], axis=-1)


class Other(Misfit):
    def __call__(self, carry, x):
        carry, y = super().__call__(carry, x)
        return carry["h"], y


class Apart(Misfit):
    def __call__(self, carry, x):
        carry, y = super().__call__(carry, x)
        return carry | {"h": 1.0 * y}, y


class Counts(Misfit):
    def initialize_carry(self, input_shape, rngs):
        return super().initialize_carry(input_shape, rngs) | {"n": jnp.zeros((), jnp.int32)}


class Unnamed(Misfit):
    carry_names = ("a", "b")


class Stepless(nnx.RNNCellBase):
    def __init__(self, in_features, features, *, rngs):
        pass


class Twice(nnx.RNNCellBase):
    pass


MISFITS = [
    (Backwards, r"module=Backwards: a Flax cell is made by Backwards\(in_features, features, rngs=rngs\); .*__init__"),
    (Constant, r"Constant.__init__: holds mask besides its nnx.Param"),
    (Randomly, r"Randomly.__init__: holds rngs.default.count, rngs.default.key besides its nnx.Param"),
    (Wide, r"Wide.__call__: gave y float32\[3, 8\], where \[B, H\] = \[3, 4\] is needed"),
    (Other, r"Other.__call__: gave a carry float32\[3, 4\], where one like that before"),
    (Apart, r"Apart.__call__: gave a y that is not made of its carry's h: compute it once and give the same array"),
    (Counts, r"Counts.initialize_carry: gave .*, where floating-point numbers \[B, n\] are needed"),
    (Unnamed, r"carry_names = \('a', 'b'\): a name each of the carry's 2 components is needed, and one of them is h"),
    (Stepless, r"Stepless: no __call__, which makes a step"),
    ("GRUCel", r"module=GRUCel: no such class of nnx.RNNCellBase; the nearest is GRUCell"),
    ("Linear", r"module=Linear: no such class of nnx.RNNCellBase; "),
]


@pytest.mark.parametrize(("module", "told"), MISFITS, ids=[getattr(m, "__name__", m) for m, _ in MISFITS])
def test_what_does_not_fit_is_one_line(module, told):
    with pytest.raises(ValueError, match=told) as raised:
        rnnlab.check(FlaxCell(module=module, features=4))
    assert "\n" not in str(raised.value)


def test_a_name_that_two_classes_have_is_refused():
    other = type("Twice", (nnx.RNNCellBase,), {"__module__": "elsewhere"})
    with pytest.raises(ValueError, match=r"module=Twice: .*test_flax_cell.Twice and elsewhere.Twice have this name"):
        FlaxCell(module=other)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FLAXS)
def test_it_is_flaxs_own_cell(kind):
    """Same rngs, same weights and the same outputs as the class itself, whose carry needs rngs, step by step."""
    cell = FlaxCell(module=kind, features=5).build(3, rngs=nnx.Rngs(7))
    own = kind(3, 5, dtype=jnp.float32, param_dtype=jnp.float32, rngs=nnx.Rngs(7))
    jax.tree.map(np.testing.assert_array_equal, cell.module, own)
    xs = jax.random.normal(jax.random.key(0), (4, 2, 3), jnp.float32)
    _, ys = rnnlab.unroll(cell, cell.initialize_carry((2, 3)), xs)
    carry = own.initialize_carry((2, 3), nnx.Rngs(0))
    for x, y in zip(xs, ys, strict=True):
        carry, want = own(carry, x)
        np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [nnx.SimpleCell, nnx.OptimizedLSTMCell])
def test_bfloat16_reaches_y_and_not_the_parameters(kind):
    """Flax's SimpleCell alone would change the type of its carry at the first step."""
    cell = FlaxCell(module=kind, features=4, dtype="bfloat16").build(3, rngs=nnx.Rngs(0))
    carry, y = jax.lax.scan(cell, cell.initialize_carry((2, 3)), jnp.ones((3, 2, 3)))
    assert y.dtype == jnp.bfloat16 and {leaf.dtype for leaf in jax.tree.leaves((cell, carry))} == {np.dtype("float32")}
    model = rnnlab.SequenceModel(FlaxCell(module=kind, features=4, dtype="bfloat16"), 3, 1, rngs=nnx.Rngs(0))
    flow = rnnlab.gradient_flow(model, jnp.ones((3, 1, 3)), lambda outputs: outputs[-1, :, 0])
    want = np.log10(np.linalg.norm(model.readout.kernel[...]))  # dL/dh at lag 0, whose h is y
    np.testing.assert_allclose(flow["layer0/h"].log10()[0, 0], want, atol=1e-2)


@pytest.mark.slow
def test_gradient_flow_of_a_users_own_is_that_of_its_steps():
    """||dL/dh_t|| and ||dL/dm_t|| in float64, against jax.grad from the carry at t on, in the class alone.

    m_t is also read by h_t = ... + m_t of the same step, so its adjoint has that of h_t in it.
    """
    model = rnnlab.SequenceModel(FlaxCell(module=Leaky, features=4, **FLOAT64), 2, 1, rngs=nnx.Rngs(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(model)} == {np.dtype("float64")}
    xs = jax.random.normal(jax.random.key(0), (5, 1, 2), jnp.float64)
    flow = rnnlab.gradient_flow(model, xs, lambda outputs: outputs[-1, :, 0] ** 2)
    assert sorted(flow) == ["layer0/h", "layer0/m"]
    own, carries = model.cells[0].module, [model.initial_carry(1)[0]]
    for x in xs:
        carries.append(own(carries[-1], x)[0])

    def loss(carry, start):
        for x in xs[start:]:
            carry, _ = own(carry, x)
        return jnp.sum(model.readout(carry["h"]) ** 2)

    for lag in range(5):
        d = jax.grad(loss)(carries[5 - lag], 5 - lag)
        for name, want in {"h": d["h"], "m": d["m"] + d["h"]}.items():
            got = flow[f"layer0/{name}"].log10()[lag, 0]
            np.testing.assert_allclose(got, np.log10(np.linalg.norm(want)), rtol=1e-9, atol=1e-9)


def test_trials_share_a_program_whatever_functions_their_cells_hold():
    arm = ArmSpec(cell=FlaxCell(module=Leaky, features=4))
    trees = [jax.tree.structure(arm.build(seed)) for seed in (0, 1)]
    assert trees[0] == trees[1] and program_key(arm) == program_key(ArmSpec(cell=FlaxCell(module="Leaky", features=4)))
    assert jax.tree.structure(Leaky(2, 4, rngs=nnx.Rngs(0))) != jax.tree.structure(Leaky(2, 4, rngs=nnx.Rngs(0)))
    xs = jnp.ones((3, 2, 2), jnp.float32)
    run = jax.jit(jax.vmap(lambda key: rnnlab.SequenceModel(arm.cell, 2, 1, rngs=nnx.Rngs(params=key))(xs)))
    found = run(jax.random.split(jax.random.key(0)))
    assert found.shape == (2, 3, 2, 1) and not np.array_equal(*found)


def test_names_of_a_carry():
    def names(kind, carry_names=None):
        cell = FlaxCell(module=kind, features=4).build(2, rngs=nnx.Rngs(0))
        return cell.carry_names

    class Three(Leaky):
        def initialize_carry(self, input_shape, rngs):
            return tuple(jnp.zeros((*input_shape[:-1], n)) for n in (3, 4, 4))

    class Told(Three):
        carry_names = ("count", "h", "c")

    found = [names(kind) for kind in (nnx.GRUCell, nnx.LSTMCell, Leaky, Three, Told)]
    assert found == [("h",), ("c", "h"), ("h", "m"), ("c1", "c2", "h"), ("count", "h", "c")]


def test_a_type_that_a_class_does_not_take_is_refused():
    with pytest.raises(ValueError, match=r"dtype=bfloat16: Leaky takes no dtype, .*; the nearest is float32"):
        FlaxCell(module=Leaky, dtype="bfloat16")


def test_what_needs_a_projection_says_that_it_is_not_defined():
    model = rnnlab.SequenceModel(FlaxCell(features=3), 2, 1, rngs=nnx.Rngs(0))
    with pytest.raises(Undefined, match="has no projection and update"):
        rnnlab.gradient_paths(model, jnp.ones((3, 1, 2)), lambda outputs: outputs[-1, :, 0])
    assert issubclass(Undefined, UserError)


def test_flaxs_own_keep_the_contract():
    for kind in (nnx.GRUCell, nnx.LSTMCell):
        check_cell(FlaxCell(module=kind, features=4))
