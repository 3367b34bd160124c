"""An encoder that reads a source, and a decoder that begins where it ends and writes a target."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PyTree

from rnnlab.cells import CellSpec
from rnnlab.model.attention import AdditiveScore, Kind, Mixture, Source, contexts, dot_scores, weights
from rnnlab.model.layer import traced
from rnnlab.model.sequence_model import SequenceModel
from rnnlab.scan.presence import Presence, reverse
from rnnlab.scan.projected import hidden
from rnnlab.scan.unroll import unroll
from rnnlab.specs.errors import Undefined, UserError

PADDING = 0  # the token behind the end of a source or target


class Encoded(NamedTuple):
    """A source that was read: where a decoder begins, and what it may attend to."""

    carry: list[PyTree]
    source: Source | None  # None without attention


class EncoderDecoder(SequenceModel):
    """Sutskever, Vinyals & Le 2014, section 2: a decoder whose carry begins as the encoder's last; also with attention.

    Inputs are tokens [S + N, B]: the source in the first S steps, padding (0) behind it, then what the decoder reads in
    the last N: a sign to begin, and the target so far. Both parts have embeddings in one table. It is itself the
    decoder, a sequence model; `encoder` has cells like its own. Of a bidirectional encoder the decoder begins with the
    carry of the backward direction, which has read the source's first token last (Bahdanau, Cho & Bengio 2015, appendix
    A.2.2, there through a further layer).

    attention: `dot` reads the context after the cell (Luong, Pham & Manning 2015, without input feeding); `additive`
    gives it to the first cell, from the state before the step (Bahdanau, Cho & Bengio 2015, their maxout layer replaced
    by `Mixture`).

    Args:
      source_steps: S.
      reverse_source: the encoder reads a source from its last token to its first (Sutskever, Vinyals & Le 2014, section
        3.3); weights of attention are told in the source's own order.
      others: see `SequenceModel`; an embedding left out is as wide as the cell.
    """

    def __init__(
        self,
        spec: CellSpec,
        in_features: int,
        out_features: int,
        *,
        source_steps: int,
        attention: Kind = "none",
        reverse_source: bool = False,
        embedding: int | None = None,
        bidirectional: bool = False,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        width = embedding or spec.features
        super().__init__(spec, in_features, out_features, embedding=width, rngs=rngs, **options)
        self.source_steps = source_steps
        self.attention = attention
        self.reverse_source = reverse_source
        values = spec.features * (2 if bidirectional else 1)
        projected = attention == "additive" or (attention == "dot" and bidirectional)
        keys = spec.features if projected else None
        self.encoder = SequenceModel(spec, width, keys, bidirectional=bidirectional, rngs=rngs, **options)
        if attention == "additive":
            self.cells[0] = self._cell(spec, width + values, rngs)
        types = {"dtype": self.dtype, "param_dtype": jnp.dtype(spec.param_dtype)}
        self.score = AdditiveScore(spec.features, rngs=rngs, **types) if attention == "additive" else None
        self.mixture = None if attention == "none" else Mixture(values, spec.features, rngs=rngs, **types)

    @property
    def stepwise(self) -> bool:
        return False

    @property
    def plain(self) -> bool:
        return False

    def step(self, carries: list[PyTree], x: Array) -> tuple[list[PyTree], Array]:
        """None: `decode` makes one step, or many, of a target.

        Raises:
          ValueError: always.
        """
        raise ValueError("an encoder-decoder has no step of one input: encode a source, then decode one token or more")

    def initial_carry(self, batch_size: int) -> list[PyTree]:
        """Where the encoder begins."""
        return self.encoder.initial_carry(batch_size)

    def names(self) -> list[PyTree]:
        """As of a sequence model; of the carry of an encoder's second direction `layer0 backward/h`."""
        return self.encoder.names()

    def encode(
        self,
        source: Int[Array, "S B"],
        *,
        carry: list[PyTree] | None = None,
        key: Array | None = None,
        taps: PyTree = None,
        segment: int | None = None,
    ) -> Encoded:
        """Reads a source of any length."""
        lengths = jnp.sum(source != PADDING, axis=0)
        source = reverse(source, lengths) if self.reverse_source else source
        ys, last = self.encoder.states(
            self.embed(source), answers=len(source), lengths=lengths, carry=carry, key=key, taps=taps, segment=segment
        )
        if self.encoder.bidirectional:
            last = [backward for _, backward in last]
        if self.attention == "none":
            return Encoded(last, None)
        keys = ys if self.encoder.readout is None else self.encoder.outputs(ys)
        return Encoded(last, Source(keys, ys, source != PADDING))

    def decode(
        self, carry: list[PyTree], target: Int[Array, "N B"], source: Source | None, **options: Any
    ) -> tuple[list[PyTree], Float[Array, "N B K"], Float[Array, "N S B"] | None]:
        """The last carry, the outputs, and the weights of attention at each step of a target that is given."""
        if self.attention == "additive":
            last, ys, context, attention = self._additive(carry, target, source, **options)
            return last, self.outputs(self.mixture(ys, context)), attention
        ys, last = self.states(target, answers=len(target), carry=carry, **options)
        if self.attention == "none":
            return last, self.outputs(ys), None
        attention = weights(dot_scores(ys, source), source.present)
        return last, self.outputs(self.mixture(ys, contexts(attention, source))), attention

    def _additive(self, carry, target, source, *, key=None, taps=None, segment=None):
        del key  # a trial with noise is refused

        def step(carries, x):
            attention = weights(self.score(hidden(carries), source), source.present)
            context, new = contexts(attention, source), []
            below = jnp.concatenate([x, context], axis=-1)
            for layer, (cell, before) in enumerate(zip(self.cells, carries, strict=True)):
                after, y = cell(before, self.read(layer, below))
                below = y + below if self.residual and layer else y
                new.append(after)
            return new, (below, context, attention)

        last, (ys, context, attention) = unroll(step, carry, self.embed(target), taps=taps, segment=segment)
        return last, ys, context, attention

    def __call__(
        self,
        inputs: Int[Array, "T B"],
        *,
        answers: int | None = None,
        lengths: None = None,
        resets: None = None,
        carry: list[PyTree] | None = None,
        return_carry: bool = False,
        key: Array | None = None,
        taps: list[PyTree] | None = None,
        segment: int | None = None,
    ) -> Float[Array, "N B K"] | tuple[Float[Array, "N B K"], list[PyTree]]:
        """Outputs at the steps of the target, the last T - S, which are all `answers` there are.

        Args:
          inputs: tokens [S + N, B], of source and target.
          lengths, resets: none: how long a source and its target are is told by their padding.
          carry: where the encoder begins.
          taps: zeros as `tap_zeros` gives them. Lag 0 of a sentence is its last step, that of the sign to end; the
            encoder's steps come before the decoder's without a gap.
          others: see `SequenceModel`.

        Returns:
          The outputs, and with `return_carry` the decoder's last carry.
        """
        source, target = self._parts(inputs)
        if answers not in (None, len(target)) or lengths is not None or resets is not None:
            raise UserError(f"answers={answers}: an encoder-decoder answers at all {len(target)} steps of its target, "
                            "and takes no lengths and no resets")  # fmt: skip
        keys = (None, None) if key is None else jax.random.split(key)
        of_source, of_target = (None, None) if taps is None else self._split(taps, source, target)
        encoded = self.encode(source, carry=carry, key=keys[0], taps=of_source, segment=segment)
        options = {"key": keys[1], "taps": of_target, "segment": segment}
        last, outputs, _ = self.decode(encoded.carry, target, encoded.source, **options)
        return (outputs, last) if return_carry else outputs

    def attend(self, inputs: Int[Array, "T B"]) -> Float[Array, "N S B"]:
        """The weights of attention at each step of a target that is given.

        Raises:
          Undefined: the model has none.
        """
        if self.attention == "none":
            raise Undefined("attention=none: there are no weights of attention")
        source, target = self._parts(inputs)
        encoded = self.encode(source)
        found = self.decode(encoded.carry, target, encoded.source)[2]
        if not self.reverse_source:
            return found
        return jnp.moveaxis(reverse(jnp.moveaxis(found, 0, -1), jnp.sum(source != PADDING, axis=0)), -1, 0)

    def _parts(self, inputs):
        return inputs[: self.source_steps], inputs[self.source_steps :]

    def _split(self, taps, source, target):
        """Taps by lag as those of the encoder's and the decoder's own steps."""
        read, written = (jnp.sum(part != PADDING, axis=0) for part in (source, target))
        end = len(source) + len(target)

        def taken(tap, length, first):
            steps = jnp.arange(length)[:, None]
            at = jnp.clip(steps + first, 0, end - 1)
            return jnp.where((steps + first >= 0) & (steps + first < end), jnp.take_along_axis(tap, at, axis=0), 0)

        def of_source(tap):
            moved = taken(tap, len(source), end - written - read)
            return jnp.where(source != PADDING, moved, 0)

        backward = self.encoder.bidirectional
        decoder = [forward for forward, _ in taps] if backward else taps
        return jax.tree.map(of_source, taps), jax.tree.map(lambda t: taken(t, len(target), end - written), decoder)

    def intermediates(
        self, inputs: Int[Array, "T B"], *, lengths: None = None, resets: None = None
    ) -> dict[str, Array]:
        """Every h_t and c_t over the steps of source and target, by name, and the outputs [N, B, K].

        Of an encoder's second direction they are over the source's steps alone. Gates are left out: statistics of them
        would count the steps of padding, which differ between sentences.
        """
        del lengths, resets
        source, target = self._parts(inputs)
        read = jnp.sum(source != PADDING, axis=0)
        encoded = self.encode(source)
        first = self.encoder.intermediates(self.embed(reverse(source, read) if self.reverse_source else source),
                                           lengths=read)  # fmt: skip
        xs = self.embed(target)
        if self.attention == "additive":
            xs = jnp.concatenate([xs, self._additive(encoded.carry, target, encoded.source)[2]], axis=-1)
        then = self._traced(encoded.carry, xs)
        kept = jax.tree.leaves(self.names())
        found = {name: jnp.concatenate([first[name], then[name]]) if name in then else first[name] for name in kept}
        return found | {"outputs": self.decode(encoded.carry, target, encoded.source)[1]}

    def _traced(self, carries, xs):
        names, below, found = self.names(), xs, {}
        names = [forward for forward, _ in names] if self.encoder.bidirectional else names
        for layer, (carry, named, cell) in enumerate(zip(carries, names, self.cells, strict=True)):
            read = self.read(layer, below)
            ys, one = traced(cell, carry, read, Presence(), named, f"layer{layer}")
            found |= one
            below = ys + below if self.residual and layer else ys
        return found
