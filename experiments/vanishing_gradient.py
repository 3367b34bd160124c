"""Does the gradient of a random network decay at its Lyapunov exponent, and an LSTM's cell path as its forget gates?

Question. The backward pass multiplies a gradient by the transposed Jacobians through which a perturbation grows in the
forward pass, so its decay rate should be the top Lyapunov exponent of the driven network, whatever the loss. Measured
on the same sequences: the mean slope of log ||dL/dh_t|| over lags (backwards) and the exponent (forwards, by QR), for
vanilla RNNs over spectral radius and length; and for LSTMs the cell path against the sum of the logarithms of the
forget gates.

Expectation. Rate = exponent within 2 % (Engelken, Wolf & Abbott 2023, section 2: the Jacobian's singular values grow at
the exponents), at the longest sequences and radii away from the transition, where the exponent is not 0. Cell path =
sum of log f to 1e-5 (Hochreiter & Schmidhuber 1997, section 3.2, with the forget gate of Gers et al. 2000).

Command. python -m rnnlab.run --exp=vanishing_gradient [--tier=smoke|quick|paper]
"""

from functools import partial

import jax.numpy as jnp
import numpy as np

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.probes.dynamics.gates import cell_path_difference
from rnnlab.probes.dynamics.lyapunov import lyapunov_spectrum
from rnnlab.reports import figures
from rnnlab.reports.lyapunov_rates import against_exponent, decays_at_exponent, having_exponents
from rnnlab.reports.radius_rates import against_theory, mean_field_on_adding
from rnnlab.reports.report import Report, among
from rnnlab.runs.results import Claim
from rnnlab.specs.grid import product
from rnnlab.tasks import Adding

RADII = [0.5, 0.8, 0.95, 1.1, 1.5, 2.0]
LENGTHS = {"smoke": [30], "quick": [200, 1000, 10_000], "paper": [200, 1000, 10_000, 50_000]}


def config(tier):
    """No training. In float64, so that what differs is not rounding."""
    seeds = {"smoke": 2, "quick": 4, "paper": 10}[tier]
    common = {"task": Adding, "cell.dtype": "float64", "cell.param_dtype": "float64", "train.steps": 0, "seeds": seeds}
    return common | {"cell.features": 16 if tier == "smoke" else 64, "flow.examples": 4}


def arms(tier):
    tasks = {f"Adding {length}": {"task.length": length} for length in LENGTHS[tier]}
    networks = {f"g={g}": {"cell": VanillaRNN, "cell.recurrent": "normal", "cell.spectral_radius": g} for g in RADII}
    networks |= {f"LSTM bias {b}": {"cell": LSTM, "cell.forget_bias": float(b)} for b in (1, 5)}
    return product(tasks, networks)


def probes(spec):
    return {"carousel": cell_path_difference} if type(spec.cell) is LSTM else {"lyapunov": top_exponent}


def top_exponent(model, inputs, losses, answers):
    """The top exponent over each sequence, the mean over examples, in nats a step."""
    carry = model.initial_carry(inputs.shape[1])
    return {"top": jnp.mean(lyapunov_spectrum(model.step, inputs, k=1, warmup=0, carry=carry).exponents)}


def report(results):
    source = "Engelken, Wolf & Abbott 2023, section 2"
    told = [decays_at_exponent(arm, source, 0.02) for arm in having_exponents(results.longest.values())]
    judged = [claim for claim in told if claim.met is not None]
    length, met = next(iter(results.longest.values())).length, sum(claim.met for claim in judged)
    said = []
    if judged:
        said.append(f"At T = {length:,} the decay rate is the top Lyapunov exponent to 2 % at {met} of {len(judged)} "
                    "spectral radii whose exponent is not near 0.")  # fmt: skip
    found = {}
    for arm in results.arms.values():
        if off := arm.each(lambda trial: (trial.probe("carousel") or {}).get("difference")):
            found.setdefault(arm.label, []).extend(off)
    worst = {label: float(np.max(off)) for label, off in found.items()}  # nan counts
    if worst:
        said.append(f"An LSTM's cell path is the product of its forget gates to {max(worst.values()):.0e} in log10.")
    for label, off in worst.items():
        told.append(Claim(f"{label}: cell path is the sum of log f", "Hochreiter & Schmidhuber 1997, section 3.2",
                          "1e-5 in log10", f"{off:.1e}", off <= 1e-5))  # fmt: skip
    theory = {"tanh": ("mean field, infinite width", mean_field_on_adding)}
    networks = [arm.name for arm in having_exponents(results.longest.values())]
    radius = among(partial(against_theory, theory=theory, setting="cell.activation"), networks)
    drawn = {"rate": against_exponent, "flow": figures.flow, "mean_field": radius}
    return Report(
        " ".join(said) or "No exponent was measured.",
        drawn,
        told,
        columns=("decay", "path_decay", "half_life", "horizon"),
    )
