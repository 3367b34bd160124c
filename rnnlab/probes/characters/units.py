"""Units that tell what they stand for: within quotation marks, within brackets, position in the line, or periodic.

Karpathy, Johnson & Fei-Fei 2015, Visualizing and understanding recurrent networks, section 4.2: some cells of an LSTM
that reads text keep track of quotes, brackets or line length. There they were picked by eye, here by a measure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rnnlab.data.annotations import annotations
from rnnlab.model import SequenceModel
from rnnlab.tasks.text import Text

ROWS, LENGTH, BEFORE = 16, 1000, 100  # stretches of the test part, their characters, and those read before measuring
PASSAGE = 700  # characters that are shown
LAGS = 100  # characters: the longest period
PERIODIC = "periodic"


@dataclasses.dataclass(frozen=True)
class Units:
    """The unit that fits each annotation of the text best, by the correlation of tanh(c), and the most periodic one.

    A cell without c is measured by h. Of each NAME: `NAME` the correlation, with its sign (`periodic`: see
    `periodicity`), `NAME unit` its number, `NAME values` 100 times its activation over a passage of the test part,
    whose code points are `passage`.
    """

    task: Text

    def __call__(self, model: SequenceModel, inputs: Array, losses: Callable, answers: int) -> Mapping[str, Array]:
        text = self.task.text
        length = min(LENGTH, len(text.test))
        starts = np.linspace(0, len(text.test) - length, ROWS).round().astype(int)
        at = starts + np.arange(length)[:, None]  # [T, B]
        named = {name: of[at] for name, of in annotations(text.decode(text.test)).items()}
        row = int(np.argmax(np.abs(np.diff(named["quotes"] + named["brackets"], axis=0)).sum(axis=0)))
        layer = jax.tree.leaves(model.names()[-1])
        first = layer[0]
        inner = model.intermediates(jnp.asarray(text.test[at]).astype(jnp.int32))[first]
        activations = (jnp.tanh(inner) if first.endswith("/c") else inner).astype(jnp.float32)
        skip = min(BEFORE, length // 2)
        measured = {name: correlation(activations[skip:], jnp.asarray(of[skip:])) for name, of in named.items()}
        measured[PERIODIC] = periodicity(activations[skip:], min(LAGS, (length - skip) // 4))
        shown = slice(skip, skip + PASSAGE)
        points = np.array([ord(character) for character in text.decode(text.test[at[shown, row]])])
        found = {"passage": jnp.asarray(points)}
        for name, of in measured.items():
            unit = jnp.argmax(jnp.abs(of))
            found |= {name: of[unit], f"{name} unit": unit}
            found[f"{name} values"] = jnp.round(100 * activations[shown, row, unit])
        return found


def correlation(activations: Float[Array, "T B H"], of: Float[Array, "T B"]) -> Float[Array, " H"]:
    """Pearson's correlation of each unit with one number a step, over all steps; 0 where either does not vary."""
    x, y = activations - jnp.mean(activations, axis=(0, 1)), (of - jnp.mean(of))[..., None]
    scale = jnp.sqrt(jnp.sum(x**2, axis=(0, 1)) * jnp.sum(y**2))
    varies = scale > 1e-6 * y.size
    return jnp.where(varies, jnp.sum(x * y, axis=(0, 1)) / jnp.where(varies, scale, 1), 0).astype(activations.dtype)


def periodicity(activations: Float[Array, "T B H"], longest: int) -> Float[Array, " H"]:
    """The highest that the autocorrelation of each unit rises again after a fall, within `longest` lags: 0 to 2.

    A slow unit's autocorrelation falls and stays low, 0; that of one that repeats every k steps comes back at lag k: a
    sine's from -1 to 1.
    """
    x = activations - jnp.mean(activations, axis=0)
    power = jnp.abs(jnp.fft.rfft(x, n=2 * len(x), axis=0)) ** 2  # padded: nothing wraps around
    sums = jnp.sum(jnp.fft.irfft(power, axis=0)[: longest + 1], axis=1)
    unbiased = sums / (len(x) - jnp.arange(longest + 1))[:, None]
    varies = unbiased[0] > 1e-6
    rho = jnp.where(varies, unbiased / jnp.where(varies, unbiased[0], 1), 0)
    return jnp.max(rho - jax.lax.cummin(rho, axis=0), axis=0).astype(activations.dtype)
