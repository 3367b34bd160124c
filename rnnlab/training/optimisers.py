"""Optimisers of optax by name, with their options as text: no list of them is kept here."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jaxtyping import Array, PyTree

from rnnlab.specs.errors import nearest

Rate = Callable[[Array], Array]  # updates made -> learning rate
SETTINGS = ("learning_rate", "weight_decay", "mask", "weight_decay_mask")  # arguments that are no options
WORDS = {"None": None, "True": True, "False": False}


@functools.cache
def factories() -> dict[str, Callable[..., optax.GradientTransformation]]:
    """Every optimiser of optax and optax.contrib by name: what takes a learning rate."""
    found = {}
    for home in (optax.contrib, optax):
        for name, value in vars(home).items():
            public = isinstance(value, types.FunctionType | functools.partial) and not name.startswith(("_", "scale_"))
            if public and "learning_rate" in inspect.signature(value).parameters:
                found[name] = value
    return found


def parse_options(optimizer: str, text: str, elsewhere: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a text such as `b1=.9,b2=.95` gives an optimiser. Raises ValueError.

    Values are numbers, True, False or None, of a dtype its name. `elsewhere`: options that have settings of their own.
    """
    parameters = inspect.signature(factories()[optimizer]).parameters
    known = [name for name in parameters if name not in (*SETTINGS, *elsewhere)]
    found: dict[str, Any] = {}
    for word in filter(None, text.replace(" ", "").split(",")):
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"options={text}: options are written name=value, as in b1=.9,b2=.95")
        if name in (*elsewhere, "learning_rate", "weight_decay"):
            raise ValueError(f"options={text}: {name} is a setting of its own; write train.{name}={value}")
        if name not in known:
            raise ValueError(f"options={text}: {optimizer} has no option {name}{nearest(name, known)}")
        found[name] = _value(text, name, value)
    return found


def _value(text: str, name: str, value: str) -> Any:
    if value in WORDS:
        return WORDS[value]
    if "dtype" in name:
        return value
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    raise ValueError(f"options={text}: {name}={value} is no number, True, False or None")


def matrices(tree: PyTree) -> PyTree:
    """Which leaves weight decay acts on: those with two axes and more. Biases, gains, peepholes and the recurrent
    vectors of diagonal cells are left alone."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, tree)


def build(
    optimizer: str, options: Mapping[str, Any], rate: Rate, weight_decay: Array | float | None
) -> optax.GradientTransformation:
    """An optimiser of optax.

    `weight_decay` goes to optax's own argument, where there is one; its default is then None's meaning. An optimiser
    without gets it beside its update: rate * weight_decay * W is subtracted from the matrices W (Loshchilov & Hutter
    2019, algorithm 2), by which adam is adamw.
    """
    factory = factories()[optimizer]
    known = inspect.signature(factory).parameters
    given = {name: matrices for name in ("mask", "weight_decay_mask") if name in known}
    if weight_decay is not None and "weight_decay" in known:
        given["weight_decay"] = weight_decay
    inner = optax.with_extra_args_support(factory(learning_rate=rate, **given, **options))
    beside = weight_decay is not None and "weight_decay" not in known

    def init(params):
        state = inner.init(params)
        return (state, jnp.zeros((), jnp.int32)) if beside else state

    def update(gradient, state, params=None):
        own, step = state if beside else (state, None)
        updates, new = inner.update(gradient, own, params)
        new = jax.tree.map(_in_the_type_of, new, own)
        if not beside:
            return updates, new
        shrink = rate(step) * weight_decay
        updates = jax.tree.map(
            lambda u, w, decays: u - (shrink * w).astype(u.dtype) if decays else u, updates, params, matrices(params)
        )
        return updates, (new, step + 1)

    return optax.GradientTransformation(init, update)


def _in_the_type_of(new: Array, old: Array) -> Array:
    """Where float64 is enabled a number of the program may have promoted it."""
    return new if new.dtype == old.dtype else new.astype(old.dtype)


@functools.cache
def check(optimizer: str, options: str, elsewhere: tuple[str, ...]) -> None:
    """Raises ValueError, in one line, for an optimiser or an option that there is none of or that training cannot use:
    one that asks for more than gradients, parameters and a schedule, as a line search does."""
    if optimizer not in factories():
        raise ValueError(f"optimizer={optimizer}: no such choice{nearest(optimizer, factories())}")
    given = parse_options(optimizer, options, dict.fromkeys(elsewhere))

    def once(params):
        rule = build(optimizer, given, lambda step: jnp.float32(0.1), None)
        return rule.update(params, rule.init(params), params)

    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((2, 3), (3,))]
    try:
        jax.eval_shape(once, shapes)
    except Exception as error:  # whatever optax makes of arguments that it cannot use
        told = " ".join(str(error).split())[:160]
        raise ValueError(
            f"optimizer={optimizer}: training cannot use it{f' with {options}' * bool(options)} ({told})"
        ) from error
