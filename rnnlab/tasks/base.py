"""The base of every task: a frozen spec whose batches are a pure function of a key."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import chz
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rnnlab.data.card import DataCard
from rnnlab.specs.fields import field


class Batch(NamedTuple):
    """Sequences, and the targets at each one's own last N steps (N = 1: one answer at the end; N = T: every step)."""

    inputs: Num[Array, "T B *D"]  # numbers [T, B, D], or tokens [T, B] as integers below D
    targets: Num[Array, "N B *K"]
    lengths: Int[Array, " B"] | None = None  # steps of each sequence; None: all have T
    resets: Bool[Array, "T B"] | None = None  # where a new sequence begins within a row
    mask: Bool[Array, "N B"] | None = None  # which answers count; None: all


def steps_of(batch: Any) -> dict[str, Array]:
    """What a model is told of a batch besides its inputs: `lengths` and `resets`, where it has them."""
    given = {name: getattr(batch, name, None) for name in ("lengths", "resets")}
    return {name: value for name, value in given.items() if value is not None}


def mean_over_answers(values: Num[Array, "N B"], batch: Batch) -> Float[Array, " B"]:
    """The mean over those answers of each sequence that count; 0 where none does."""
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    if batch.mask is None:
        return jnp.mean(values, axis=0)
    counts = jnp.sum(batch.mask, axis=0)
    return jnp.sum(jnp.where(batch.mask, values, 0), axis=0) / jnp.maximum(counts, 1)


@chz.chz
class Task:
    """Sequences [T, B, D] with a known dependency, and a loss at the last `answers` steps."""

    length: int = field(200, "sequence length T, in steps", low=1)

    @property
    def in_features(self) -> int:
        """D."""
        raise TypeError(f"{type(self).__name__} is no task: choose one of its subclasses")

    @property
    def out_features(self) -> int:
        """K."""
        raise TypeError(f"{type(self).__name__} is no task: choose one of its subclasses")

    @property
    def answers(self) -> int:
        """N, the number of last steps at which outputs enter the loss."""
        return 1

    @property
    def source_steps(self) -> int | None:
        """Of pairs the steps that an encoder reads, the first, before a decoder's; None: one network reads all."""
        return None

    @property
    def needed_lag(self) -> int | None:
        """The shortest lag, in steps back from the last one, that every answer depends on; None: not known."""
        return None

    @property
    def files(self) -> tuple[str | Path, ...]:
        """The files that its batches are read from: where one changes, results are others."""
        return ()

    @property
    def card(self) -> DataCard | None:
        """What the report says of its data; None of data that is drawn."""
        return None

    def baselines(self) -> Mapping[str, Any]:
        """What is reached without a recurrent network, as JSON holds it; found once, when a run's trials have ended."""
        return {}

    @property
    def chance(self) -> float:
        """The loss of the source paper's baseline without memory of the input, against which curves are drawn."""
        raise TypeError(f"{type(self).__name__} is no task: choose one of its subclasses")

    def sample(self, key: Array, batch_size: int) -> Batch:
        """A training batch, the same for the same key."""
        raise TypeError(f"{type(self).__name__} is no task: choose one of its subclasses")

    def training_batch(self, key: Array, step: Array | int, batch_size: int) -> Batch:
        """The batch of an update, which `step` counts from 0: another draw each, where data is not gone through."""
        return self.sample(jax.random.fold_in(key, step), batch_size)

    def held_out(self, key: Array, batch_size: int) -> Batch:
        """A batch that training never sees: other draws, or the held-out part of real data."""
        return self.sample(key, batch_size)

    def losses(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        """The loss of each sequence."""
        raise TypeError(f"{type(self).__name__} is no task: choose one of its subclasses")

    def right(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        """The fraction of each sequence's answers that is right, 0 to 1."""
        raise TypeError(f"{type(self).__name__} is no task: choose one of its subclasses")

    def metrics(self, outputs: Float[Array, "N B K"], batch: Batch) -> dict[str, Any]:
        """Means over the batch."""
        return {"loss": jnp.mean(self.losses(outputs, batch)), "accuracy": jnp.mean(self.right(outputs, batch))}

    @property
    def has_stop_rule(self) -> bool:
        """Whether `solved` says when it is learned; of most real data nothing does."""
        return True

    def solved(self, metrics: dict[str, Any]) -> Any:
        """Whether held-out `metrics` meet the task's stop rule."""
        return metrics["accuracy"] >= self.solved_accuracy

    @property
    def solved_accuracy(self) -> float:
        """Pascanu, Mikolov & Bengio 2013, section 4.1: a run succeeds when less than 1 % of test sequences is wrong."""
        return 0.99


def cross_entropy(outputs: Float[Array, "N B K"], targets: Num[Array, "N B"]) -> Float[Array, "N B"]:
    """Cross-entropy at each step, in nats."""
    log_p = jax.nn.log_softmax(outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32)))
    return -jnp.take_along_axis(log_p, targets[..., None], axis=-1)[..., 0]


def positions(key: Array, window: Sequence[int] | Int[Array, "2 B"], batch_size: int) -> Num[Array, " B"]:
    """One step in [start, stop) for each sequence; start and stop may differ between sequences, [B]."""
    return jax.random.randint(key, (batch_size,), *window, jnp.int32)


def windows_at(fractions: tuple[float, ...], length: int, path: str) -> tuple[tuple[int, int], ...]:
    """Fractions (start, stop, start, stop, ...) of a sequence as steps [start, stop); each must hold a step."""
    if len(fractions) < 2 or len(fractions) % 2:
        raise ValueError(f"{path}={fractions}: must be pairs of start and stop")
    pairs = list(zip(fractions[::2], fractions[1::2], strict=True))
    if (
        any(a >= b for a, b in pairs)
        or list(fractions) != sorted(fractions)
        or not 0 <= fractions[0] < fractions[-1] <= 1
    ):
        raise ValueError(f"{path}={fractions}: must rise from 0 to 1, every stop above its start")

    def steps(length):
        return tuple((round(a * length), round(b * length)) for a, b in pairs)

    if any(stop <= start for start, stop in steps(length)):
        longest = math.ceil(1 / min(b - a for a, b in pairs)) + 1  # windows of a step and more hold one
        fits = next((n for n in range(length, longest) if all(b > a for a, b in steps(n))), longest)
        raise ValueError(
            f"length={length}: {path}={fractions} leaves a marker no step; the shortest that fits is {fits}"
        )
    return steps(length)
