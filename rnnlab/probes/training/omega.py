"""How well each step preserves the norm of the gradient through it, and the regulariser that rewards it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rnnlab.model import SequenceModel
from rnnlab.probes.gradients.reverse_scan import Losses, StepAdjoints, reverse_scan
from rnnlab.scan.segments import sum_dtype
from rnnlab.specs.errors import Undefined


def omega(
    model: SequenceModel, inputs: Float[Array, "T B D"], losses: Losses, answers: int = 1
) -> dict[str, Float[Array, "N B"]]:
    """Omega_k = (||dE/dx_{k+1} dx_{k+1}/dx_k|| / ||dE/dx_{k+1}|| - 1)^2 at every transition and of each example.

    Pascanu, Mikolov & Bengio 2013, On the difficulty of training recurrent neural networks, equation 9, whose Omega
    is the sum over k. The state x is a layer's whole carry (an LSTM's c and h as one vector, a vanilla RNN's h), and
    dE/dx_t the derivative by what leaves step t as later steps, the layer above and the readout read it: dx_{k+1}/dx_k
    is the Jacobian of one step of that layer alone, and 0 means that this step neither shrinks nor stretches the
    gradient. Each layer's adjoint is kept at unit size, so none underflows.

    Args:
      model: its cells may be rnnlab's or Flax's own; a cell's y is its h.
      inputs: [T, B, D].
      losses: the loss E of each example [B] from the outputs at the last `answers` steps.
      answers: N.

    Returns:
      By layer, `layer0`, ..., [T-1, B] by lag: lag 0 is the last transition. Where no gradient arrives (||dE/dx|| is
      exactly 0) the term is nan: there is no norm to preserve.
    """
    found = reverse_scan(model, inputs, losses, answers, np.ones((1, 1), bool), _of_step)
    return {f"layer{layer}": terms[:-1] for layer, terms in enumerate(found)}  # the first step leads from no state


class Sums(NamedTuple):
    """The regulariser's numerators and denominators, of a batch or of a part of one."""

    terms: Float[Array, " L"]  # Omega_k added up over transitions and examples, by layer
    count: Float[Array, " L"]  # of transitions that a gradient reaches

    def mean(self) -> Float[Array, ""]:
        """The regulariser. Where nothing is reached a layer's mean is 0."""
        return jnp.sum(jnp.where(self.count > 0, self.terms / jnp.where(self.count > 0, self.count, 1), 0))


def regulariser(
    model: SequenceModel, inputs: Float[Array, "T B D"], losses: Losses, answers: int = 1
) -> Float[Array, ""]:
    """The mean of Omega_k over transitions and examples, summed over layers; the paper's weight for it is 4.

    Equation 9's sum is divided by the number of transitions that a gradient reaches, as its authors' program does, so
    that a weight does not depend on T. Its gradient is the paper's immediate one: only w_h where it stands in
    dx_{k+1}/dx_k is differentiated, and states, gates and dE/dx are constants (section 3.3, equation 10); that of
    every other parameter is zero. A sequence of one step has none: 0.

    Raises:
      Undefined: a cell without projection and update (Flax's own), as it is not known which of its weights is w_h, or
        one without w_h.
    """
    return regulariser_sums(model, inputs, losses, answers).mean()


def regulariser_sums(model: SequenceModel, inputs: Float[Array, "T B D"], losses: Losses, answers: int = 1) -> Sums:
    """`regulariser` as numerators and denominators, for a batch of which each device has a part.

    Which transitions a gradient reaches may differ between parts, so the mean of their means depends on how many
    there are. With the counts' mean over devices in place of each count, the mean of `mean()` and of its gradient over
    devices are those of the whole batch.
    """
    for cell in model.cells:
        if not hasattr(cell, "projection"):
            raise Undefined(f"{type(cell).__name__} has no projection(), so its w_h is not known")
        if getattr(cell, "w_h", cell) is None:
            raise Undefined(f"{type(cell).__name__} has no w_h, which is all that the regulariser moves")
    sums, counts = [], []
    for cell, of in zip(model.cells, _transitions(model, inputs, losses, answers), strict=True):
        alive = of.norm > 0
        sums.append(jnp.sum(jnp.where(alive, _frozen(cell, of), 0)))
        counts.append(jnp.sum(alive).astype(sums[-1].dtype))
    return Sums(jnp.stack(sums), jnp.stack(counts))


class _Transition(NamedTuple):
    """Adjoints at one layer's transitions, [T-1, B, ...] by lag, all constant and in the step's own scale."""

    norm: Array  # ||dE/dx_{k+1}||
    direct: list[Array]  # dE/dx_k through the update at fixed z, a carry component each
    dz: Array  # dE/dz_{k+1}, which w_h takes to h_k


def _transitions(model, inputs, losses, answers) -> list[_Transition]:
    """Each layer's, by one forward and one backward pass that are constants to differentiation."""
    model, inputs = jax.lax.stop_gradient((model, inputs))
    found = reverse_scan(model, inputs, losses, answers, np.ones((1, 1), bool), _transition)
    return jax.lax.stop_gradient(jax.tree.map(lambda part: part[:-1], found))


def _of_step(adjoints: StepAdjoints) -> Float[Array, "n B"]:
    return _term(_norm(jax.tree.leaves(adjoints.before)), _arriving(adjoints))[:, 0]


def _transition(adjoints: StepAdjoints) -> _Transition:
    norm, direct, d_z = jax.tree.map(lambda d: d[:, 0], (_arriving(adjoints), adjoints.direct, adjoints.d_z))
    return _Transition(norm, jax.tree.leaves(direct), d_z)


def _arriving(adjoints: StepAdjoints) -> Float[Array, "n P B"]:
    *others, h = jax.tree.leaves(adjoints.later)
    return _norm([*others, h + adjoints.d_y.astype(h.dtype)])  # y is h


def _frozen(cell, of: _Transition) -> Float[Array, "N B"]:
    """The terms in which nothing but w_h is differentiated."""
    *others, h = of.direct
    h = h + (of.dz @ cell.projection()[1].T.astype(of.dz.dtype)).astype(h.dtype)
    return _term(_norm([*others, h]), of.norm)


def _term(passed: Array, arriving: Array) -> Array:
    alive = arriving > 0
    return jnp.where(alive, jnp.square(passed / jnp.where(alive, arriving, 1) - 1), jnp.nan)


def _norm(leaves: list[Array]) -> Array:
    """Over all components; its derivative at zero is zero."""
    square = sum(jnp.sum(jnp.square(leaf.astype(sum_dtype(leaf))), axis=-1) for leaf in leaves)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
