"""A cell of Flax, or any other class of `nnx.RNNCellBase`, a user's own among them."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import chz
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PyTree

from rnnlab.cells.base import CellBase, CellSpec
from rnnlab.specs.contract import expect, where
from rnnlab.specs.discover import EXPERIMENT


@chz.chz
class FlaxCell(CellSpec):
    """A cell of `flax.nnx`, or any other class that derives from `nnx.RNNCellBase`, by its name.

    (carry_t, y_t) = module(carry_{t-1}, x_t),  module = CLASS(D, H, rngs=rngs)

    It is a step as a whole and not a projection and an update. So training, adjoint norms, gradient flow, segments and
    Lyapunov exponents are there, and what needs the split is not: the cell path, paths through gates, gate values, the
    spectrum of w_h. `dtype` and `param_dtype` are given to a class that takes them; of any, parameters are kept in
    `param_dtype`, x and the carry come in `dtype` (the carry in at least its own) and y leaves in it.

    The equations are those in the class's own docstring (Flax, flax.nnx: LSTMCell, OptimizedLSTMCell, GRUCell,
    SimpleCell). Arrays besides its `nnx.Param` it may not hold: all that a cell holds here is trained.
    """

    source: ClassVar[str] = "Flax, flax.nnx"
    module: str | type[nnx.RNNCellBase] = chz.field(
        default="GRUCell",
        munger=lambda self, value: value.__name__ if isinstance(value, type) else value,
        doc="a class of flax.nnx, as GRUCell, or of your own that derives from nnx.RNNCellBase",
    )

    @chz.validate
    def _fits(self):
        kind, takes = self.kind, _takes(self.kind.__init__)
        try:
            inspect.signature(kind.__init__).bind(None, 1, self.features, rngs=None)
        except TypeError as error:
            made = f"a Flax cell is made by {self.module}(in_features, features, rngs=rngs)"
            raise ValueError(f"module={self.module}: {made}; {where(kind, '__init__')}: {error}") from error
        if not takes("dtype") and jnp.promote_types(self.dtype, self.param_dtype) != jnp.dtype(self.dtype):
            told = f"{self.module} takes no dtype, so it computes in that of its parameters"
            raise ValueError(f"dtype={self.dtype}: {told}; the nearest is {self.param_dtype}")

    @property
    def kind(self) -> type[nnx.RNNCellBase]:
        """The class. Raises ValueError for a name that no class has, or two."""
        every = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in foreign_cells()}
        found = {place: kind for place, kind in every.items() if kind.__name__ == self.module}
        if isinstance(given := self.X_module, type):  # in one process other experiments may have theirs
            found = {place: k for place, k in found.items() if k is given or not place.startswith(EXPERIMENT)}
        if len(found) == 1:
            return next(iter(found.values()))
        if found:
            raise ValueError(f"module={self.module}: {' and '.join(found)} have this name; rename one")
        names = sorted({kind.__name__ for kind in every.values()})
        near = difflib.get_close_matches(str(self.module), names, n=1, cutoff=0.5)
        told = f"the nearest is {near[0]}" if near else f"there is {', '.join(names)}"
        raise ValueError(f"module={self.module}: no such class of nnx.RNNCellBase; {told}")

    def build(self, in_features: int, *, rngs: nnx.Rngs) -> FlaxModule:
        every = rngs if hasattr(rngs, "default") else nnx.Rngs(rngs.params())  # a class may ask for streams of any name
        leaves = jax.tree.leaves(_made(self, in_features, every))
        return FlaxModule(self, in_features, jax.tree.unflatten(_structure(self.kind, self, in_features), leaves))


class FlaxModule(nnx.RNNCellBase):
    """What `FlaxCell` builds: the class's own object as `module`, with the shapes and types that rnnlab relies on."""

    def __init__(self, spec: FlaxCell, in_features: int, module: nnx.RNNCellBase):
        self.features, self.in_features = spec.features, in_features
        self.dtype = jnp.dtype(spec.dtype)
        self.module = module

    def __call__(self, carry: PyTree, inputs: Float[Array, "*B D"]) -> tuple[PyTree, Float[Array, "*B H"]]:
        new, y = self.module(carry, inputs.astype(self.dtype))
        kept = jax.tree.map(lambda old, part: part.astype(old.dtype), carry, new)
        # A y that is a part of the carry stays so whatever its type: the adjoint of that part counts y's use.
        same = [k for part, k in zip(jax.tree.leaves(new), jax.tree.leaves(kept), strict=True) if part is y]
        return kept, (same[0] if same else y).astype(self.dtype)

    def initialize_carry(self, input_shape: tuple[int, ...], rngs=None, carry_init=None) -> PyTree:
        """The class's own; it needs no rngs, which Flax's ask for to make zeros."""
        given = {"rngs": nnx.Rngs(0) if rngs is None else rngs, "carry_init": carry_init}
        own = self.module.initialize_carry
        carry = own(input_shape, **{name: value for name, value in given.items() if _takes(own)(name)})
        return jax.tree.map(lambda part: part.astype(jnp.promote_types(part.dtype, self.dtype)), carry)

    @property
    def carry_names(self) -> tuple[str, ...]:
        """The class's own `carry_names`, or the keys of its carry, if h is one; else h is the last, c one before it."""
        if own := getattr(self.module, "carry_names", None):
            return tuple(own)
        carry = jax.eval_shape(lambda: self.initialize_carry((1, self.in_features)))
        ends = [path[-1] if path else None for path, _ in jax.tree_util.tree_flatten_with_path(carry)[0]]
        keys = tuple(getattr(end, "key", getattr(end, "name", None)) for end in ends)
        if "h" in keys and len(set(keys)) == len(keys):
            return tuple(map(str, keys))
        others = ["c"] if len(ends) == 2 else [f"c{number}" for number in range(1, len(ends))]
        return (*others, "h")

    @property
    def num_feature_axes(self) -> int:
        return 1


def foreign_cells() -> Iterator[type[nnx.RNNCellBase]]:
    """Every class of `nnx.RNNCellBase` imported so far but rnnlab's: what `FlaxCell.module` may name."""
    left: list[type] = [nnx.RNNCellBase]
    while left:
        found = [kind for kind in left.pop(0).__subclasses__() if not issubclass(kind, CellBase | FlaxModule)]
        yield from (kind for kind in found if kind.__name__.isidentifier())  # no longer of one whose file has changed
        left += found


def cell_class(spec: CellSpec) -> type:
    """The class that a cell is written in: its spec's, and of a `FlaxCell` the one that it names."""
    return spec.kind if isinstance(spec, FlaxCell) else type(spec)


def _takes(function: Callable[..., Any]) -> Callable[[str], bool]:
    """Whether a function has an argument of this name."""
    known = inspect.signature(function).parameters.values()
    names = {p.name for p in known}
    return lambda name: name in names or any(p.kind is p.VAR_KEYWORD for p in known)


def _made(spec: FlaxCell, in_features: int, rngs: nnx.Rngs) -> nnx.RNNCellBase:
    takes = _takes(spec.kind.__init__)
    types = {name: jnp.dtype(getattr(spec, name)) for name in ("dtype", "param_dtype") if takes(name)}
    module = spec.kind(in_features, spec.features, rngs=rngs, **types)
    kept = jnp.dtype(spec.param_dtype)
    return jax.tree.map(lambda p: p.astype(kept) if jnp.issubdtype(p.dtype, jnp.floating) else p, module)


@functools.cache
def _structure(kind: type[nnx.RNNCellBase], spec: FlaxCell, in_features: int) -> jax.tree_util.PyTreeDef:
    """That of every object of a class, the functions it holds included.

    A class may make a function anew for each object (`self.act = lambda x: ...`): trials, which share a program, would
    differ in it.
    """
    with jax.ensure_compile_time_eval():  # of a tracer among its attributes Flax makes a constant
        module = _made(spec, in_features, nnx.Rngs(0))
    others = nnx.to_flat_state(nnx.state(module, nnx.Not(nnx.Param)))
    names = ", ".join(dict.fromkeys(".".join(map(str, path)) for path, _ in others))
    told = f"holds {names} besides its nnx.Param, and all that a cell holds is trained: make constants where they are "
    expect(not others, kind, "__init__", f"{told}used, and keep no rngs")
    return jax.tree.structure(module)
