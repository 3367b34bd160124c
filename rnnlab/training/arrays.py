"""A user's own arrays as a task: inputs of the compiled program, gone through in epochs."""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable

import chz
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from rnnlab.model.layer import has_answers
from rnnlab.tasks.base import Batch, Task, cross_entropy, mean_over_answers
from rnnlab.training.layout import Layout, map_trials_on, on_every_device
from rnnlab.training.shuffle import shuffled
from rnnlab.training.spec import TrainSpec, TrialSpec
from rnnlab.training.state import TrainState
from rnnlab.training.updates import Program, window


@chz.chz
class Arrays(Task):
    """Sequences of a user's own, a part of them held out; each is seen once an epoch, in an order of its own.

    Classes (integers) have the cross-entropy as their loss, numbers the squared error, of a sequence the mean over its
    answers. Two such tasks are equal where they are the same object: no array is compared.
    """

    training: Batch = chz.field(
        doc="inputs [T, B, D], or tokens [T, B]; targets [N, B, K], or classes [N, B], 0 where there is none; lengths"
    )
    validation: Batch = chz.field(doc="the same of the sequences that are held out")
    width: int = chz.field(doc="D, or how many tokens there are")
    outputs: int = chz.field(doc="K, numbers a step or classes")
    classes: bool = chz.field(doc="whether targets are classes")

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        sizes = f"{self.training.inputs.shape[1]} sequences, {self.validation.inputs.shape[1]} held out"
        return (
            f"Arrays({sizes}, T = {self.length}, D = {self.width}, {'classes' * self.classes or 'K'} = {self.outputs})"
        )

    @property
    def in_features(self) -> int:
        return self.width

    @property
    def out_features(self) -> int:
        return self.outputs

    @property
    def answers(self) -> int:
        return self.training.targets.shape[0]

    @property
    def chance(self) -> float:
        """The loss of the best answer at each step that reads no input, on the training sequences."""
        targets, mask = np.asarray(self.training.targets), _counted(self.training, self.length).mask
        mask = np.ones(targets.shape[:2]) if mask is None else np.asarray(mask, float)
        total = 0.0
        for answers, weight in zip(targets, mask / np.maximum(mask.sum(axis=0), 1) / mask.shape[1], strict=True):
            if not weight.any():
                continue
            if self.classes:
                share = np.bincount(answers, weight, self.outputs)
                total -= sum(part * math.log(part / weight.sum()) for part in share if part)
            else:
                center = np.average(answers, axis=0, weights=weight)
                total += float(weight @ np.mean((answers - center) ** 2, axis=-1))
        return total

    def sample(self, key: Array, batch_size: int) -> Batch:
        which = jax.random.randint(key, (batch_size,), 0, self.training.inputs.shape[1], jnp.int32)
        return _counted(_taken(self.training, which), self.length)

    def training_batch(self, key: Array, step: Array | int, batch_size: int) -> Batch:
        size = self.training.inputs.shape[1]
        at = jnp.asarray(step, jnp.uint32) * batch_size + jnp.arange(batch_size, dtype=jnp.uint32)
        epochs = jax.vmap(functools.partial(jax.random.fold_in, key))(at // size)
        return _counted(_taken(self.training, shuffled(epochs, at % size, size)), self.length)

    def held_out(self, key: Array, batch_size: int) -> Batch:
        """The first of the held-out sequences, always the same."""
        del key
        which = jnp.arange(batch_size) % self.validation.inputs.shape[1]
        return _counted(_taken(self.validation, which), self.length)

    def losses(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        if self.classes:
            return mean_over_answers(cross_entropy(outputs, batch.targets), batch)
        return mean_over_answers(jnp.mean(jnp.square(outputs - batch.targets), axis=-1), batch)

    def right(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        if not self.classes:
            raise TypeError("an answer that is a number is neither right nor wrong")
        return mean_over_answers((jnp.argmax(outputs, -1) == batch.targets).astype(outputs.dtype), batch)

    def metrics(self, outputs: Float[Array, "N B K"], batch: Batch) -> dict[str, Array]:
        if self.classes:
            return super().metrics(outputs, batch)
        error = mean_over_answers(jnp.mean(jnp.abs(outputs - batch.targets), axis=-1), batch)
        return {"loss": jnp.mean(self.losses(outputs, batch)), "absolute_error": jnp.mean(error)}

    @property
    def has_stop_rule(self) -> bool:
        """None but `train.patience`."""
        return False


def _taken(batch: Batch, which: Array) -> Batch:
    """Some of the sequences."""
    return jax.tree.map(lambda x: jnp.take(jnp.asarray(x), which, axis=min(x.ndim - 1, 1), mode="clip"), batch)


def _counted(batch: Batch, length: int) -> Batch:
    """The batch with its mask: of sequences of unequal length the answers that there are."""
    if batch.lengths is None:
        return batch
    return batch._replace(mask=has_answers(jnp.asarray(batch.lengths), batch.targets.shape[0], length))


def windows_on(task: Arrays, train: TrainSpec, first: TrainState, where: Layout) -> Program:
    """`compile_windows` for a trial with this first state: the arrays are inputs of the program and no constants of
    it, so that others of their shapes share it."""
    data = (task.training, task.validation)
    outline = (task.length, task.width, task.outputs, task.classes)
    shapes = (_shapes(data, ()), _shapes(first, (where.trials_at_once,)))
    program = _compiled(outline, chz.replace(train.without_numbers(), floss=0), shapes, where)
    return functools.partial(program, on_every_device(data, where))


def _shapes(tree: PyTree, leading: tuple[int, ...]) -> Hashable:
    leaves, treedef = jax.tree.flatten(tree)
    return treedef, tuple(((*leading, *np.shape(leaf)), leaf.dtype) for leaf in leaves)


@functools.cache
def _compiled(outline: tuple[int, int, int, bool], train: TrainSpec, shapes: Hashable, where: Layout):
    length, width, outputs, classes = outline

    def run(data, state):
        training, validation = data
        task = Arrays(
            length=length, training=training, validation=validation, width=width, outputs=outputs, classes=classes
        )
        return window(TrialSpec(task=task, train=train), state)

    given = [treedef.unflatten([jax.ShapeDtypeStruct(*leaf) for leaf in leaves]) for treedef, leaves in shapes]
    return map_trials_on(run, where).lower(*given).compile()
