"""What a class of one's own must keep to, and how a breach of it is told: file, line, and what was expected."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnlab.specs.errors import UserError

# For programs that run once: their compilation is what takes time.
OPTIONS = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def quickly_compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Jitted with few optimisations, and at full precision: two ways to one number are to agree on a GPU too."""

    @functools.wraps(function)
    def precise(*args):
        with jax.default_matmul_precision("highest"):
            return function(*args)

    return jax.jit(precise, compiler_options=OPTIONS if jax.default_backend() == "cpu" else None)


class ContractError(UserError):
    """A cell, task or experiment does not do what its caller relies on. One line: where, what, and what is expected."""


def expect(right: object, owner: type, name: str, told: str) -> None:
    """Raises ContractError, which says where `owner` defines `name`, unless `right`."""
    if not right:
        raise ContractError(f"{where(owner, name)}: {told}")


def expect_members(owner: type, base: type, needed: Mapping[str, str]) -> None:
    """Every needed member {name: what it is} must be the owner's own, and not that of its `base`."""
    for name, told in needed.items():
        expect(getattr(owner, name, None) is not getattr(base, name), owner, "", f"no {name}, {told}")


def where(owner: type, name: str) -> str:
    """`FILE, line N, in CLASS.NAME` of a method or property, or of the class itself where it has none of its own."""
    code = _code(getattr(owner, name, None))
    if code is not None:
        return _place(code)
    try:
        return f"{inspect.getfile(owner)}, line {inspect.getsourcelines(owner)[1]}, in {owner.__qualname__}"
    except (OSError, TypeError):  # typed into a prompt
        return owner.__qualname__


def where_function(function: Callable[..., Any]) -> str:
    """`FILE, line N, in NAME` of a function."""
    code = _code(function)
    return getattr(function, "__name__", "a function") if code is None else _place(code)


def _place(code: types.CodeType) -> str:
    return f"{code.co_filename}, line {code.co_firstlineno}, in {code.co_qualname}"


def _code(member: object) -> types.CodeType | None:
    if isinstance(member, property | functools.cached_property):
        member = member.fget if isinstance(member, property) else member.func
    return getattr(inspect.unwrap(member), "__code__", None) if callable(member) else None


def draws_by_its_arguments(function: Callable[..., Any], *args: Any) -> bool:
    """Whether two traces are the same program; numbers of NumPy's or Python's own generators are constants of one."""
    one, two = (jax.make_jaxpr(lambda *args: function(*args))(*args) for _ in range(2))
    return str(one) == str(two) and all(map(_same, one.consts, two.consts))


def _same(one: Any, two: Any) -> bool:
    """Whether two constants are alike, gaps (nan) and keys too."""
    if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
        one, two = jax.random.key_data(one), jax.random.key_data(two)
    return np.array_equal(one, two, equal_nan=jnp.issubdtype(one.dtype, jnp.inexact))


def forgotten(value: object) -> str:
    """A hint behind what was given, where that is None."""
    return " (is a return missing?)" if value is None else ""


def short(numbers: np.ndarray) -> str:
    """A few numbers as one reads them."""
    return f"[{', '.join(f'{number:.3g}' for number in numbers)}]"
