"""The adding problem."""

from __future__ import annotations

import chz
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rnnlab.specs.fields import field
from rnnlab.tasks.base import Batch, Task, positions, windows_at


@chz.chz
class Adding(Task):
    """Add the two marked numbers of a sequence of T.

    Inputs: (value in U[0, 1], marker). One marker lies in the first half, one in the second; the answer,
    asked at the last step, is the sum of the two values; loss is the squared error. Hochreiter & Schmidhuber
    1997, experiment 4, in the form of Arjovsky, Shah & Bengio 2016, section 5.2.
    """

    markers: tuple[float, ...] = chz.field(
        default=(0.0, 0.5, 0.5, 1.0), doc="where the two markers may lie: start, stop, start, stop as fractions of T"
    )
    shortest: int | None = field(None, "lengths are drawn evenly from here to T; None: all have T", low=2)
    tolerance: float = field(0.08, "an answer is right within this; H&S 1997's .04, on a target range of 2", above=0)

    @chz.validate
    def _markers_fit(self):
        if len(self.markers) != 4:
            raise ValueError(f"markers={self.markers}: two windows, so four fractions")
        if self.shortest is not None and self.shortest > self.length:
            raise ValueError(f"shortest={self.shortest}: must be at most the length T = {self.length}")
        windows_at(self.markers, self.shortest or self.length, "markers")

    @property
    def in_features(self) -> int:
        return 2

    @property
    def out_features(self) -> int:
        return 1

    @property
    def needed_lag(self) -> int:
        """From the last position that the first marker may have, in the shortest sequence."""
        shortest = self.shortest or self.length
        return shortest - windows_at(self.markers, shortest, "markers")[0][1]

    @property
    def chance(self) -> float:
        """1/6, the variance of the sum of two U[0, 1]: what answering 1 gives (Arjovsky et al. 2016: .167)."""
        return 1 / 6

    def sample(self, key: Array, batch_size: int) -> Batch:
        value_key, *marker_keys = jax.random.split(key, 3)
        values = jax.random.uniform(value_key, (self.length, batch_size), jnp.float32)
        windows, lengths = windows_at(self.markers, self.length, "markers"), None
        if self.shortest is not None:
            drawn = (jax.random.fold_in(key, 3), (batch_size,), self.shortest, self.length + 1, jnp.int32)
            lengths = jax.random.randint(*drawn)
            every = [windows_at(self.markers, length, "markers") for length in range(self.shortest, self.length + 1)]
            windows = jnp.moveaxis(jnp.asarray(every, jnp.int32)[lengths - self.shortest], 0, -1)  # [2, 2, B]
        at = [positions(k, window, batch_size) for k, window in zip(marker_keys, windows, strict=True)]
        marked = sum(jax.nn.one_hot(p, self.length, axis=0, dtype=values.dtype) for p in at)
        target = jnp.sum(values * marked, axis=0)
        return Batch(jnp.stack([values, marked], axis=-1), target[None, :, None], lengths)

    def losses(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        return jnp.mean(jnp.square(outputs - batch.targets), axis=(0, 2))

    def right(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        return jnp.mean((jnp.abs(outputs - batch.targets) < self.tolerance).astype(outputs.dtype), axis=(0, 2))
