"""Total adjoints of a step's outgoing carry, for any cell, without its help."""

from __future__ import annotations

from collections.abc import Callable

import jax
from jax.extend import core
from jaxtyping import Array, PyTree

Function = Callable[..., tuple[PyTree, PyTree]]


def with_carry_addition(step: Function) -> Function:
    """`step(*args) -> (carry, y)` with one more argument, an addition to its outgoing carry.

    The addition reaches every use of these values within the step as well (an LSTM's c in h = o tanh c,
    a y that is h), so its gradient is the total adjoint dL/dc_t of the literature and not only the part
    that leaves through the carry. A carry component is one variable of the step's jaxpr; the addition is
    made where that variable is defined, within a jitted function too.

    Raises:
      TypeError: the step is wrapped in a transformation that hides that definition (jax.checkpoint, say).
    """

    def run(*args):
        *args, additions = args
        jaxpr, out = jax.make_jaxpr(step, return_shape=True)(*args)
        values = _evaluate(jaxpr, jax.tree.leaves(args), dict(enumerate(jax.tree.leaves(additions))))
        return jax.tree.unflatten(jax.tree.structure(out), values)

    return run


def _evaluate(closed: core.ClosedJaxpr, args: list[Array], additions: dict[int, Array]) -> list[Array]:
    """The outputs of a jaxpr, with additions to some (by number), each made where its variable is defined."""
    jaxpr = closed.jaxpr
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*closed.consts, *args], strict=True))
    at_the_end, pending = [None] * len(jaxpr.outvars), {}
    for number, addition in additions.items():
        var = jaxpr.outvars[number]
        if isinstance(var, core.Literal) or var in values:  # passed through or constant: no equation here defines it
            for other, out in enumerate(jaxpr.outvars):
                if out is var:  # a y that is h, say: both are this component
                    at_the_end[other] = addition if at_the_end[other] is None else at_the_end[other] + addition
        else:
            pending[var] = pending[var] + addition if var in pending else addition

    def read(var):
        return var.val if isinstance(var, core.Literal) else values[var]

    for eqn in jaxpr.eqns:
        wanted = {i: pending[var] for i, var in enumerate(eqn.outvars) if var in pending}
        if wanted and len(eqn.outvars) > 1:  # what else it defines may read the component: look inside
            if eqn.primitive.name not in ("jit", "pjit"):
                raise TypeError(f"{eqn.primitive.name} hides how a step uses its carry: call the step without it")
            values.update(
                zip(eqn.outvars, _evaluate(eqn.params["jaxpr"], list(map(read, eqn.invars)), wanted), strict=True)
            )
            continue
        bound = eqn.primitive.get_bind_params(eqn.params)
        functions, params = bound if isinstance(bound, tuple) else ((), bound)  # a pair in some JAX versions
        out = eqn.primitive.bind(*functions, *map(read, eqn.invars), **params)
        for var, value in zip(eqn.outvars, out if eqn.primitive.multiple_results else [out], strict=True):
            values[var] = value + pending[var] if var in pending else value
    out = [read(var) for var in jaxpr.outvars]
    return [value if more is None else value + more for value, more in zip(out, at_the_end, strict=True)]
