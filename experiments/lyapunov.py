"""Do networks that learn a long dependency have Lyapunov exponents near 0, and does pushing them there help?

Question. A gradient over lag L survives only along directions whose exponent is about -1/L or more. The leading
exponents of a vanilla RNN, the same after gradient flossing, and LSTMs are followed through training on Adding, beside
whether the task is learned.

Expectation. Flossing brings the leading exponents of the untrained network towards 0 and raises the horizon and the
success rate (Engelken 2023, sections 3 and 4). Trials that learn end with a top exponent nearer 0 than trials of the
same arm that do not (Vogt, Puelma Touzel, Shlizerman & Lajoie 2022).

Command. python -m rnnlab.run --exp=lyapunov [--tier=smoke|quick|paper]
"""

import jax
import jax.numpy as jnp
import numpy as np

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.probes.dynamics.jacobians import singular_values
from rnnlab.probes.dynamics.lyapunov import lyapunov_spectrum
from rnnlab.reports import figures, probe_figures
from rnnlab.reports.claims import Claim, claims_table, summary
from rnnlab.reports.horizon_tables import reach_table
from rnnlab.reports.report import Verdict
from rnnlab.reports.style import GREY, legend, marks, panels, styled
from rnnlab.reports.tables import format_interval
from rnnlab.specs.grid import product
from rnnlab.stats import estimates
from rnnlab.tasks import Adding

LENGTH = {"smoke": 20, "quick": 100, "paper": 500}
K = 8  # leading exponents followed, and flossed


def config(tier):
    common = {"task": Adding, "train.learning_rate": 3e-3, "train.floss_k": K}
    common |= {"flow.examples": 4, "train.clip_norm": 1.0}
    tiers = {
        "smoke": {"seeds": 2, "cell.features": 8, "train.steps": 20, "train.window": 10, "probe_every": 10},
        "quick": {"seeds": 4, "cell.features": 32, "train.steps": 2000, "train.window": 50, "probe_every": 200},
        "paper": {"seeds": 10, "cell.features": 80, "train.steps": 20_000, "probe_every": 500},
    }
    return common | tiers[tier]


def arms(tier):
    rnn = {"cell": VanillaRNN, "cell.recurrent": "normal"}
    updates = {"smoke": 5, "quick": 100, "paper": 500}[tier]
    return product({f"Adding {LENGTH[tier]}": {"task.length": LENGTH[tier]}}, {
        "VanillaRNN": rnn,
        "VanillaRNN flossed": rnn | {"train.floss": updates},
        "LSTM": {"cell": LSTM},
        "LSTM chrono": {"cell": LSTM, "cell.bias": "chrono", "cell.max_lag": LENGTH[tier]},
    })  # fmt: skip


def probes(spec):
    return {"lyapunov": spectrum, "jacobian": fan}


def fan(model, inputs, losses, answers):
    """log10 singular values of d state_T / d state_{T-k} along the first sequence."""
    lags = np.unique(np.linspace(1, len(inputs), 25).round().astype(int))
    found = singular_values(model.step, inputs[:, :1], lags.tolist(), carry=model.initial_carry(1))
    return {"lag": found.lags, "log10": found.log[:, 0] / jnp.log(10)}


def spectrum(model, inputs, losses, answers):
    """The K leading exponents of all layers together, the mean over sequences, in nats a step."""
    carry = model.initial_carry(inputs.shape[1])
    k = min(K, sum(leaf.shape[-1] for leaf in jax.tree.leaves(carry)))
    return {"exponents": jnp.mean(lyapunov_spectrum(model.step, inputs, k=k, carry=carry).exponents, axis=0)}


def report(results):
    (cells,) = figures.by_task(results).values()
    needed = next(iter(results["needed_lag"].values()), None)
    claims = _flossing(cells) if {"VanillaRNN", "VanillaRNN flossed"} <= set(cells) else []  # --arms may leave them out
    claims += [_learning(cell, trials) for cell, trials in cells.items()]
    if results["tier"] == "smoke":  # too little trained to tell
        claims = [claim._replace(met=None) for claim in claims]
    drawn = {
        "exponents": exponent_figure(cells, needed),
        "singular_values": probe_figures.singular_figure(cells),
        "singular_values_trained": probe_figures.singular_figure(cells, "trained"),
        "flow": figures.flow_figure(results),
        "learning": figures.learning_figure(results),
    }
    tables = [claims_table(claims), reach_table(results)]
    return Verdict(f"Exponents through training: {summary(claims)}", tables, drawn)


def _exponents(trial, when):
    return np.array(trial["probes"][when]["lyapunov"]["exponents"])


def _flossing(cells):
    plain, flossed = cells["VanillaRNN"], cells["VanillaRNN flossed"]
    size = [estimates.median([np.abs(_exponents(t, 0)).mean() for t in trials]) for trials in (plain, flossed)]
    horizon = [estimates.median([t["reach"]["init"]["h"]["horizon"] for t in trials]) for trials in (plain, flossed)]
    learned = [sum(t["status"] == "learned" for t in trials) for trials in (plain, flossed)]
    before, after = (format_interval(found) for found in size)
    many = min(len(plain), len(flossed)) > 1  # a single trial has no interval
    could_rise = learned[0] < len(plain)
    return [
        Claim(f"flossing brings the {K} leading exponents towards 0", "Engelken 2023, section 3",
              f"mean size below {before} nats/step", after, size[1].high < size[0].low if many else None),
        Claim("flossing lengthens the initial horizon of dL/dh", "Engelken 2023, section 4",
              f"above {horizon[0].estimate:g} steps", f"{horizon[1].estimate:g}",
              horizon[1].low > horizon[0].high if many else None),
        Claim("flossing raises the number of trials that learn", "Engelken 2023, section 4",
              f"above {learned[0]} of {len(plain)}", f"{learned[1]} of {len(flossed)}",
              learned[1] > learned[0] if could_rise else None),
    ]  # fmt: skip


def _learning(cell, trials):
    """Within one arm: between arms the cell would decide."""
    tops = {True: [], False: []}
    for trial in trials:
        if trial["status"] != "diverged":
            tops[trial["status"] == "learned"].append(abs(_exponents(trial, -1)[0]))
    learned, others = (estimates.median(tops[which]) for which in (True, False))
    met = learned.high < others.low if min(map(len, tops.values())) > 1 else None
    says, expected = f"{cell}: trials that learn end nearer exponent 0", f"below {format_interval(others)}"
    return Claim(says, "Vogt et al. 2022", expected, format_interval(learned), met)


@styled
def exponent_figure(cells, needed):
    """Leading exponents over training: the first with its range over trials, the others thin."""
    figure, (row,) = panels(1, len(cells), 2.2, sharey=True)
    looks = marks(cells)
    for axes, (cell, trials) in zip(row, cells.items(), strict=True):
        for trial in trials:
            steps = [found["step"] for found in trial["probes"]]
            spectra = np.array([found["lyapunov"]["exponents"] for found in trial["probes"]])
            axes.plot(steps, spectra[:, 1:], color=GREY, lw=0.3)
            axes.plot(steps, spectra[:, 0], color=looks[cell]["color"], lw=1.3)
        axes.axhline(0, color="k", lw=0.6)
        if needed:
            axes.axhline(-1 / needed, color="k", lw=0.8, ls=":")
        axes.set(title=cell, xlabel="update")
        axes.set_yscale("symlog", linthresh=0.1)
    row[0].set_ylabel("Lyapunov exponents (nats/step)")
    lines = row[0].plot([], [], color="k", lw=1.3, label="top exponent")
    lines += row[0].plot([], [], color=GREY, lw=0.6, label=f"exponents 2 to {K}")
    if needed:
        lines += row[0].plot([], [], color="k", lw=0.8, ls=":", label=f"-1/lag needed (lag {needed})")
    legend(figure, lines, [])
    figure.set_label(f"The {K} leading Lyapunov exponents through training, a line a trial; coloured: the top one.")
    return figure
