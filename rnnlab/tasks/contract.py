"""The contract of a task, checked on a batch of four sequences before anything is trained."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from rnnlab.specs.contract import (
    draws_by_its_arguments,
    expect,
    expect_members,
    forgotten,
    quickly_compiled,
    short,
    where,
)
from rnnlab.tasks.base import Batch, Task

SIZE = 4  # sequences: no other axis is likely to be as long by chance and hide a mistake
NEEDED = {
    "in_features": "the width D of its inputs",
    "out_features": "the width K of the outputs that it judges",
    "chance": "the loss of the best predictor without memory, the line that curves are drawn against",
    "sample": "which draws a batch: sample(key, batch_size) -> Batch",
    "losses": "the loss of each sequence: losses(outputs, batch) -> [B]",
    "right": "the fraction of each sequence's answers that is right: right(outputs, batch) -> [B]",
}


def check_task(task: Task, warn: Callable[[str], None] = warnings.warn) -> None:
    """Raises ContractError for the first breach, with its file and line; `warn` is told what may be meant.

    A batch is a pure function of its key and has the stated shapes; losses and right are of each sequence by itself,
    read all of the batch, and give the loss a gradient. Errors of the task's own code are passed on.
    """
    kind = type(task)
    expect_members(kind, Task, NEEDED)
    _check_numbers(task)
    for draw in ("sample", "held_out"):
        _check_batch(task, draw)
    frozen = "draws by other means than its key (numpy.random?), which a compiled program does once: use jax.random"
    expect(draws_by_its_arguments(lambda key: task.sample(key, SIZE), jax.random.key(0)), kind, "sample", frozen)
    _check_losses(task)
    _check_values(task, warn)


def _check_numbers(task: Task) -> None:
    kind = type(task)
    for name in ("in_features", "out_features", "answers"):
        found = getattr(task, name)
        expect(_whole(found) and found >= 1, kind, name, f"gave {found!r}, where a whole number from 1 is needed")
    most = f"at most the length T = {task.length}"
    expect(task.answers <= task.length, kind, "answers", f"gave {task.answers}, which must be {most}")
    lag = task.needed_lag
    expect(lag is None or (_whole(lag) and 0 <= lag < task.length), kind, "needed_lag",
           f"gave {lag!r}, where a lag from 0 to T - 1 = {task.length - 1} is needed, or None")  # fmt: skip
    for name in ("chance", "solved_accuracy"):  # a chance that is not known is nan
        found = getattr(task, name)
        number = hasattr(found, "__float__") and not math.isinf(float(found))
        expect(number, kind, name, f"gave {found!r}, where a finite number is needed")
    files = task.files
    listed = isinstance(files, tuple | list) and all(isinstance(file, str | Path) for file in files)
    expect(listed, kind, "files", f"gave {files!r}, where a tuple of paths is needed, as in (PATH,)")
    for file in files:
        expect(Path(file).is_file(), kind, "files", f"names {file}, which is no file here")


def _whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _check_batch(task: Task, draw: str) -> None:
    kind, name = type(task), draw if draw in vars(type(task)) else "sample"
    batch = jax.eval_shape(lambda key: getattr(task, draw)(key, SIZE), jax.random.key(0))
    got = type(batch).__name__
    is_batch = isinstance(batch, tuple) and {"inputs", "targets"} <= set(getattr(batch, "_fields", ()))
    told = f"gave {got}, where a Batch(inputs [T, B, D], targets [N, B, ...]) is needed"
    expect(is_batch, kind, name, told + forgotten(batch))
    wanted, targets = (task.length, SIZE, task.in_features), (task.answers, SIZE)
    tokens = jnp.issubdtype(batch.inputs.dtype, jnp.integer) and batch.inputs.ndim == 2
    wanted = wanted[: 2 if tokens else 3]
    expect(batch.inputs.shape == wanted, kind, name,
           f"gave inputs of shape {list(batch.inputs.shape)} for {SIZE} sequences, where "
           f"{'[T, B]' if tokens else '[T, B, D]'} = {list(wanted)} is needed")  # fmt: skip
    expect(tokens or jnp.issubdtype(batch.inputs.dtype, jnp.floating), kind, name,
           f"gave inputs of type {batch.inputs.dtype}, where floating-point numbers are needed, or tokens [T, B] as "
           "integers")  # fmt: skip
    shapes = {"lengths": ((SIZE,), jnp.integer, "integers [B]"), "mask": (targets, jnp.bool, "booleans [N, B]"),
              "resets": (wanted[:2], jnp.bool, "booleans [T, B]")}  # fmt: skip
    for part, (shape, dtype, told) in shapes.items():
        found = getattr(batch, part, None)
        right = found is None or (found.shape == shape and jnp.issubdtype(found.dtype, dtype))
        got = "" if right else f"{found.dtype}{list(found.shape)}"
        expect(right, kind, name, f"gave {part} {got} for {SIZE} sequences, where {told} = {list(shape)} are needed")
    expect(batch.targets.shape[:2] == (task.answers, SIZE), kind, name,
           f"gave targets of shape {list(batch.targets.shape)} for {SIZE} sequences, where [N, B, ...] = "
           f"{[task.answers, SIZE]} and any width is needed")  # fmt: skip


def _check_losses(task: Task) -> None:
    kind = type(task)
    batch = jax.eval_shape(lambda key: task.sample(key, SIZE), jax.random.key(0))
    outputs = jax.ShapeDtypeStruct((task.answers, SIZE, task.out_features), jnp.float32)
    for name in ("losses", "right"):
        found = jax.eval_shape(getattr(task, name), outputs, batch)
        expect(hasattr(found, "shape"), kind, name,
               f"gave {type(found).__name__}, where an array [B] is needed" + forgotten(found))  # fmt: skip
        expect(found.shape == (SIZE,), kind, name,
               f"gave shape {list(found.shape)} for {SIZE} sequences, where one number a sequence, [B] = [{SIZE}], "
               "is needed: the mean over the batch is rnnlab's")  # fmt: skip
    metrics = jax.eval_shape(task.metrics, outputs, batch)
    got = type(metrics).__name__
    expect(isinstance(metrics, dict), kind, "metrics", f"gave {got}, where a dict is needed" + forgotten(metrics))
    unread = _unread((task.losses, task.right, task.metrics), outputs, batch)
    expect(not unread, kind, "losses", f"does not read batch.{', batch.'.join(unread)}")
    lacking = [name for name in ("loss", "accuracy") if name not in metrics]
    expect(not lacking, kind, "metrics", f"gave no {' and no '.join(lacking)}, which the curves and stop rule read")
    if not task.has_stop_rule:
        return
    solved = jax.eval_shape(task.solved, metrics)
    expect(hasattr(solved, "shape"), kind, "solved", f"gave {type(solved).__name__}, where True or False is needed"
           + forgotten(solved))  # fmt: skip
    expect(solved.shape == (), kind, "solved", f"gave shape {list(solved.shape)}, where one True or False is needed")


def _check_values(task: Task, warn: Callable[[str], None]) -> None:
    """What only numbers tell, all from one compiled program."""
    kind = type(task)

    @quickly_compiled
    def run(key):
        batch = task.sample(key, SIZE)
        outputs = jax.random.normal(jax.random.fold_in(key, 1), (task.answers, SIZE, task.out_features), jnp.float32)
        gradient = jax.grad(lambda outputs: jnp.sum(task.losses(outputs, batch)))(outputs)
        found = {}
        for name in ("losses", "right"):
            function = getattr(task, name)
            found[name] = function(outputs, batch), _one_by_one(function, outputs, batch)
        return batch, gradient, found

    (one, gradient, found), (other, second, _) = jax.device_get((run(jax.random.key(0)), run(jax.random.key(1))))
    alike = all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other)))
    if alike:
        warn(f"{where(kind, 'sample')}: gave the same batch for two keys: unless that is meant, draw it from the key")
    shapes = f"do outputs {list(gradient.shape)} and targets {list(one.targets.shape)} broadcast against each other"
    asked = shapes if one.targets.shape != gradient.shape else "does it read other sequences"
    for name, (whole, alone) in found.items():
        expect(np.allclose(whole, alone, rtol=1e-3, atol=1e-5, equal_nan=True), kind, name,
               f"gave {short(whole)} for {SIZE} sequences together and {short(alone)} for each alone: "
               f"{asked}?")  # fmt: skip
    _check_presence(task, one, gradient)
    right = found["right"][0]
    expect(
        np.all((right >= 0) & (right <= 1)), kind, "right", f"gave {short(right)}, where fractions 0 to 1 are needed"
    )
    expect(
        np.any(gradient != 0) or np.any(second != 0),
        kind,
        "losses",
        "has no gradient with respect to outputs: nothing is learned",
    )


def _check_presence(task: Task, batch: Batch, gradient: np.ndarray) -> None:
    kind, lengths, mask = type(task), getattr(batch, "lengths", None), getattr(batch, "mask", None)
    if lengths is not None:
        most = f"where 1 to T = {task.length} are needed"
        expect(np.all((lengths >= 1) & (lengths <= task.length)), kind, "sample", f"gave lengths {lengths}, {most}")
    if mask is not None:
        expect(mask.any(axis=0).all(), kind, "sample", "gave a sequence of which batch.mask leaves out every answer")
        moved = np.any(np.moveaxis(gradient, 2, -1) != 0, axis=-1) & ~mask
        expect(not moved.any(), kind, "losses", "has a gradient at answers that batch.mask leaves out: see "
               "rnnlab.tasks.base.mean_over_answers")  # fmt: skip


def _one_by_one(function, outputs: Array, batch: Batch) -> Array:
    """The function of each sequence by itself, [B]."""
    axes = jax.tree.map(lambda x: min(x.ndim - 1, 1), (outputs, batch))  # one number a sequence is [B]

    def alone(row):
        return function(*jax.tree.map(lambda x, axis: jnp.expand_dims(x, axis), row, axes))[0]

    return jax.vmap(alone, in_axes=(axes,))((outputs, batch))


def _unread(functions: Sequence[Callable[..., Any]], outputs: jax.ShapeDtypeStruct, batch: Batch) -> list[str]:
    """The parts of a batch besides its inputs that nothing of these depends on, targets that the first does not."""
    fields = [name for name, part in zip(batch._fields, batch, strict=True) for _ in jax.tree.leaves(part)]
    read: list[set[str]] = []
    for function in functions:
        jaxpr = jax.make_jaxpr(function)(outputs, batch).jaxpr
        used = {id(var) for eqn in jaxpr.eqns for var in eqn.invars} | {id(var) for var in jaxpr.outvars}
        read.append({name for name, var in zip(fields, jaxpr.invars[1:], strict=True) if id(var) in used})
    everything = set().union(*read) - {"targets"} | (read[0] & {"targets"}) | {"inputs", "lengths", "resets"}
    return [name for name in dict.fromkeys(fields) if name not in everything]
