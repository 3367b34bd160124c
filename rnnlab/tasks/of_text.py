"""What tasks on a text have in common."""

from __future__ import annotations

import chz
import jax.numpy as jnp
from jaxtyping import Array, Float

from rnnlab.data import texts
from rnnlab.data.card import DataCard
from rnnlab.tasks.base import Batch, cross_entropy


@chz.chz
class OfText:
    """A file of text, and answers that are one of K kinds: the loss is cross-entropy in nats."""

    file: str | None = chz.field(
        default=None, doc="a text in UTF-8, text8, or a folder with the Penn Treebank; None: Python's own manual"
    )

    @property
    def text(self) -> texts.Text:
        """Its characters."""
        return texts.read_text(self.file)

    @property
    def files(self) -> tuple[str, ...]:
        return texts.text_files(self.file)

    @property
    def card(self) -> DataCard:
        return self.text.card

    def losses(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        return jnp.mean(cross_entropy(outputs, batch.targets), axis=0)

    def right(self, outputs: Float[Array, "N B K"], batch: Batch) -> Float[Array, " B"]:
        return jnp.mean((jnp.argmax(outputs, -1) == batch.targets).astype(outputs.dtype), axis=0)
