"""What a trial is: its cell, task and training, and the model and random streams that follow from its seed."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any, Literal

import chz
import jax
import optax
from flax import nnx
from jaxtyping import Array

from rnnlab.cells import LSTM, CellSpec
from rnnlab.model import Dropout, EncoderDecoder, SequenceModel
from rnnlab.model.dropout import check_noise
from rnnlab.probes.training.flossing import flosser
from rnnlab.specs.fields import field
from rnnlab.tasks import Adding, Task
from rnnlab.training import optimisers
from rnnlab.training.truncated import check_truncation

# One key, one purpose: the streams that are folded into a trial's seed.
WEIGHTS, BATCHES, HELD_OUT, PROBES, FLOSSING, GUESSES, NOISE = range(7)
NUMBERS = ("learning_rate", "clip_norm", "weight_decay")
ELSEWHERE = {"rmsprop": ("decay",), "sgd": ("momentum",)}  # options of an optimiser that are fields of TrainSpec


@chz.chz
class TrainSpec:
    """How a trial is trained."""

    steps: int = field(2000, "updates at most", low=0)
    batch_size: int = field(32, "sequences an update", low=1)
    optimizer: str = chz.field(default="adam", doc="optax's optimiser of this name: adam, adamw, lion, sgd, ...")
    options: str = chz.field(default="", doc="of that optimiser, as in b1=.9,b2=.95; left out, optax's own")
    weight_decay: float | None = field(
        None, "of matrices alone, times the learning rate; None: the optimiser's own (adamw: 1e-4)", low=0
    )
    learning_rate: float = field(1e-3, "peak learning rate", above=0)
    schedule: Literal["constant", "cosine"] = chz.field(default="constant", doc="learning rate after the warm-up")
    warmup: int = field(0, "updates of linear warm-up", low=0)
    decay: float = field(0.9, "rmsprop: decay of the squared-gradient average", low=0, high=1)
    momentum: float = field(0.0, "sgd: momentum", low=0, high=1)
    clip_norm: float | None = field(1.0, "clip the gradient's global norm to this; None: no clipping", above=0)
    truncation: int | None = field(
        None, "truncated BPTT: an update each so many steps, the carry handed on; None: one a sequence", low=1
    )
    omega: float = field(0.0, "weight of the regulariser of Pascanu, Mikolov & Bengio 2013, eq. 9; theirs is 4", low=0)
    floss: int = field(0, "updates of gradient flossing (Engelken 2023) before training, with Adam at 1e-3", low=0)
    floss_k: int = field(16, "flossing: leading Lyapunov exponents pushed towards 0", low=1)
    window: int = field(50, "updates a dispatch; metrics and held-out evaluation come once a window", low=1)
    eval_size: int = field(256, "held-out sequences an evaluation", low=1)
    bound: float | None = field(None, "a loss or gradient norm above it ends a trial as diverged; None: inf", above=0)
    streak: int | None = field(
        None,
        "the stop rule is so many latest training sequences right in a row; None: the task's, on held-out ones",
        low=1,
    )
    stop_when_solved: bool = chz.field(default=True, doc="end a trial when it meets its task's stop rule")
    patience: int | None = field(None, "windows without a lower held-out loss that end a trial; None: no end", low=1)
    keep: Literal["last", "best"] = chz.field(
        default="last", doc="the network that is measured at the end: the last, or that of the lowest held-out loss"
    )
    checkpoint_seconds: float = field(20.0, "seconds between checkpoints, at least", low=0)

    def numbers(self) -> dict[str, float]:
        """The settings that a compiled program takes as inputs: trials that differ in them alone share it."""
        return {name: getattr(self, name) for name in NUMBERS if getattr(self, name) is not None}

    def without_numbers(self) -> TrainSpec:
        """The training with its `numbers` set to 1: what its program is compiled for."""
        return chz.replace(self, **dict.fromkeys(self.numbers(), 1.0))

    def optimiser(self, learning_rate: Any, weight_decay: Any = None) -> optax.GradientTransformation:
        """optax's optimiser under its schedule, whose peak may be an input of a program that many trials share."""
        after = optax.constant_schedule(1.0)
        if self.schedule == "cosine":
            after = optax.cosine_decay_schedule(1.0, max(self.steps - self.warmup, 1))
        shape = after
        if self.warmup:
            shape = optax.join_schedules([optax.linear_schedule(0.0, 1.0, self.warmup), after], [self.warmup])
        own = {"rmsprop": {"decay": self.decay}, "sgd": {"momentum": self.momentum or None}}.get(self.optimizer, {})
        options = own | optimisers.parse_options(self.optimizer, self.options, own)
        return optimisers.build(self.optimizer, options, lambda step: learning_rate * shape(step), weight_decay)

    @chz.validate
    def _optimiser_exists(self):
        own = ELSEWHERE.get(self.optimizer, ())
        optimisers.check(self.optimizer, self.options, own)
        for name, usual in (("decay", 0.9), ("momentum", 0.0)):
            if name not in own and (given := getattr(self, name)) != usual:
                only = next(other for other, names in ELSEWHERE.items() if name in names)
                raise ValueError(f"{name}={given}: is of train.optimizer={only}, and {self.optimizer} is chosen; "
                                 f"options of an optimiser are written train.options={name}={given}")  # fmt: skip


@chz.chz
class TrialSpec:
    """One trial but for its seed: what is trained, on what, and how."""

    cell: CellSpec = chz.field(default_factory=LSTM, blueprint_unspecified=LSTM, doc="the recurrent cell")
    layers: int = field(1, "cells stacked over one another", low=1)
    embedding: int | None = field(
        None, "width of a table of tokens' rows (numbers: their product with it); None: none", low=1
    )
    bidirectional: bool = chz.field(default=False, doc="a second cell a layer reads time backwards")
    residual: bool = chz.field(default=False, doc="each layer but the first adds what it reads to its output")
    layer_norm: bool = chz.field(default=False, doc="layer norm of what a layer, and the readout, reads from below")
    attention: Literal["none", "additive", "dot"] = chz.field(
        default="none", doc="of a decoder to its source: additive (Bahdanau et al. 2015) or dot (Luong et al. 2015)"
    )
    reverse_source: bool = chz.field(
        default=False, doc="an encoder reads its source from the end (Sutskever, Vinyals & Le 2014, section 3.3)"
    )
    dropout: Dropout = chz.field(default_factory=Dropout, blueprint_unspecified=Dropout, doc="noise in training")
    task: Task = chz.field(default_factory=Adding, blueprint_unspecified=Adding, doc="the task")
    train: TrainSpec = chz.field(default_factory=TrainSpec, blueprint_unspecified=TrainSpec, doc="how it is trained")

    @chz.validate
    def _truncation_fits(self):
        others = {"bidirectional": self.bidirectional}
        others |= {f"train.{name}": getattr(self.train, name) for name in ("omega", "streak")}
        check_truncation(self.task, self.train.truncation, others)

    @chz.validate
    def _noise_fits(self):
        if self.dropout.any():
            cell = jax.eval_shape(lambda: self.cell.build(self.task.in_features, rngs=nnx.Rngs(0)))
            check_noise(self.dropout, cell, type(self.cell).__name__)

    @chz.validate
    def _source_fits(self):
        name = type(self.task).__name__
        if self.task.source_steps is None:
            if self.attention != "none" or self.reverse_source:
                given = "reverse_source=True" if self.attention == "none" else f"attention={self.attention}"
                raise ValueError(f"{given}: {name} has no source that an encoder reads; Translation has")
            return
        for path in ("truncation", "omega", "floss"):
            if given := getattr(self.train, path):
                raise ValueError(f"train.{path}={given}: not with {name}, which an encoder and a decoder learn")
        if self.attention == "additive" and self.dropout.any():
            raise ValueError(f"attention=additive: not with dropout; attention=dot takes it, {self.dropout} is given")

    @chz.validate
    def _flossing_fits(self):
        for name in ("embedding", "bidirectional") if self.train.floss else ():
            if getattr(self, name):
                raise ValueError(f"train.floss={self.train.floss}: not with {name}={getattr(self, name)}")
        if self.train.floss and self.train.floss_k > self.cell.features:
            raise ValueError(f"floss_k={self.train.floss_k}: at most cell.features = {self.cell.features}")

    @property
    def layer_bytes(self) -> int:
        """Of the weights of its largest layer's cell."""
        inputs = self.embedding or self.task.in_features
        inputs = max(inputs, self.cell.features) if self.layers > 1 else inputs
        cell = jax.eval_shape(lambda: self.cell.build(inputs, rngs=nnx.Rngs(0)))
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(cell))

    def build(self, seed: int) -> SequenceModel:
        """The model that this seed draws; with `train.floss` its first layer is flossed on the task's own inputs."""
        rngs = nnx.Rngs(params=stream(seed, WEIGHTS))
        task, train = self.task, self.train
        names = ("layers", "embedding", "bidirectional", "residual", "layer_norm", "dropout")
        chosen = {name: getattr(self, name) for name in names}
        if task.source_steps is None:
            kind = SequenceModel
        else:
            kind, chosen = EncoderDecoder, chosen | {"source_steps": task.source_steps}
            chosen |= {"attention": self.attention, "reverse_source": self.reverse_source}
        model = kind(self.cell, task.in_features, task.out_features, rngs=rngs, **chosen)
        if train.floss:
            model.cells[0] = _flosser(task, train)(model.cells[0], stream(seed, FLOSSING))
        return model


@functools.cache
def _flosser(task: Task, train: TrainSpec):
    """Compiled once for all seeds."""
    return flosser(lambda key: task.sample(key, train.batch_size).inputs, steps=train.floss, k=train.floss_k)


def needs_float64(spec: TrialSpec) -> bool:
    """Whether its cell has a part in float64, which JAX replaces by float32 where it is not enabled."""
    return "float64" in (spec.cell.dtype, spec.cell.param_dtype)


@contextlib.contextmanager
def precision_of(spec: TrialSpec) -> Iterator[None]:
    """Within, float64 is enabled where this trial needs it and only there, in this thread and those of `background`.

    With it enabled a draw without a dtype is another one: so a trial is the same beside whatever other trials.
    """
    with jax.enable_x64(needs_float64(spec)):
        yield


def stream(seed: int | Array, purpose: int) -> Array:
    """The key of one purpose in the trial of this seed."""
    return jax.random.fold_in(jax.random.key(seed), purpose)
