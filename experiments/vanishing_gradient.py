"""Does the gradient of a random network decay at its Lyapunov exponent, and an LSTM's cell path as its forget gates?

Question. A gradient walks back through the transposed Jacobians through which a perturbation walks forwards, so its
decay rate should be the top Lyapunov exponent of the driven network, whatever the loss. Measured on the same
sequences: the mean slope of log ||dL/dh_t|| over lags (backwards) and the exponent (forwards, by QR), for vanilla RNNs
over spectral radius and length; and for LSTMs the cell path against the sum of the logarithms of the forget gates.

Expectation. Rate = exponent within 2 % (Engelken, Wolf & Abbott 2023, section 2: the Jacobian's singular values grow at
the exponents), at the longest sequences and radii away from the transition, where the exponent is not 0. Cell path =
sum of log f to 1e-5 (Hochreiter & Schmidhuber 1997, section 3.2, with the forget gate of Gers et al. 2000).

Command. python -m rnnlab.run --exp=vanishing_gradient [--tier=smoke|quick|paper]
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.probes.dynamics.lyapunov import lyapunov_spectrum
from rnnlab.probes.gradients.extended_range import LOG10_2
from rnnlab.probes.gradients.flow import gradient_flow
from rnnlab.reports import figures
from rnnlab.reports.claims import Claim, claims_table, summary
from rnnlab.reports.horizon_tables import reach_table
from rnnlab.reports.report import Verdict
from rnnlab.reports.style import COLOURS, legend, marks, panels, styled
from rnnlab.reports.tables import format_interval
from rnnlab.specs.grid import product
from rnnlab.stats import estimates
from rnnlab.tasks import Adding
from rnnlab.theory.mean_field import tanh_network

RADII = [0.5, 0.8, 0.95, 1.1, 1.5, 2.0]
LENGTHS = {"smoke": [30], "quick": [200, 1000, 10_000], "paper": [200, 1000, 10_000, 50_000]}
INPUT_VARIANCE = 1 / 6  # of x_t w_x: two inputs, weights of variance 1/2, values of mean square 1/3, markers rare
NEAR_ZERO = 0.005  # nats a step: below it 2 % of an exponent is less than its own standard error


def config(tier):
    """No training. In float64, so that what differs is not rounding."""
    seeds = {"smoke": 2, "quick": 4, "paper": 10}[tier]
    common = {"task": Adding, "cell.dtype": "float64", "cell.param_dtype": "float64", "train.steps": 0, "seeds": seeds}
    return common | {"cell.features": 16 if tier == "smoke" else 64, "flow.examples": 4}


def arms(tier):
    tasks = {f"Adding {length}": {"task.length": length} for length in LENGTHS[tier]}
    networks = {f"g = {g}": {"cell": VanillaRNN, "cell.recurrent": "normal", "cell.spectral_radius": g} for g in RADII}
    networks |= {f"LSTM bias {b}": {"cell": LSTM, "cell.forget_bias": float(b)} for b in (1, 5)}
    return product(tasks, networks)


def probes(spec):
    return {"carousel": carousel} if isinstance(spec.cell, LSTM) else {"lyapunov": top_exponent}


def top_exponent(model, inputs, losses, answers):
    """The top exponent over each sequence, the mean over examples, in nats a step."""
    carry = model.initial_carry(inputs.shape[1])
    return {"top": jnp.mean(lyapunov_spectrum(model.step, inputs, k=1, warmup=0, carry=carry).exponents)}


def carousel(model, inputs, losses, answers):
    """The largest difference, in log10, of the cell path's norm from the product of forget gates by unit."""
    top, inner = f"layer{len(model.cells) - 1}", model.intermediates(inputs)
    f, o, c, h = (inner[f"{top}/{name}"] for name in "foch")
    d_h = jax.grad(lambda h: jnp.sum(losses(model.readout(h[None]))))(h[-1])
    start = jnp.log(jnp.abs(d_h * o[-1] * (1 - jnp.tanh(c[-1]) ** 2)))  # dL/dc_T
    sums = jnp.cumsum(jnp.log(f[:0:-1]), axis=0)
    logs = start + jnp.concatenate([jnp.zeros_like(sums[:1]), sums])
    expected = jax.nn.logsumexp(2 * logs, axis=-1) / (2 * jnp.log(10))
    path = gradient_flow(model, inputs, losses, answers)[f"{top}/c cell path"]
    return {"difference": jnp.max(jnp.abs(jnp.log10(path.mantissa) + path.exponent * LOG10_2 - expected))}


def report(results):
    tasks = figures.by_task(results)
    longest = max(tasks, key=lambda task: int(task.split()[-1]))
    claims = [_rate(cell, trials) for cell, trials in tasks[longest].items() if cell.startswith("g")]
    if results["tier"] == "smoke":  # too short to tell
        claims = [claim._replace(met=None) for claim in claims]
    claims += [_carousel(cell, tasks) for cell in tasks[longest] if cell.startswith("LSTM")]
    drawn = {
        "rate": rate_figure(tasks),
        "mean_field": mean_field_figure(tasks[longest]),
        "flow": figures.flow_figure(results),
    }
    sentence = f"At initialisation, {longest}: {summary(claims)}"
    return Verdict(sentence, [claims_table(claims), reach_table(results)], drawn)


def _rates(trials):
    """(measured decay rates, top exponents), nats a step, a pair a trial.

    The rate is taken from end to end: over the same steps as the exponent, so that the fluctuations of both, which
    over T steps are of the order of 1 / sqrt(T), are the same ones.
    """
    profiles = [trial["profiles"]["init"] for trial in trials]
    return (
        [(p["h"][-1] - p["h"][0]) * math.log(10) / p["lag"][-1] for p in profiles],
        [trial["probes"][0]["lyapunov"]["top"] for trial in trials],
    )


def _rate(cell, trials):
    measured, exponents = _rates(trials)
    apart = float(np.max([abs(m - e) / abs(e) for m, e in zip(measured, exponents, strict=True)]))
    expected = estimates.mean(exponents)
    near = abs(expected.estimate) < NEAR_ZERO
    return Claim(
        f"{cell}: decay rate is the top Lyapunov exponent", "Engelken, Wolf & Abbott 2023, section 2; 2 %",
        f"{format_interval(expected)} nats/step",
        f"{format_interval(estimates.mean(measured))}, at most {100 * apart:.2g} % apart",
        None if near else apart <= 0.02,
    )  # fmt: skip


def _carousel(cell, tasks):
    found = [t["probes"][0]["carousel"]["difference"] for cells in tasks.values() for t in cells.get(cell, [])]
    worst = float(np.max(found))  # nan counts
    source = "Hochreiter & Schmidhuber 1997, section 3.2"
    return Claim(f"{cell}: cell path is the sum of log f", source, "1e-5 in log10", f"{worst:.1e}", worst <= 1e-5)


@styled
def rate_figure(tasks):
    """Measured decay rate over the top Lyapunov exponent of the same trial."""
    rates = {task: [_rates(cells[cell]) for cell in cells if cell.startswith("g")] for task, cells in tasks.items()}
    if not any(rates.values()):  # --arms may have left out every vanilla RNN
        return None
    figure, ((axes,),) = panels(1, 1, 2.6)
    looks = marks(task for task, found in rates.items() if found)
    handles = []
    for task in looks:
        measured, exponents = np.array(rates[task]).swapaxes(0, 1)
        look = looks[task] | {"ls": "", "mfc": "none"}
        handles += axes.plot(exponents.ravel(), measured.ravel(), **look, label=task)
    ends = np.array(axes.get_xlim())
    lines = axes.plot(ends, ends, color="k", lw=0.8, zorder=0, label="theory: rate = exponent")
    for axis in (axes.axhline, axes.axvline):
        axis(0, color="0.6", lw=0.6, ls=":")
    axes.set(xlabel="top Lyapunov exponent (nats/step)", ylabel="rate of dL/dh over lags\n(nats/step)")
    legend(figure, handles, lines)
    figure.set_label("Decay rate of dL/dh over the top Lyapunov exponent, a marker a trial, over all spectral radii.")
    return figure


@styled
def mean_field_figure(cells):
    """Measured decay rate over the spectral radius, and what mean-field theory predicts for infinite width."""
    measured = {float(cell.split()[-1]): _rates(cells[cell])[0] for cell in cells if cell.startswith("g")}
    if not measured:
        return None
    figure, ((axes,),) = panels(1, 1, 2.4)
    for radius, found in measured.items():
        axes.plot([radius] * len(found), found, "o", color=COLOURS[0], mfc="none")
    radii = np.linspace(0.3, 2.2, 80)
    rates = [tanh_network(g, input_variance=INPUT_VARIANCE).rate for g in radii]
    lines = axes.plot(radii, rates, color="k", lw=1, label="mean field (Chen et al. 2018), infinite width")
    axes.axhline(0, color="0.6", lw=0.6, ls=":")
    axes.set(xlabel="spectral radius g of $w_h$", ylabel="rate of dL/dh over lags\n(nats/step)")
    legend(figure, axes.plot([], [], "o", color=COLOURS[0], mfc="none", label="measured, a trial"), lines)
    figure.set_label("Decay rate of dL/dh at the longest length by spectral radius; line: mean-field theory.")
    return figure
