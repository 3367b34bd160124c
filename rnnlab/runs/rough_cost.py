"""What a program will cost, roughly and within seconds: from steps of its first layer, the program not compiled."""

from __future__ import annotations

import statistics
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from rnnlab.runs import hosts
from rnnlab.runs.cost import Cost, timed
from rnnlab.scan.unroll import unroll
from rnnlab.settings.resolve import ArmSpec
from rnnlab.training.layout import Layout, local_batch, map_trials, stack
from rnnlab.training.updates import program_key, state_shapes

PATIENCE = 3.0  # seconds of timing after which no other layer is timed
TIMED = 10**9  # operations that are timed of each: milliseconds, beside which the call itself does not count
FORWARD = 1 / 3  # of an update: an evaluation of as many sequences
PROFILE = 2.0  # updates of as many sequences that a gradient-flow profile takes: 1.4 to 2.7 in docs/measured.md
ELEMENTWISE = 100  # products that a unit's own operations and its share of a step's overhead count as
COMPILING = 15  # times the layer's, for a program's training and probes: 8 to 30 by program, on an AMD EPYC
LEAST = 8.0  # seconds that they take whatever the layer: one that is compiled from C++ leaves XLA little
DRAWING = 0.3  # seconds that the weights of a trial take


class RoughCost:
    """The cost of programs one after another: a network's products an update, at the rate of its first layer.

    Layers are timed until PATIENCE is over; programs with others then count by the products of those before them.
    """

    def __init__(self):
        self.spent = 0.0  # seconds
        self.asked: set[Any] = set()
        self.known: dict[Any, tuple[float, float]] = {}  # of a layer: seconds to compile, seconds a product

    def __call__(self, spec: ArmSpec, own: tuple[Any, ...], where: Layout) -> Cost:
        batch = spec.train.batch_size // where.over_batch
        compiling, seconds = self._layer(spec, where, batch)
        update = batch * _work(spec) * seconds
        evaluation = update * FORWARD * spec.train.eval_size / spec.train.batch_size
        probe = update * PROFILE * where.over_batch * max(1.0, spec.flow.examples / spec.train.batch_size)
        return Cost(max(COMPILING * compiling, LEAST), update, evaluation, probe, len(own) * probe, DRAWING)

    def _layer(self, spec: ArmSpec, where: Layout, batch: int) -> tuple[float, float]:
        width = spec.embedding or spec.task.in_features
        key = spec.cell, width, where, batch
        self.asked.add(key)
        if key not in self.known and (not self.known or hosts.agreed(self.spent) < PATIENCE):
            seconds, self.known[key] = timed(lambda: _timed_layer(spec, width, where, batch))
            self.spent += seconds
        if key in self.known:
            return self.known[key]
        return tuple(map(statistics.fmean, zip(*self.known.values(), strict=True)))


def _work(spec: ArmSpec) -> int:
    """Products of a sequence's forward pass: with the layers' weights at each step, the readout's at each answer."""
    model = state_shapes(program_key(spec)).model
    cells = spec.layers * (2 if spec.bidirectional else 1) * (1 if spec.task.source_steps is None else 2)
    found = spec.task.length * cells * ELEMENTWISE * spec.cell.features
    for path, leaf in jax.tree_util.tree_leaves_with_path(model):
        name = jax.tree_util.keystr(path)
        if "embedding" not in name:
            found += leaf.size * (spec.task.answers if "readout" in name else spec.task.length)
    return found


def _timed_layer(spec: ArmSpec, width: int, where: Layout, batch: int) -> tuple[float, float]:
    """Seconds to compile the gradient of one layer, and seconds a product, of zeros, in the layout of the program."""
    cell = jax.eval_shape(lambda: spec.cell.build(width, rngs=nnx.Rngs(0)))
    cell = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), cell)
    size = ELEMENTWISE * spec.cell.features + sum(leaf.size for leaf in jax.tree.leaves(cell))
    steps = min(max(TIMED // (6 * batch * size), 16), 1024)

    def loss(cell):
        xs = local_batch(jnp.zeros((steps, batch * where.over_batch, width)), axis=1)
        return jnp.mean(unroll(cell, cell.initialize_carry(xs.shape[1:], nnx.Rngs(0)), xs)[1] ** 2)

    run, cells = map_trials(jax.grad(loss), where), stack([cell] * where.trials_at_once)
    first, later = (timed(lambda: jax.block_until_ready(run(cells)))[0] for _ in range(2))
    later = min(later, *(timed(lambda: jax.block_until_ready(run(cells)))[0] for _ in range(2)))
    return first - later, later / (steps * batch * size)
