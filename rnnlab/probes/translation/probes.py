"""A translation network's own probes: what it writes, what reaches its source, and what it attends to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from rnnlab.data.pairs import PADDING, Sentences
from rnnlab.model import EncoderDecoder
from rnnlab.probes.gradients.extended_range import LogNorm
from rnnlab.probes.translation.search import beam, greedy
from rnnlab.tasks.translation import Translation, batch_of
from rnnlab.translation.baselines import SHOWN, TESTED

WIDTH = 4  # hypotheses of the beam


def tested(task: Translation, count: int = TESTED) -> Sentences:
    """The first sentences of the test part."""
    return Sentences(*(side[:count] for side in task.data.parts["test"]))


@dataclasses.dataclass(frozen=True)
class Translations:
    """Of the test part's first sentences what greedy search and a beam write: numbers [M, N]."""

    task: Translation

    def __call__(self, model: EncoderDecoder, inputs: Array, losses: Callable, answers: int) -> Mapping[str, Array]:
        source = jnp.asarray(tested(self.task).source.T).astype(jnp.int32)
        found = {"greedy": greedy(model, source, answers), "beam": beam(model, source, answers, WIDTH)[0]}
        return {name: tokens.T for name, tokens in found.items()}


def source_gradient(model: EncoderDecoder, inputs: Array, losses: Callable, answers: int) -> Mapping[str, LogNorm]:
    """||dL/dh_j|| of the encoder's top h at each position j of a source over that at its last: by steps back from it.

    Of a bidirectional encoder that of the forward direction.
    """

    def total(taps):
        return jnp.sum(losses(model(inputs, answers=answers, taps=taps)))

    norms = jax.grad(total)(model.tap_zeros(*inputs.shape[:2]))
    top = norms[-1][0] if model.encoder.bidirectional else norms[-1]
    by_lag = jax.tree.leaves(top)[-1][::-1]
    written = jnp.sum(inputs[-answers:] != PADDING, axis=0)
    steps = len(inputs) - answers
    from_end = jnp.take_along_axis(by_lag, written + jnp.arange(steps)[:, None], axis=0, mode="fill", fill_value=0)
    last = from_end[:1]
    return {"h": LogNorm(*jnp.frexp(jnp.where(last > 0, from_end / jnp.where(last > 0, last, 1), 0)))}


@dataclasses.dataclass(frozen=True)
class Attention:
    """The weights [M, N, S] of some long sentences of the test part, their own target read; in thousandths.

    Of a model without attention it is not defined.
    """

    task: Translation

    def __call__(self, model: EncoderDecoder, inputs: Array, losses: Callable, answers: int) -> Mapping[str, Array]:
        source, target = (jnp.asarray(side[long_ones(self.task)].T).astype(jnp.int32) for side in tested(self.task))
        weights = model.attend(batch_of(source, target).inputs)
        return {"thousandths": jnp.round(1000 * jnp.moveaxis(weights, -1, 0))}


def long_ones(task: Translation) -> np.ndarray:
    """The tested sentences at which attention is shown."""
    return long_rows(np.sum(tested(task).source != PADDING, axis=1))


def long_rows(lengths: np.ndarray) -> np.ndarray:
    """Of the upper quarter of sentences by length the first."""
    return np.flatnonzero(lengths >= np.quantile(lengths, 0.75))[:SHOWN]
