"""State of a Flax module that a step changes: dropout's counter, running statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flax import nnx
from jaxtyping import PyTree


def has_state(cell: Any) -> bool:
    """Whether a cell is a Flax module with variables besides its parameters."""
    return isinstance(cell, nnx.Module) and bool(nnx.to_flat_state(nnx.state(cell, nnx.Not(nnx.Param))))


def with_state(cell: Any) -> tuple[Callable[..., Any], PyTree]:
    """`step(carry, x, state) -> (carry, (y, state))` of a cell, and its state at first; none for one without."""
    if not has_state(cell):

        def step(carry, x, state):
            carry, y = cell(carry, x)
            return carry, (y, state)

        return step, ()

    graph, parameters, first = nnx.split(cell, nnx.Param, ...)

    def step(carry, x, state):
        module = nnx.merge(graph, parameters, state)
        carry, y = module(carry, x)
        return carry, (y, nnx.state(module, nnx.Not(nnx.Param)))

    return step, first


def keep_state(cell: Any, state: PyTree) -> None:
    """Leaves in the cell what its steps have made of its state."""
    if has_state(cell):
        nnx.update(cell, state)
