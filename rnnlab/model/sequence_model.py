"""A sequence model: cells stacked over one another, and a readout."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Num, PyTree

from rnnlab.cells import CellSpec
from rnnlab.model.dropout import Dropout, ZoneoutCell, check_noise, drop, unroll_with_noise
from rnnlab.model.layer import at_the_end, both_ends, has_answers, last_steps, traced
from rnnlab.scan.presence import Presence, presence, reverse, select
from rnnlab.scan.segments import sum_dtype, zeros_like
from rnnlab.scan.unroll import unroll
from rnnlab.specs.errors import UserError


class SequenceModel(nnx.Module):
    """`layers` cells, each reading the one below, and a linear readout of the top one.

    Args:
      spec: of each layer's cell.
      in_features: D; with tokens as inputs how many there are.
      out_features: K; None: no readout, of a model that another reads (`states`).
      layers: cells stacked over one another.
      embedding: width E of a table [D, E] through which inputs are read; None: none, and tokens are one-hot.
      bidirectional: a second cell a layer reads time backwards; the layer above reads both, [2H] (Schuster & Paliwal
        1997).
      residual: each layer but the first adds what it reads to its output (He et al. 2016).
      layer_norm: what a layer reads from the one below, and the readout from the top one, is normalised over units
        (Ba, Kiros & Hinton 2016).
      dropout: noise in training, which `key` draws.
    """

    def __init__(
        self,
        spec: CellSpec,
        in_features: int,
        out_features: int | None,
        *,
        layers: int = 1,
        embedding: int | None = None,
        bidirectional: bool = False,
        residual: bool = False,
        layer_norm: bool = False,
        dropout: Dropout | None = None,
        rngs: nnx.Rngs,
    ):
        types = {"dtype": jnp.promote_types(spec.dtype, jnp.float32), "param_dtype": jnp.dtype(spec.param_dtype)}
        self.in_features = in_features
        self.dtype = types["dtype"]
        self.residual = residual
        self.dropout = dropout or Dropout()
        self.embedding = None if embedding is None else nnx.Embed(in_features, embedding, rngs=rngs, **types)
        width = spec.features * (2 if bidirectional else 1)
        widths = [in_features if embedding is None else embedding] + [width] * (layers - 1)
        self.cells = nnx.List([self._cell(spec, width, rngs) for width in widths])
        second = [self._cell(spec, width, rngs) for width in widths] if bidirectional else []
        self.backward_cells = nnx.List(second)  # of each layer, or none at all
        self.norms = nnx.List([nnx.LayerNorm(width, rngs=rngs, **types) for _ in range(layers if layer_norm else 0)])
        read = {"rngs": rngs, **types, **spec.readout_options()}
        self.readout = None if out_features is None else nnx.Linear(width, out_features, **read)

    def _cell(self, spec: CellSpec, in_features: int, rngs: nnx.Rngs):
        cell = spec.build(in_features, rngs=rngs)
        check_noise(self.dropout, cell, type(spec).__name__)
        zoneout = self.dropout.zoneout_c or self.dropout.zoneout_h
        return ZoneoutCell(cell, self.dropout) if zoneout else cell

    @property
    def bidirectional(self) -> bool:
        """Whether a second cell a layer reads time backwards."""
        return bool(len(self.backward_cells))

    @property
    def stepwise(self) -> bool:
        """Whether step t needs nothing but the carries of step t-1 and its input, as `step` and a reverse scan do."""
        return not self.bidirectional

    @property
    def plain(self) -> bool:
        """Whether it is cells and a readout alone, without noise."""
        return not (self.embedding or self.bidirectional or self.residual or len(self.norms) or self.dropout.any())

    def initial_carry(self, batch_size: int) -> list[PyTree]:
        """One carry a layer, zeros; of a bidirectional model a pair (forward, backward)."""
        rngs = nnx.Rngs(0)  # Flax's own cells ask for one to make zeros

        def first(cell):
            return cell.initialize_carry((batch_size, getattr(cell, "in_features", 1)), rngs)

        if self.bidirectional:
            return [(first(one), first(two)) for one, two in zip(self.cells, self.backward_cells, strict=True)]
        return [first(cell) for cell in self.cells]

    def embed(self, inputs: Num[Array, "*T B *D"]) -> Float[Array, "*T B E"]:
        """What the first layer reads: numbers [..., B, D], or tokens [..., B] as rows of the table or one-hot."""
        tokens = jnp.issubdtype(inputs.dtype, jnp.integer)
        if self.embedding is None:
            return jax.nn.one_hot(inputs, self.in_features, dtype=self.dtype) if tokens else inputs
        return self.embedding(inputs) if tokens else inputs @ self.embedding.embedding[...].astype(inputs.dtype)

    def read(self, layer: int, below: Float[Array, "*T B H"]) -> Float[Array, "*T B H"]:
        """What a layer reads of the output of the one below; the readout counts as the layer after the last."""
        return self.norms[layer - 1](below) if layer and len(self.norms) else below

    def outputs(self, ys: Float[Array, "*T B H"]) -> Float[Array, "*T B K"]:
        """The readout of the top layer's output."""
        return self.readout(self.read(len(self.cells), ys))

    def __call__(
        self,
        inputs: Num[Array, "T B *D"],
        *,
        answers: int | None = None,
        lengths: Int[Array, " B"] | None = None,
        resets: Bool[Array, "T B"] | None = None,
        carry: list[PyTree] | None = None,
        return_carry: bool = False,
        key: Array | None = None,
        taps: list[PyTree] | None = None,
        segment: int | None = None,
    ) -> Float[Array, "N B K"] | tuple[Float[Array, "N B K"], list[PyTree]]:
        """Outputs at the last `answers` steps (all, left out).

        Before them the top layer returns its carry alone, so a loss at the end stores no [T, B, H].

        Args:
          inputs: numbers [T, B, D], or tokens [T, B] as integers below D.
          answers: N. One answer of a bidirectional model reads what each direction has seen last.
          lengths: the first `lengths[b]` steps of sequence b are there, 0 to T; its last N steps are its own last ones.
            Outputs at steps that are not there are 0.
          resets: where true, the carry begins anew before that step.
          carry: where each layer begins; left out, `initial_carry`.
          return_carry: the outputs and the last carry, with which a later call goes on.
          key: of the noise of `dropout`; left out, there is none.
          taps: zeros whose gradients are the adjoint norms, as `tap_zeros` gives them; see `rnnlab.scan.unroll.unroll`.
          segment: see there.

        Returns:
          The outputs, and with `return_carry` the last carry of each layer.
        """
        answers = len(inputs) if answers is None else answers
        steps = {"lengths": lengths, "resets": resets}
        below, last = self.states(inputs, answers=answers, carry=carry, key=key, taps=taps, segment=segment, **steps)
        found = self.outputs(below)
        if lengths is not None:
            found = select(has_answers(lengths, answers, len(inputs)), found, zeros_like(found))
        return (found, last) if return_carry else found

    def states(
        self,
        inputs: Num[Array, "T B *D"],
        *,
        answers: int,
        lengths: Int[Array, " B"] | None = None,
        resets: Bool[Array, "T B"] | None = None,
        carry: list[PyTree] | None = None,
        key: Array | None = None,
        taps: list[PyTree] | None = None,
        segment: int | None = None,
    ) -> tuple[Float[Array, "N B H"], list[PyTree]]:
        """What the readout reads at the last `answers` steps, and the last carry of each layer: see `__call__`."""
        length, batch_size = inputs.shape[:2]
        if inputs.ndim == 3 and inputs.shape[2] != self.in_features:
            raise UserError(f"inputs are {list(inputs.shape)}, where [T, B, D] with D = {self.in_features} is needed")
        taps = [None] * len(self.cells) if taps is None else taps
        before = self.initial_carry(batch_size) if carry is None else carry
        keys = (
            [(None, None)] * (len(self.cells) + 1) if key is None else jax.random.split(key, (len(self.cells) + 1, 2))
        )
        below, last = self.embed(presence(lengths, None, length).only_present(inputs)), []
        for layer in range(len(self.cells)):
            xs = self._dropped(self.read(layer, below), keys[layer][0] if layer or self.embedding else None)
            top = layer == len(self.cells) - 1 and not self.bidirectional
            carry, ys = self._layer(
                layer, before[layer], xs, answers if top else length, keys[layer][1],
                taps=taps[layer], lengths=lengths, resets=resets, segment=segment,
            )  # fmt: skip
            below = ys + last_steps(below, lengths, len(ys)) if self.residual and layer else ys
            last.append(carry)
        if self.bidirectional and answers < length:
            below = both_ends(below, lengths, resets, answers)
        return self._dropped(below, keys[-1][0]), last

    def _layer(self, layer, carry, xs, answers, key, *, taps, resets, **options):
        """A layer's last carry, and its outputs at the last `answers` steps."""
        if self.bidirectional:
            return self._both_ways(layer, carry, xs, key, taps or (None, None), resets, options)
        if key is None:
            return at_the_end(self.cells[layer], carry, xs, answers, taps=taps, resets=resets, **options)
        carry, ys = self._unroll(self.cells[layer], carry, xs, key, taps=taps, resets=resets, **options)
        return carry, last_steps(ys, options["lengths"], answers)

    def _both_ways(self, layer, carry, xs, key, taps, resets, options):
        """The second cell reads each sequence from its end to its beginning; outputs of both side by side."""
        keys = (None, None) if key is None else jax.random.split(key)
        forward, ys = self._unroll(self.cells[layer], carry[0], xs, keys[0], taps=taps[0], resets=resets, **options)
        later = _later(options["lengths"], resets, len(xs)).resets
        xs, tap = reverse((xs, taps[1]), options["lengths"])
        cell = self.backward_cells[layer]
        backward, back = self._unroll(cell, carry[1], xs, keys[1], taps=tap, resets=later, **options)
        return (forward, backward), jnp.concatenate([ys, reverse(back, options["lengths"])], axis=-1)

    def _unroll(self, cell, carry, xs, key, **options):
        if key is None:
            return unroll(cell, carry, xs, **options)
        return unroll_with_noise(cell, carry, xs, self.dropout, key, **options)

    def _dropped(self, xs, key):
        return xs if key is None else drop(xs, self.dropout.between, key)

    def step(self, carries: list[PyTree], x: Num[Array, "B *D"]) -> tuple[list[PyTree], Float[Array, "B H"]]:
        """One step of all layers: their carries, and the output y of the top one, which `outputs` reads.

        Raises:
          ValueError: the model is bidirectional: a step would need what comes after it.
        """
        if self.bidirectional:
            raise ValueError("a bidirectional model has no step: its second direction begins at the sequence's end")
        new, below = [], self.embed(x)
        for layer, (cell, carry) in enumerate(zip(self.cells, carries, strict=True)):
            carry, y = cell(carry, self.read(layer, below))
            below = y + below if self.residual and layer else y
            new.append(carry)
        return new, below

    def tap_zeros(self, length: int, batch_size: int) -> list[PyTree]:
        """Zeros for every layer whose gradients are the adjoint norms [T, B] of each carry component."""
        carries = self.initial_carry(batch_size)
        return jax.tree.map(lambda c: jnp.zeros((length, batch_size), sum_dtype(c)), carries)

    def names(self) -> list[PyTree]:
        """The carry components' names by layer, as in `layer0/c`: a tree like `initial_carry`.

        Those of a second direction are `layer0 backward/c`.
        """
        carries = jax.eval_shape(lambda: self.initial_carry(1))

        def of(cell, carry, prefix):
            leaves, treedef = jax.tree.flatten(carry)
            return treedef.unflatten([f"{prefix}/{part}" for part in carry_names(cell, leaves)])

        if not self.bidirectional:
            layers = enumerate(zip(self.cells, carries, strict=True))
            return [of(cell, carry, f"layer{layer}") for layer, (cell, carry) in layers]
        cells = zip(self.cells, self.backward_cells, carries, strict=True)
        return [
            (of(one, carry[0], f"layer{layer}"), of(two, carry[1], f"layer{layer} backward"))
            for layer, (one, two, carry) in enumerate(cells)
        ]

    def intermediates(
        self,
        inputs: Num[Array, "T B *D"],
        *,
        lengths: Int[Array, " B"] | None = None,
        resets: Bool[Array, "T B"] | None = None,
    ) -> dict[str, Float[Array, "T B K"]]:
        """Outputs and every h_t, c_t and gate over time, by name; under jit, what is not read costs nothing.

        At steps that are not there carries stay as they are, and gates are 0.
        """
        when, later = presence(lengths, resets, len(inputs)), _later(lengths, resets, len(inputs))
        below, found = self.embed(when.only_present(inputs)), {}
        carries, names = self.initial_carry(inputs.shape[1]), self.names()
        for layer, (carry, named) in enumerate(zip(carries, names, strict=True)):
            xs, prefix, cell = self.read(layer, below), f"layer{layer}", self.cells[layer]
            if self.bidirectional:
                ys, one = traced(cell, carry[0], xs, when, named[0], prefix)
                cell, xs = self.backward_cells[layer], reverse(xs, lengths)
                back, two = reverse(traced(cell, carry[1], xs, later, named[1], f"{prefix} backward"), lengths)
                ys, one = jnp.concatenate([ys, back], axis=-1), one | two
            else:
                ys, one = traced(cell, carry, xs, when, named, prefix)
            found |= one
            below = ys + below if self.residual and layer else ys
        return found if self.readout is None else found | {"outputs": when.only_present(self.outputs(below))}


def _later(lengths, resets, length) -> Presence:
    """Which steps there are, and where a carry begins anew, for the direction from each sequence's end."""
    if resets is not None:  # a reset before step t parts it from step t-1, which comes after it
        resets = reverse(jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])]), lengths)
    return presence(lengths, resets, length)


def carry_names(cell, carry: PyTree) -> tuple[str, ...]:
    """Names of the components of a cell's carry; of a foreign cell the last is taken as h, and one before it as c."""
    return getattr(cell, "carry_names", ("c", "h")[-len(jax.tree.leaves(carry)) :])
