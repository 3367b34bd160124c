"""The contract of a cell, checked on one step of three sequences before anything is trained."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, PyTree

from rnnlab.cells.base import CellBase, CellSpec
from rnnlab.cells.flax_cell import FlaxModule, cell_class
from rnnlab.specs.contract import (
    draws_by_its_arguments,
    expect,
    expect_members,
    forgotten,
    quickly_compiled,
    short,
    where,
)

SIZE = 3  # sequences
FLAX = {
    "__call__": "which makes a step: __call__(carry, x) -> (carry, y)",
    "initialize_carry": "which makes the first carry: initialize_carry(input_shape, rngs)",
}


def check_cell(spec: CellSpec, in_features: int = 5, warn: Callable[[str], None] = warnings.warn) -> None:
    """Raises ContractError for the first breach, with its file and line; `warn` is told what may be meant.

    Weights follow from the seed; a step keeps the carry's structure, shapes and types, gives y [B, H], and treats each
    sequence by itself; where a cell says that y is the carry's h, it is. Errors of the cell's own code are passed on.
    """
    kind, made = type(spec), "build"
    expect_members(kind, CellSpec, {"build": "which makes the module: build(in_features, *, rngs) -> nnx.Module"})
    if cell_class(spec) is not kind:
        kind, made = cell_class(spec), "__init__"
        expect_members(kind, nnx.RNNCellBase, FLAX)
    cell = jax.eval_shape(lambda: _built(spec, in_features, jax.random.key(0)))
    gave = _named(cell)
    expect(isinstance(cell, nnx.Module) and callable(cell), kind, made, f"gave {gave}, where a Flax module is needed")
    frozen = "draws by other means than its rngs (numpy.random?), so no seed tells its weights: use rngs.params()"
    expect(draws_by_its_arguments(lambda key: _built(spec, in_features, key), jax.random.key(0)), kind, made, frozen)
    own = type(_module(cell))
    step = "update" if isinstance(cell, CellBase) or hasattr(cell, "projection") else "__call__"
    if isinstance(cell, CellBase):
        expect_members(own, CellBase, {"update": "which makes a step: update(carry, z) -> (carry, y)"})
    carry = jax.eval_shape(lambda cell: cell.initialize_carry((SIZE, in_features), nnx.Rngs(0)), cell)
    if isinstance(cell, FlaxModule):
        _check_flax(cell, carry)
    if hasattr(cell, "projection"):
        _check_projection(cell, in_features, spec)
    _check_step(cell, step, in_features, spec.features, carry)
    if isinstance(cell, FlaxModule):
        _check_y(cell, step, in_features, carry)
    first = (cell, carry, jax.ShapeDtypeStruct((SIZE, in_features), jnp.float32))
    frozen = "draws by other means than its rngs (numpy.random?), which a compiled program does once for all steps"
    pure = draws_by_its_arguments(lambda cell, carry, x: cell(carry, x), *first)
    expect(pure, own, step, frozen)
    if isinstance(cell, CellBase):
        _check_names(cell, spec.features, carry)
    _check_values(spec, in_features, where(kind, made), own, step, warn)


def _module(cell) -> Any:
    """The object whose class the cell is written in: of Flax's before `FlaxModule` has settled its types."""
    return cell.module if isinstance(cell, FlaxModule) else cell


def _built(spec: CellSpec, in_features: int, key: Array):
    return spec.build(in_features, rngs=nnx.Rngs(params=key))


def _check_projection(cell, in_features: int, spec: CellSpec) -> None:
    w_x, w_h, b = (part.shape for part in jax.eval_shape(lambda cell: cell.projection(), cell))
    width = w_h[-1]
    right = w_x == (in_features, width) and w_h == (spec.features, width) and b == (width,)
    shapes = f"{list(w_x)}, {list(w_h)}, {list(b)}"
    expect(right, type(spec), "build", f"gave w_x, w_h, b of shapes {shapes}, where [D, Z], [H, Z] and "
           f"[Z] with D = {in_features} and H = {spec.features} are needed")  # fmt: skip


def _check_flax(cell: FlaxModule, carry: PyTree) -> None:
    """What a carry is beside the shapes and types that a step keeps."""
    own, leaves = type(cell.module), jax.tree.leaves(carry)
    right = leaves and all(p.ndim == 2 and len(p) == SIZE and jnp.issubdtype(p.dtype, jnp.floating) for p in leaves)
    expect(right, own, "initialize_carry", f"gave {_tree(carry)}, where floating-point numbers [B, n] are needed")
    names = cell.carry_names
    expect(len(names) == len(leaves) and "h" in names, own, "", f"carry_names = {names}: a name each of the carry's "
           f"{len(leaves)} components is needed, and one of them is h")  # fmt: skip


def _check_y(cell: FlaxModule, step: str, in_features: int, carry: PyTree) -> None:
    """Of the carry's h, whose adjoint is dL/dh, y must be made: what reads y would not count in it."""
    inputs = jax.ShapeDtypeStruct((SIZE, in_features), jnp.float32)
    jaxpr = jax.make_jaxpr(lambda cell, carry, x: cell(carry, x))(cell.module, carry, inputs).jaxpr
    *parts, y = jaxpr.outvars
    h, needed = parts[cell.carry_names.index("h")], [y]
    for eqn in reversed(jaxpr.eqns):
        if any(var is out for var in needed for out in eqn.outvars):
            needed += [*eqn.invars, *eqn.outvars]  # one equation may define both, as a jitted step does
    expect(any(var is h for var in needed), type(cell.module), step, "gave a y that is not made of its carry's h: "
           "compute it once and give the same array as both, or name by carry_names the part that y is")  # fmt: skip


def _check_step(cell, step: str, in_features: int, features: int, carry: PyTree) -> None:
    module = _module(cell)
    own, inputs = type(module), jax.ShapeDtypeStruct((SIZE, in_features), jnp.float32)
    found = jax.eval_shape(lambda cell, carry, x: cell(carry, x), module, carry, inputs)
    pair = isinstance(found, tuple) and len(found) == 2
    expect(pair, own, step, f"gave {_named(found)}, where (carry, y) is needed")
    new, y = found
    before, after = jax.tree.structure(carry), jax.tree.structure(new)
    expect(before == after, own, step, f"gave a carry {_tree(new)}, where one like that before, {_tree(carry)}, "
           "is needed")  # fmt: skip
    for old, part in zip(jax.tree.leaves(carry), jax.tree.leaves(new), strict=True):
        kept = old.shape == part.shape and (old.dtype == part.dtype or module is not cell)
        expect(kept, own, step, f"gave a carry with {_array(part)}, "
               f"where {_array(old)} came in: a scan's carry keeps its shapes and types")  # fmt: skip
    expect(hasattr(y, "shape") and y.shape == (SIZE, features), own, step, f"gave y {_tree(y)}, where [B, H] = "
           f"{[SIZE, features]} is needed")  # fmt: skip


def _check_names(cell: CellBase, features: int, carry: PyTree) -> None:
    leaves = jax.tree.leaves(carry)
    expect(len(cell.carry_names) == len(leaves), type(cell), "", f"carry_names = {cell.carry_names} names "
           f"{len(cell.carry_names)} components of a carry of {len(leaves)}")  # fmt: skip
    x = jax.ShapeDtypeStruct((SIZE, cell.in_features), leaves[-1].dtype)
    z = jax.eval_shape(lambda cell, h, x: cell.project(h, x), cell, leaves[-1], x)
    found = jax.eval_shape(lambda cell, carry, z: (cell.gates(z), cell.internals(carry, z)), cell, carry, z)
    for method, gates in zip(("gates", "internals"), found, strict=True):
        for name, gate in gates.items():
            fits = gate.shape in {(SIZE, features), *(leaf.shape for leaf in leaves)}
            expect(fits, type(cell), method, f"gave {name} {list(gate.shape)}, where [B, H] = {[SIZE, features]} is "
                   "needed, or the shape of another component of the carry")  # fmt: skip


def _check_values(
    spec: CellSpec, in_features: int, made: str, own: type, step: str, warn: Callable[[str], None]
) -> None:
    """What only numbers tell, all from one compiled program."""

    cells = [_built(spec, in_features, jax.random.key(seed)) for seed in (0, 1)]

    @quickly_compiled
    def run(cell, key):
        first, xs = jax.random.normal(key, (2, SIZE, in_features), jnp.float32)
        before, _ = cell(cell.initialize_carry((SIZE, in_features), nnx.Rngs(0)), first)  # a carry that may occur
        (new, y), (_, again) = cell(before, xs), cell(before, xs)
        _, alone = cell(jax.tree.map(lambda c: c[:1], before), xs[:1])
        h = jax.tree.leaves(new)[-1]
        carries = getattr(cell, "h_carries_gradient", False)
        return [part.astype(jnp.float32) for part in (y, again, alone, h if carries else y)]

    weights, others = (
        [np.asarray(leaf) for leaf in jax.tree.leaves(cell) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        for cell in cells
    )
    y, again, alone, h = jax.device_get(run(cells[0], jax.random.key(3)))
    drawn = any(np.unique(leaf).size > 2 for leaf in weights)  # not zeros, ones or an identity alone
    if drawn and all(map(np.array_equal, weights, others)):
        told = "gave the same weights for two seeds: unless that is meant, draw them from rngs.params()"
        warn(f"{made}: {told}")
    near = 0.05 if spec.dtype == "bfloat16" else 1e-4
    alike = np.allclose(y[:1], alone, rtol=near, atol=near, equal_nan=True)
    noisy = not np.array_equal(y, again, equal_nan=True)  # dropout, say
    expect(alike or noisy, own, step, f"gave y = {short(y[0, :3])}... for a sequence beside others and "
           f"{short(alone[0, :3])}... alone: a step must treat each by itself")  # fmt: skip
    expect(np.array_equal(h, y, equal_nan=True), own, step, "gave a y that is not the last component of its carry, h: "
           "return h as y, or set h_carries_gradient = False")  # fmt: skip


def _named(value: object) -> str:
    return ("None" if value is None else type(value).__name__) + forgotten(value)


def _tree(tree: PyTree) -> str:
    found = jax.tree.map(_array, tree)
    return str(found).replace("'", "")


def _array(part) -> str:
    return f"{part.dtype}{list(part.shape)}" if hasattr(part, "shape") else type(part).__name__
