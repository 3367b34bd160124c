"""Gate statistics over time: how often gates are saturated, the time scale of the forget gate, and how much of the
error carousel is left at each lag.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rnnlab.model import SequenceModel
from rnnlab.model.layer import internals
from rnnlab.probes.gradients.extended_range import LOG10_2
from rnnlab.probes.gradients.flow import gradient_flow
from rnnlab.probes.precision import at_full_precision
from rnnlab.scan.projected import hidden
from rnnlab.scan.segments import sum_dtype
from rnnlab.specs.errors import Undefined

LEFT, RIGHT = 0.1, 0.9  # Karpathy, Johnson & Fei-Fei 2015, section 4.2
FAR = 30.0  # at z = +-FAR every bounded gate is saturated


class Saturation(NamedTuple):
    """Fractions of all steps and examples, by unit."""

    left: Float[Array, " H"]  # below 0.1: closed
    right: Float[Array, " H"]  # above 0.9: open


class Gates(NamedTuple):
    """What `gate_map` measures of one layer."""

    saturation: dict[str, Saturation]  # by gate
    tau: Float[Array, " H"]  # steps
    carousel: Float[Array, "T H"]  # log10, by lag


@at_full_precision
def gate_map(model: SequenceModel, inputs: Float[Array, "T B D"], layer: int = -1) -> Gates:
    """Saturation of every gate, and time scale and carousel of the forget gate, of one layer on these inputs.

    Raises:
      Undefined: the layer's cell has no gates, or no forget gate f.
    """
    gates = gate_values(model, inputs, layer)
    if "f" not in gates:
        raise Undefined(f"{type(model.cells[layer]).__name__} has no forget gate f: its gates are {', '.join(gates)}")
    saturation = {name: saturated(gate) for name, gate in gates.items()}
    return Gates(saturation, time_scale(gates["f"]), carousel(gates["f"]))


@at_full_precision
def gate_values(model: SequenceModel, inputs: Float[Array, "T B D"], layer: int = -1) -> dict[str, Array]:
    """The gates of one layer over time, by name, [T, B, H] each; of the top one, left out.

    A gate is a named internal of the cell that stays in [0, 1] wherever z goes, which an LSTM's tanh candidate g
    does not.

    Raises:
      Undefined: the layer's cell has no gates. Flax's own cells name none.
    """
    cell = model.cells[layer]
    name = type(cell).__name__
    if not hasattr(cell, "gates"):
        raise Undefined(f"{name} names no gates: only a cell with gates(z), as rnnlab's are, can be read")
    with jax.ensure_compile_time_eval():  # which internals are gates is settled before anything is compiled
        known = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), cell)  # gates may read parameters, as gains
        carry = known.initialize_carry((2, cell.in_features))
        h = hidden(carry)
        width = jax.eval_shape(known.project, h, jnp.zeros((2, cell.in_features), h.dtype)).shape[1]
        z = FAR * (-1.0) ** jnp.arange(width)
        ends = internals(known, carry, jnp.stack([z, -z]))
        bounded = [gate for gate, values in ends.items() if bool(jnp.all((values >= 0) & (values <= 1)))]
    if not bounded:
        raise Undefined(f"{name} has no gates: its named internals are {', '.join(ends) or 'none'}")
    found = model.intermediates(inputs)
    prefix = f"layer{layer % len(model.cells)}/"
    return {gate: found[prefix + gate] for gate in bounded}


def saturated(gate: Float[Array, "T B H"], left: float = LEFT, right: float = RIGHT) -> Saturation:
    """How often each unit's gate is below `left` and above `right`.

    Karpathy, Johnson & Fei-Fei 2015, Visualizing and understanding recurrent networks, section 4.2. A nan is neither.
    """
    return Saturation(jnp.mean(gate < left, axis=(0, 1)), jnp.mean(gate > right, axis=(0, 1)))


def time_scale(forget: Float[Array, "T B H"]) -> Float[Array, " H"]:
    """tau = -1 / mean log f by unit, in steps: the time in which a unit's cell state falls by a factor of e.

    The mean over time and examples is of log f and not of tau, so that exp(-k / tau) is the carousel's decay over k
    steps, the product of forget gates; a unit whose gate is 1 throughout has tau inf, one whose gate is ever 0 has 0.
    After Tallec & Ollivier 2018, Can recurrent neural networks warp time, section 3: their 1 / (1 - f) is
    tau + 1/2 for slow units.
    """
    rate = -jnp.mean(jnp.log(forget.astype(sum_dtype(forget))), axis=(0, 1))
    return jnp.where(rate == 0, jnp.inf, 1 / rate)


def carousel(forget: Float[Array, "T B H"]) -> Float[Array, "T H"]:
    """log10 of the product of the last k forget gates, by lag k and unit; lag 0 is 0; the mean over examples.

    The part of dL/dc at the last step that is left k steps before along c_t = f c_{t-1} + ... alone: the constant
    error carousel of Hochreiter & Schmidhuber 1997, section 3.2, with forget gates. -inf after a gate of exactly 0.
    """
    logs = jnp.mean(jnp.log10(forget.astype(sum_dtype(forget))), axis=1)
    return jnp.concatenate([jnp.zeros_like(logs[:1]), jnp.cumsum(logs[:0:-1], axis=0)])


@at_full_precision
def cell_path_difference(model, inputs, losses, answers) -> dict[str, Float[Array, ""]]:
    """The largest difference, in log10, of an LSTM's cell path from the product of its forget gates.

    dL/dc_T of the last step times f_T f_{T-1} ... by unit, from the gates of the forward pass, against the norm that
    `gradient_flow` finds in the backward pass: two independent ways to the same number.
    """
    top, inner = f"layer{len(model.cells) - 1}", model.intermediates(inputs)
    f, o, c, h = (inner[f"{top}/{name}"] for name in "foch")
    d_h = jax.grad(lambda h: jnp.sum(losses(model.readout(h[None]))))(h[-1])
    start = jnp.log(jnp.abs(d_h * o[-1] * (1 - jnp.tanh(c[-1]) ** 2)))  # dL/dc_T
    sums = jnp.cumsum(jnp.log(f[:0:-1]), axis=0)
    logs = start + jnp.concatenate([jnp.zeros_like(sums[:1]), sums])
    expected = jax.nn.logsumexp(2 * logs, axis=-1) / (2 * jnp.log(10))
    path = gradient_flow(model, inputs, losses, answers)[f"{top}/c cell path"]
    return {"difference": jnp.max(jnp.abs(jnp.log10(path.mantissa) + path.exponent * LOG10_2 - expected))}
