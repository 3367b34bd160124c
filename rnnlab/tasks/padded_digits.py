"""Handwritten digits, pixel by pixel, then noise: long memory on real input."""

from __future__ import annotations

import functools
import math

import chz
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rnnlab.data.card import DataCard, digest
from rnnlab.specs.fields import field
from rnnlab.tasks.base import Batch, Task, cross_entropy

PIXELS = 64
TRAIN = 1437  # of 1,797; the other 360 are held out


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """(pixels [1797, 64] of mean 0 and variance 1, classes [1797]) in a fixed order, the last 360 held out.

    UCI's optical recognition of handwritten digits (Alpaydin & Kaynak 1998), as scikit-learn ships it. The
    scaling is that of the training part alone.
    """
    from sklearn.datasets import load_digits  # here: scikit-learn takes a second to import

    pixels, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(pixels))
    pixels, classes = pixels[order], classes[order]
    train = pixels[:TRAIN]
    return ((pixels - train.mean()) / train.std()).astype(np.float32), classes.astype(np.int32)


@chz.chz
class PaddedDigits(Task):
    """Name a handwritten digit whose 64 pixels were read one a step, after noise up to step T.

    The lag to bridge is T - 64 at least. The noise is normal, of the pixels' own mean and, at 1, variance.
    """

    length: int = field(128, "sequence length T in steps: 64 pixels, then noise", low=PIXELS)
    noise: float = field(1.0, "standard deviation of the noise, in units of the pixels'", low=0)
    solved_at: float = field(0.9, "held-out accuracy that counts as learned (chance: .1)", low=0, high=1)

    @property
    def in_features(self) -> int:
        return 1

    @property
    def out_features(self) -> int:
        return 10

    @property
    def needed_lag(self) -> int:
        """From the last pixel."""
        return self.length - PIXELS

    @property
    def chance(self) -> float:
        """ln 10: the classes are balanced to within 1 %."""
        return math.log(10)

    @property
    def card(self) -> DataCard:
        pixels, classes = digits()
        held = len(pixels) - TRAIN
        return DataCard(
            name="handwritten digits, 8x8",
            source="Alpaydin & Kaynak 1998, UCI; scikit-learn's load_digits",
            licence="CC BY 4.0",
            rows=len(pixels),
            parts={"training": f"{TRAIN:,} of a fixed random order", "held out": f"the other {held}"},
            sha256=digest(pixels.tobytes() + classes.tobytes()),
        )

    @property
    def solved_accuracy(self) -> float:
        return self.solved_at

    def sample(self, key: Array, batch_size: int) -> Batch:
        return self._draw(key, batch_size, 0, TRAIN)

    def held_out(self, key: Array, batch_size: int) -> Batch:
        """`batch_size` of the 360 held-out digits, each at most once while they last."""
        choice_key, noise_key = jax.random.split(key)
        held = len(digits()[0]) - TRAIN
        which = TRAIN + jax.random.permutation(choice_key, held)[jnp.arange(batch_size) % held]
        return self._padded(noise_key, which)

    def _draw(self, key, batch_size, start, stop):
        choice_key, noise_key = jax.random.split(key)
        return self._padded(noise_key, jax.random.randint(choice_key, (batch_size,), start, stop, jnp.int32))

    def _padded(self, key, which):
        pixels, classes = (jnp.asarray(a) for a in digits())
        noise = self.noise * jax.random.normal(key, (self.length - PIXELS, len(which)), pixels.dtype)
        return Batch(jnp.concatenate([pixels[which].T, noise])[..., None], classes[which][None])

    def losses(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        return jnp.mean(cross_entropy(outputs, batch.targets), axis=0)

    def right(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        return jnp.mean((jnp.argmax(outputs, -1) == batch.targets).astype(outputs.dtype), axis=0)
