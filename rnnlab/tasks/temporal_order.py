"""The temporal order problem."""

from __future__ import annotations

import math

import chz
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rnnlab.tasks.base import Batch, Task, cross_entropy, positions, windows_at


@chz.chz
class TemporalOrder(Task):
    """Say in which order the relevant symbols, A or B each, came among distractors.

    Two symbols, one in the second tenth of the sequence and one in the fifth tenth, make four classes,
    asked at the last step. Pascanu, Mikolov & Bengio 2013, section 4.1 (6 input symbols); Hochreiter &
    Schmidhuber 1997, experiment 6; with windows .1,.2,.33,.43,.66,.76 its experiment 6b, eight classes.
    """

    windows: tuple[float, ...] = chz.field(
        default=(0.1, 0.2, 0.4, 0.5), doc="where the symbols may lie: start, stop, start, stop, ... as fractions of T"
    )

    @chz.validate
    def _windows_fit(self):
        windows_at(self.windows, self.length, "windows")

    @property
    def in_features(self) -> int:
        """A, B and four distractors."""
        return 6

    @property
    def out_features(self) -> int:
        return 2 ** (len(self.windows) // 2)

    @property
    def needed_lag(self) -> int:
        """From the last position that the first symbol may have."""
        return self.length - windows_at(self.windows, self.length, "windows")[0][1]

    @property
    def chance(self) -> float:
        return math.log(self.out_features)

    def sample(self, key: Array, batch_size: int) -> Batch:
        windows = windows_at(self.windows, self.length, "windows")
        noise_key, *keys = jax.random.split(key, 1 + 2 * len(windows))
        symbols = jax.random.randint(noise_key, (self.length, batch_size), 2, 6, jnp.int32)
        answer = jnp.zeros((batch_size,), symbols.dtype)
        for window, position_key, symbol_key in zip(windows, keys[::2], keys[1::2], strict=True):
            which = jax.random.randint(symbol_key, (batch_size,), 0, 2, jnp.int32)
            symbols = symbols.at[positions(position_key, window, batch_size), jnp.arange(batch_size)].set(which)
            answer = 2 * answer + which
        return Batch(jax.nn.one_hot(symbols, self.in_features), answer[None])

    def losses(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        return jnp.mean(cross_entropy(outputs, batch.targets), axis=0)

    def right(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        return jnp.mean((jnp.argmax(outputs, -1) == batch.targets).astype(outputs.dtype), axis=0)
