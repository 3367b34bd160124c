"""The copying memory problem."""

from __future__ import annotations

import math

import chz
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rnnlab.specs.fields import field
from rnnlab.tasks.base import Batch, Task, cross_entropy


@chz.chz
class CopyMemory(Task):
    """Repeat, after a long silence, the symbols that opened the sequence.

    `symbols` random letters of an alphabet, blanks, a delimiter as many steps before the end as there are
    symbols, and then the symbols are asked in order; before that, blanks are. Loss: cross-entropy over all
    T steps. Hochreiter & Schmidhuber 1997, experiment 2, in the form of Arjovsky, Shah & Bengio 2016,
    section 5.1, whose T counts the blanks: its T = 100 is `length` 120 here, as 2 x 10 symbols come on top.
    """

    length: int = field(220, "sequence length in steps, symbols and answers counted in", low=3)
    symbols: int = field(10, "how many symbols are to be kept", low=1)
    alphabet: int = field(8, "how many different symbols there are", low=2)

    @chz.validate
    def _fits(self):
        if self.length <= 2 * self.symbols:
            shortest = 2 * self.symbols + 1
            raise ValueError(f"length={self.length}: {self.symbols} symbols and their answers need at least {shortest}")

    @property
    def in_features(self) -> int:
        return self.alphabet + 2

    @property
    def out_features(self) -> int:
        return self.alphabet + 1

    @property
    def answers(self) -> int:
        return self.length

    @property
    def chance(self) -> float:
        """symbols ln(alphabet) / T: blanks until the delimiter, then a guess (Arjovsky et al. 2016, section 5.1)."""
        return self.symbols * math.log(self.alphabet) / self.length

    def sample(self, key: Array, batch_size: int) -> Batch:
        blank, delimiter = self.alphabet, self.alphabet + 1
        symbols = jax.random.randint(key, (self.symbols, batch_size), 0, self.alphabet, jnp.int32)
        silence = jnp.full((self.length - self.symbols, batch_size), blank)
        inputs = jnp.concatenate([symbols, silence]).at[-self.symbols].set(delimiter)
        targets = jnp.concatenate([silence, symbols])
        return Batch(jax.nn.one_hot(inputs, self.in_features), targets)

    def losses(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        return jnp.mean(cross_entropy(outputs, batch.targets), axis=0)

    def right(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        """Over the symbols alone: the blanks are trivial."""
        recalled = jnp.argmax(outputs[-self.symbols :], -1) == batch.targets[-self.symbols :]
        return jnp.mean(recalled.astype(outputs.dtype), axis=0)
