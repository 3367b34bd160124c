"""A reverse scan over time that carries the adjoint along several paths at once, without underflow at any lag.

A step is z_t = x_t w_x + h_{t-1} w_h + b and carry_t = update(carry_{t-1}, z_t), so an adjoint gets from a step to the
one before either through the update at fixed z or through z and w_h. A **path** of the top layer is the update
together with some columns of z: with none of them it is the direct path, with all of them the full gradient. Every
path is the same backward pass under another mask on dz; all share one forward pass and its linearisation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.extended_range import ZERO_EXPONENT, normalise, to_common_exponent
from rnnlab.scan.adjoints import with_carry_addition
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
    inputs: Float[Array, "T B D"],
    losses: Losses,
    answers: int,
    paths: Bool[np.ndarray, "P Z"],
    measure: Measure,
    *,
    top_only: bool = False,
) -> list[PyTree]:
    """What `measure` returns for the adjoints at each step of each layer, lag 0 first.

    Carries are kept where segments of time begin, and recomputed in between: memory grows with T only by them,
    by the inputs and by what `measure` returns.

    Args:
      model: its cells may be rnnlab's or Flax's own.
      inputs: [T, B, D].
      losses: the loss of each example [B] from the outputs at the last `answers` steps.
      answers: N.
      paths: of the top layer, which columns of z an adjoint may flow back through ([P, 1]: all or none). The
        full gradient comes first, paths with no column last. A cell without projection has the full one alone.
      measure: what to keep of n steps of a layer, arrays [n, ...]; under jit, what it does not read costs nothing.
      top_only: leave the layers below out.

    Returns:
      A layer each (the top one alone with `top_only`): `measure`'s outputs as [T, ...].

    Raises:
      ValueError: `answers` is not within 1 to T.
    """
    length, batch, _ = inputs.shape
    if not 1 <= answers <= length:
        raise ValueError(f"answers={answers}: must be 1 to T = {length}")
    model, carries, inputs = varying_alike((model, model.initial_carry(batch), inputs))
    layers = [_Layer(cell) for cell in model.cells]
    lowest = len(layers) - 1 if top_only else 0
    most = max(8, min(64, 2**16 // hidden(carries[-1]).size))

    def forward(carries, xs):
        """Steps forwards: carries, ys, and each layer's residuals for the backward pass."""

        def body(carries, x):
            new, kept = [], []
            for layer, carry in zip(layers, carries, strict=True):
                carry, x, step = layer.forward(carry, x)
                new.append(carry)
                kept.append(step)
            return new, (x, kept)

        carries, (ys, kept) = jax.lax.scan(body, carries, xs)
        return carries, ys, kept

    def segments(carries, xs, *, want_ys):
        def body(carries, xs, _):
            end, ys, _ = forward(carries, xs)
            return end, ys if want_ys else None, carries

        return scan_segments(body, carries, xs, even_segment(len(xs), most))

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
            body, state, (xs, d_ys), even_segment(len(xs), most), each=starts, reverse=True
        )
        return state, measured

    silent = length - answers
    early, late = inputs[:silent], inputs[silent:]
    if silent:
        carries, _, early_starts = segments(carries, early, want_ys=False)
    _, ys, late_starts = segments(carries, late, want_ys=True)
    d_ys = jax.grad(lambda ys: jnp.sum(losses(model.readout(ys))))(ys)[:, None]
    d_ys = normalise(d_ys, jnp.zeros(d_ys.shape[:-1], jnp.int32))

    counts = [0] * lowest + [1] * (len(layers) - 1 - lowest) + [len(paths)]
    state = [layer.zeros(*of) if of[1] else None for layer, *of in zip(layers, carries, counts, strict=True)]
    state, found = scan_back(state, late, d_ys, late_starts)
    if silent:  # no loss enters here: nothing is added, and no [T, B, H] of zeros made
        _, before = scan_back(state, early, None, early_starts)
        found = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), before, found)
    return jax.tree.map(lambda a: a[::-1], found)


class _Layer:
    """A cell's step both ways: by projection and update, or whole where it has no projection."""

    def __init__(self, cell: Any):
        self.cell, self.split = cell, hasattr(cell, "projection")
        if self.split:
            w_x, w_h, self.b = cell.projection()
            self.w_both = jnp.concatenate([w_x, w_h])
            self.w_x_transposed, self.w_h_transposed = w_x.T, w_h.T

    def forward(self, before, x):
        """(carry, y, the residuals: the incoming carry and z, or x for a cell without projection)."""
        if not self.split:
            return *self.cell(before, x), (before, x)
        x_and_h = jnp.concatenate([x.astype(self.b.dtype), hidden(before).astype(self.b.dtype)], axis=-1)
        z = x_and_h @ self.w_both + self.b
        return *self.cell.update(before, z), (before, z)

    def backward(self, paths, kept, state, d_y):
        """((adjoints of the incoming carry, exponent), (dL/dx along the full path, exponent), StepAdjoints)."""
        d_carry, exponent = state
        before, z = kept
        step = with_carry_addition(self.cell.update if self.split else self.cell)
        (_, y), pull = jax.vjp(step, before, z, zeros_like(before))
        if d_y is None:
            d_y = zeros_like(jnp.broadcast_to(y, (len(paths), *y.shape)))
        else:
            d_carry, d_y, exponent = to_common_exponent(d_carry, exponent, *d_y)
        direct, d_z, total = jax.vmap(pull)((d_carry, d_y.astype(y.dtype)))
        d_before, d_x = direct, d_z[:1]
        if self.split:
            leaves, treedef = jax.tree.flatten(direct)
            leaves[-1] = self._through_z(paths, d_z, leaves[-1])
            d_before, d_x = jax.tree.unflatten(treedef, leaves), d_x @ self.w_x_transposed
        adjoints = StepAdjoints(total, d_carry, d_y, d_before, direct, d_z if self.split else None, d_x, exponent)
        return normalise(d_before, exponent), normalise(d_x, exponent[:1]), adjoints

    def _through_z(self, paths, d_z, d_h):
        """dL/dh of the step before with what comes through z, by path; paths with no column come last."""
        moving = int(paths.any(axis=1).sum())
        if not moving:
            return d_h
        d_z = d_z[:moving]
        if not paths[:moving].all():
            d_z = jnp.where(paths[:moving, None], d_z, 0)
        through = (d_z @ self.w_h_transposed).astype(d_h.dtype)
        return jnp.concatenate([d_h[:moving] + through, d_h[moving:]])

    def zeros(self, carry, paths: int):
        """Adjoints of zero along so many paths."""
        d_carry = jax.tree.map(lambda c: jnp.zeros((paths, *c.shape), c.dtype), carry)
        exponent = jnp.full((paths, *hidden(carry).shape[:-1]), ZERO_EXPONENT, jnp.int32)
        return varying_alike(((d_carry, exponent), carry))[0]
