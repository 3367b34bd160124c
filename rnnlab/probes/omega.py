"""How well each step keeps the length of the gradient that passes it, and the regulariser that asks it to."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rnnlab.model import SequenceModel
from rnnlab.probes.scaled import NOTHING, common_frame, normalise
from rnnlab.probes.walk import Losses
from rnnlab.projected import hidden
from rnnlab.segments import wide


def omega(
    model: SequenceModel, inputs: Float[Array, "T B D"], losses: Losses, answers: int = 1
) -> dict[str, Float[Array, "N B"]]:
    """Omega_k = (||dE/dx_{k+1} dx_{k+1}/dx_k|| / ||dE/dx_{k+1}|| - 1)^2 at every transition and of each example.

    Pascanu, Mikolov & Bengio 2013, On the difficulty of training recurrent neural networks, equation 9, whose Omega
    is the sum over k. The state x is a layer's whole carry (an LSTM's c and h as one vector, a vanilla RNN's h), and
    dE/dx_t the derivative by what leaves step t as later steps, the layer above and the readout read it: dx_{k+1}/dx_k
    is the Jacobian of one step of that layer alone, and 0 says that this step neither shrinks nor stretches the
    gradient it is given. Adjoints are kept at unit size, so none underflows.

    Args:
      model: its cells may be rnnlab's or Flax's own; a cell's y is its h.
      inputs: [T, B, D].
      losses: the loss E of each example [B] from the outputs at the last `answers` steps.
      answers: N.

    Returns:
      By layer, `layer0`, ..., [T-1, B] by lag: lag 0 is the last transition. Where no gradient arrives (||dE/dx|| is
      exactly 0) the term is nan: there is nothing to keep.
    """
    passed = _passed(model, inputs, losses, answers)
    terms = [_terms(cell, parts) for cell, parts in zip(model.cells, passed, strict=True)]
    return {f"layer{layer}": found for layer, found in enumerate(terms)}


def regulariser(
    model: SequenceModel, inputs: Float[Array, "T B D"], losses: Losses, answers: int = 1
) -> Float[Array, ""]:
    """The mean of Omega_k over transitions and examples, summed over layers: what a weight of 4 is put before.

    Equation 9's sum is divided by the number of transitions that a gradient reaches, as its authors' program does, so
    that a weight does not depend on T. Its gradient is the paper's immediate one: only w_h where it stands in
    dx_{k+1}/dx_k is differentiated, and states, gates and dE/dx are constants (section 3.3, equation 10); that of
    every other parameter is zero. A sequence of one step has none: 0.

    Raises:
      ValueError: a cell that is no projection and update (Flax's own): which of its weights is w_h is not known.
    """
    for cell in model.cells:
        if not hasattr(cell, "projection"):
            raise ValueError(f"{type(cell).__name__} has no projection(), so its w_h is not known: use a rnnlab cell")
    total = jnp.zeros(())
    for cell, parts in zip(model.cells, _passed(model, inputs, losses, answers), strict=True):
        terms = _terms(cell, parts)
        alive = parts.norm > 0
        mean = jnp.sum(jnp.where(alive, terms, 0)) / jnp.maximum(jnp.sum(alive), 1)
        total = total + mean.astype(total.dtype)
    return total


class _Parts(NamedTuple):
    """What passes one layer's transitions, [T-1, B, ...] by lag, all of it constant."""

    norm: Array  # ||dE/dx_{k+1}||
    direct: list[Array]  # dE/dx_k through the update at fixed z, a carry component each
    dz: Array | None  # dE/dz_{k+1}, which w_h takes to h_k; none for a cell without a projection


def _terms(cell, parts: _Parts) -> Float[Array, "N B"]:
    *others, h = parts.direct
    if parts.dz is not None:
        h = h + (parts.dz @ cell.projection()[1].T.astype(parts.dz.dtype)).astype(h.dtype)
    alive = parts.norm > 0
    ratio = _norm([*others, h]) / jnp.where(alive, parts.norm, 1)
    return jnp.where(alive, jnp.square(ratio - 1), jnp.nan)


def _norm(leaves: list[Array]) -> Array:
    """Over all components; its derivative at zero is zero."""
    square = sum(jnp.sum(jnp.square(leaf.astype(wide(leaf))), axis=-1) for leaf in leaves)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _passed(model, inputs, losses, answers) -> list[_Parts]:
    """One walk over time and back, from which no gradient returns."""
    model, inputs = jax.lax.stop_gradient((model, inputs))
    carries = model.initial_carry(inputs.shape[1])

    def forward(carries, x):
        new, y = model.step(carries, x)
        return new, (carries, y)

    _, (before, ys) = jax.lax.scan(forward, carries, inputs)
    silent = len(ys) - answers
    d_late = jax.grad(lambda late: jnp.sum(losses(model.readout(late))))(ys[silent:])
    d_ys = jnp.zeros_like(ys).at[silent:].set(d_late)

    def body(state, step):
        d_carries, exponent = state
        carries, x, d_y = step
        d_y, entering = normalise(d_y, jnp.zeros_like(exponent))
        d_carries, d_y, common = common_frame(d_carries, exponent, d_y, entering)
        d_before, parts = _layers_back(model.cells, carries, x, d_carries, d_y)
        return normalise(d_before, common), parts

    zero = jax.tree.map(jnp.zeros_like, carries)
    start = zero, jnp.full(inputs.shape[1], NOTHING, jnp.int32)
    _, passed = jax.lax.scan(body, start, (before, inputs, d_ys), reverse=True)
    # The first step leads from the initial carry, which is no state of the sequence
    return jax.lax.stop_gradient(jax.tree.map(lambda part: part[:0:-1], passed))


def _layers_back(cells, carries, x, d_carries, d_y) -> tuple[list[PyTree], list[_Parts]]:
    """One step backwards, from the top layer down: adjoints of the carries before it, and what passed."""
    below = [x]
    for cell, carry in zip(cells[:-1], carries[:-1], strict=True):
        below.append(cell(carry, below[-1])[1])
    found: list[Any] = []
    for cell, carry, x, d_carry in reversed(list(zip(cells, carries, below, d_carries, strict=True))):
        leaves, treedef = jax.tree.flatten(d_carry)
        leaves[-1] = leaves[-1] + d_y.astype(leaves[-1].dtype)  # y is h
        d_carry = treedef.unflatten(leaves)
        dz = None
        if hasattr(cell, "projection"):
            w_x, w_h, _ = cell.projection()
            (_, y), pull = jax.vjp(cell.update, carry, cell.project(hidden(carry), x))
            direct, dz = pull((d_carry, jnp.zeros_like(y)))
            *others, h = jax.tree.leaves(direct)
            d_before = treedef.unflatten([*others, h + (dz @ w_h.T).astype(h.dtype)])
            d_y = dz @ w_x.T
        else:
            (_, y), pull = jax.vjp(lambda carry, x, cell=cell: cell(carry, x), carry, x)
            direct, d_y = pull((d_carry, jnp.zeros_like(y)))
            d_before = direct
        found.append((d_before, _Parts(_norm(leaves), jax.tree.leaves(direct), dz)))
    d_befores, parts = zip(*reversed(found), strict=True)
    return list(d_befores), list(parts)
