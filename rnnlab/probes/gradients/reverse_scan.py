"""A reverse scan over time that carries the adjoint along several paths at once, without underflow at any lag.

A step is z_t = x_t w_x + h_{t-1} w_h + b and carry_t = update(carry_{t-1}, z_t), so an adjoint gets from a step to the
one before either through the update at fixed z or through z and w_h. A **path** of the top layer is the update
together with some columns of z: with none of them it is the direct path, with all of them the full gradient. Every
path is the same backward pass under another mask on dz; all share one forward pass and its linearisation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num, PyTree

from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.extended_range import ZERO_EXPONENT, normalise, to_common_exponent
from rnnlab.scan.adjoints import with_carry_addition
from rnnlab.scan.presence import Presence, align_ends, align_starts, presence
from rnnlab.scan.projected import hidden
from rnnlab.scan.segments import even_segment, scan_segments, varying_alike, zeros_like

Losses = Callable[[Float[Array, "N B K"]], Float[Array, " B"]]
Measure = Callable[["StepAdjoints"], PyTree]


class StepAdjoints(NamedTuple):
    """The adjoints at n steps of one layer: each is d * 2^exponent, trees like its carry of [n, P, B, H].

    Each of P paths and B examples has an exponent of its own, and so has each layer: one whose adjoint lies far below
    another's loses nothing.
    """

    total: PyTree  # of a step's outgoing carry, its use within that step counted
    later: PyTree  # of the same, its use by later steps alone
    d_y: Float[Array, "n #P B H"]  # of y, by the layer above or by the readout and its loss
    before: PyTree  # of the incoming carry
    direct: PyTree  # of the incoming carry, through the update at fixed z alone; `before` without projection
    d_z: Float[Array, "n P B Z"] | None  # none for a cell without projection
    d_x: Float[Array, "n 1 B D"]  # along the full path
    exponent: Int[Array, "n P B"]


def reverse_scan(
    model: SequenceModel,
    inputs: Num[Array, "T B *D"],
    losses: Losses,
    answers: int,
    paths: Bool[np.ndarray, "P Z"],
    measure: Measure,
    *,
    top_only: bool = False,
    lengths: Int[Array, " B"] | None = None,
    resets: Bool[Array, "T B"] | None = None,
) -> list[PyTree]:
    """What `measure` returns for the adjoints at each step of each layer, lag 0 first.

    Carries are kept where segments of time begin, and recomputed in between: memory grows with T only by them,
    by the inputs and by what `measure` returns.

    Args:
      model: its cells may be rnnlab's or Flax's own.
      inputs: [T, B, D], or tokens [T, B].
      losses: the loss of each example [B] from the outputs at the last `answers` steps.
      answers: N.
      paths: of the top layer, which columns of z an adjoint may flow back through ([P, 1]: all or none). The
        full gradient comes first, paths with no column last. A cell without projection has the full one alone.
      measure: what to keep of n steps of a layer, arrays [n, ...]; under jit, what it does not read costs nothing.
      top_only: leave the layers below out.
      lengths: of sequences of unequal length, whose lags are counted from their own last step; at lags beyond a
        sequence's first step its adjoints are zero.
      resets: where a carry begins anew before a step, which no adjoint crosses.

    Returns:
      A layer each (the top one alone with `top_only`): `measure`'s outputs as [T, ...].

    Raises:
      ValueError: `answers` is not within 1 to T, or the model is bidirectional.
    """
    length, batch = inputs.shape[:2]
    if not 1 <= answers <= length:
        raise ValueError(f"answers={answers}: must be 1 to T = {length}")
    if not model.stepwise:
        told = (
            "its second direction begins at the sequence's end"
            if model.bidirectional
            else "its decoder has inputs of its own"
        )
        raise ValueError(
            f"a {'bidirectional' if model.bidirectional else 'encoder-decoder'} model has no reverse scan: {told}"
        )
    fresh = model.initial_carry(batch)
    xs, begins, outputs = _aligned(model, inputs, answers, lengths, resets)
    model, fresh, inputs, begins = varying_alike((model, fresh, xs, begins))
    carries = fresh
    layers = [_Layer(cell, number, model) for number, cell in enumerate(model.cells)]
    lowest = len(layers) - 1 if top_only else 0
    most = max(8, min(64, 2**16 // hidden(carries[-1]).size))

    def forward(carries, xs):
        """Steps forwards: carries, ys, and each layer's residuals for the backward pass."""

        def body(carries, inputs):
            x, begin = inputs
            carries = Presence(resets=begin).begin(carries, fresh)
            new, kept = [], []
            for layer, carry in zip(layers, carries, strict=True):
                carry, x, step = layer.forward(carry, x)
                new.append(carry)
                kept.append((step, begin))
            return new, (x, kept)

        carries, (ys, kept) = jax.lax.scan(body, carries, xs)
        return carries, ys, kept

    def segments(carries, xs, *, want_ys):
        def body(carries, xs, _):
            end, ys, _ = forward(carries, xs)
            return end, ys if want_ys else None, carries

        return scan_segments(body, carries, xs, even_segment(len(xs[0]), most))

    def backward(state, step):
        """One step backwards, from the top layer down: each passes dL/dx to the one below."""
        kept, d_y = step
        new, by_layer = [None] * len(layers), []
        for number in range(len(layers) - 1, lowest - 1, -1):
            top = number == len(layers) - 1
            mask = paths if top else np.ones((1, 1), bool)
            new[number], d_y, adjoints = layers[number].backward(mask, kept[number], state[number], d_y)
            by_layer.insert(0, adjoints)
        return new, by_layer

    def scan_back(state, xs, d_ys, starts):
        def body(state, inputs, start):
            xs, d_ys = inputs
            _, _, kept = forward(start, xs)
            state, by_layer = jax.lax.scan(backward, state, (kept, d_ys), reverse=True)
            return state, [measure(adjoints) for adjoints in by_layer], None

        state, measured, _ = scan_segments(
            body, state, (xs, d_ys), even_segment(len(xs[0]), most), each=starts, reverse=True
        )
        return state, measured

    silent = length - answers
    early, late = (jax.tree.map(lambda part, cut=cut: part[cut], (inputs, begins))
                   for cut in (slice(silent), slice(silent, None)))  # fmt: skip
    if silent:
        carries, _, early_starts = segments(carries, early, want_ys=False)
    _, ys, late_starts = segments(carries, late, want_ys=True)
    d_ys = jax.grad(lambda ys: jnp.sum(losses(outputs(model, ys))))(ys)[:, None]
    d_ys = normalise(d_ys, jnp.zeros(d_ys.shape[:-1], jnp.int32))

    counts = [0] * lowest + [1] * (len(layers) - 1 - lowest) + [len(paths)]
    state = [layer.zeros(*of) if of[1] else None for layer, *of in zip(layers, carries, counts, strict=True)]
    state, found = scan_back(state, late, d_ys, late_starts)
    if silent:  # no loss enters here: nothing is added, and no [T, B, H] of zeros made
        _, before = scan_back(state, early, None, early_starts)
        found = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), before, found)
    return jax.tree.map(lambda a: a[::-1], found)


def _aligned(model, inputs, answers, lengths, resets):
    """(what the first layer reads, where carries begin anew, outputs from (model, ys)), ends moved to the last step.

    So lags are counted from each sequence's own end. What lies before its first step no adjoint reaches: the carry
    begins anew there.
    """
    if lengths is None:
        return model.embed(inputs), resets, lambda model, ys: model.outputs(ys)
    length = len(inputs)
    when = presence(lengths, resets, length)
    begins = jnp.arange(length)[:, None] == length - lengths
    if when.resets is not None:
        begins |= align_ends(when.resets, lengths)

    def outputs(model, ys):
        there = Presence(jnp.arange(answers)[:, None] >= answers - lengths)
        found = there.only_present(model.outputs(ys))
        return align_starts(found, lengths) if answers == length else found

    return align_ends(when.only_present(model.embed(inputs)), lengths), begins, outputs


def has_paths(cell: Any) -> bool:
    """Whether a cell's step is a z and its update, so that a gradient's paths are defined."""
    return hasattr(cell, "update") and (hasattr(cell, "projection") or hasattr(cell, "project"))


class _Layer:
    """A cell's step both ways: by z and its update, or whole where it names no z.

    z is linear in x and h where a cell has a projection, and else whatever `project` makes of them.
    """

    def __init__(self, cell: Any, number: int, model: SequenceModel):
        self.cell, self.linear, self.split = cell, hasattr(cell, "projection"), has_paths(cell)
        self.read = functools.partial(model.read, number) if number and len(model.norms) else None
        self.residual = model.residual and number > 0
        if self.linear:
            w_x, w_h, self.b = cell.projection()
            self.w_both = jnp.concatenate([w_x, w_h])
            self.w_x_transposed, self.w_h_transposed = w_x.T, w_h.T

    def forward(self, before, below):
        """(carry, what the layer above reads, the residuals of the step)."""
        x = self.read(below) if self.read else below
        carry, y, kept = self._step(before, x)
        return carry, y + below if self.residual else y, (kept, below if self.read else None)

    def _step(self, before, x):
        """(carry, y, the incoming carry with z, and with x where z is not linear; with x alone of a whole cell)."""
        if not self.split:
            return *self.cell(before, x), (before, x, None)
        if not self.linear:
            z = self.cell.project(hidden(before), x)
            return *self.cell.update(before, z), (before, z, x)
        x_and_h = jnp.concatenate([x.astype(self.b.dtype), hidden(before).astype(self.b.dtype)], axis=-1)
        z = x_and_h @ self.w_both + self.b
        return *self.cell.update(before, z), (before, z, None)

    def backward(self, paths, kept, state, d_out):
        """((adjoints of the incoming carry, exponent), (those of what it reads, exponent), StepAdjoints).

        The adjoint of what a layer reads is that along the full path.
        """
        ((before, z, x), below), begin = kept
        d_carry, exponent = state
        step = with_carry_addition(self.cell.update if self.split else self.cell)
        (_, y), pull = jax.vjp(step, before, z, zeros_like(before))
        if d_out is None:
            d_y = zeros_like(jnp.broadcast_to(y, (len(paths), *y.shape)))
        else:
            d_carry, d_y, exponent = to_common_exponent(d_carry, exponent, *d_out)
        direct, d_z, total = jax.vmap(pull)((d_carry, d_y.astype(y.dtype)))
        d_before, d_x = direct, d_z[:1]
        if self.split:
            leaves, treedef = jax.tree.flatten(direct)
            leaves[-1], d_x = self._through_z(paths, d_z, leaves[-1], before, x)
            d_before = jax.tree.unflatten(treedef, leaves)
        adjoints = StepAdjoints(total, d_carry, d_y, d_before, direct, d_z if self.split else None, d_x, exponent)
        if begin is not None:
            d_before = jax.tree.map(lambda d: jnp.where(begin[:, None], 0, d), d_before)
        return normalise(d_before, exponent), self._read_backward(below, d_x, exponent[:1], d_out), adjoints

    def _read_backward(self, below, d_x, exponent, d_out):
        if self.read:
            _, pull = jax.vjp(self.read, below)
            (d_x,) = jax.vmap(pull)(d_x.astype(below.dtype))
        d_below = normalise(d_x, exponent)
        if not self.residual or d_out is None:
            return d_below
        one, two, exponent = to_common_exponent(*d_below, *(part[:1] for part in d_out))
        return normalise(one + two, exponent)

    def _through_z(self, paths, d_z, d_h, before, x):
        """dL/dh of the step before with what comes through z, by path, paths with no column last; and dL/dx."""
        pull = self._pull_z(before, x)
        moving = int(paths.any(axis=1).sum())
        d_x = pull(d_z[:1])[1]
        if not moving:
            return d_h, d_x
        d_z = d_z[:moving]
        if not paths[:moving].all():
            d_z = jnp.where(paths[:moving, None], d_z, 0)
        through = pull(d_z)[0].astype(d_h.dtype)
        return jnp.concatenate([d_h[:moving] + through, d_h[moving:]]), d_x

    def _pull_z(self, before, x):
        """d_z [P, B, Z] to (what reaches h, what reaches x)."""
        if self.linear:
            return lambda d_z: (d_z @ self.w_h_transposed, d_z @ self.w_x_transposed)
        _, pull = jax.vjp(self.cell.project, hidden(before), x)
        return jax.vmap(pull)

    def zeros(self, carry, paths: int):
        """Adjoints of zero along so many paths."""
        d_carry = jax.tree.map(lambda c: jnp.zeros((paths, *c.shape), c.dtype), carry)
        exponent = jnp.full((paths, *hidden(carry).shape[:-1]), ZERO_EXPONENT, jnp.int32)
        return varying_alike(((d_carry, exponent), carry))[0]
