"""Do networks that learn a long dependency have Lyapunov exponents near 0, and does pushing them there help?

Question. A gradient over lag L survives only along directions whose exponent is about -1/L or more. The leading
exponents of a vanilla RNN, the same after gradient flossing, and LSTMs are followed through training on Adding, beside
whether the task is learned.

Expectation. Flossing brings the leading exponents of the untrained network towards 0 and raises the horizon and the
success rate (Engelken 2023, sections 3 and 4). Trials that learn end with a top exponent nearer 0 than trials of the
same arm that do not (Vogt, Puelma Touzel, Shlizerman & Lajoie 2022).

Command. python -m rnnlab.run --exp=lyapunov [--tier=smoke|quick|paper]
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.probes.dynamics.jacobians import singular_values
from rnnlab.probes.dynamics.lyapunov import lyapunov_spectrum
from rnnlab.reports import claims, figures, probe_figures, sentences
from rnnlab.reports.report import Report
from rnnlab.reports.tables import format_interval
from rnnlab.specs.grid import product
from rnnlab.stats import estimates
from rnnlab.tasks import Adding

LENGTH = {"smoke": 20, "quick": 100, "paper": 500}
K = 8  # leading exponents followed, and flossed
PLAIN, FLOSSED = "VanillaRNN", "VanillaRNN flossed"


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
    rnn, updates = {"cell": VanillaRNN, "cell.recurrent": "normal"}, {"smoke": 5, "quick": 100, "paper": 500}[tier]
    chrono = {"cell": LSTM, "cell.bias": "chrono", "cell.max_lag": LENGTH[tier]}
    cells = {PLAIN: rnn, FLOSSED: rnn | {"train.floss": updates}, "LSTM": {"cell": LSTM}, "LSTM chrono": chrono}
    return product({f"Adding {LENGTH[tier]}": {"task.length": LENGTH[tier]}}, cells)


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
    arms, source = results.longest, "Engelken 2023, section {}"
    told, said = [], ""
    if {PLAIN, FLOSSED} <= set(arms):  # --arms may have left them out
        plain, flossed = arms[PLAIN], arms[FLOSSED]
        size = [estimates.median(arm.each(lambda t: np.abs(_exponents(t)).mean())) for arm in (plain, flossed)]
        says = f"flossing brings the {K} leading exponents towards 0 (their mean size)"
        told.append(claims.below(says, source.format(3), size[1], size[0], " nats/step"))
        says = "flossing lengthens the initial horizon of dL/dh"
        told.append(claims.above(says, source.format(4), flossed.horizon(), plain.horizon(), " steps"))
        says = "flossing raises the number of trials that learn"
        told.append(claims.more_learn(says, source.format(4), flossed, plain))
        said = f"Flossing brings a vanilla RNN's {K} leading exponents from a mean size of {size[0].estimate:.2g} to "
        said += f"{size[1].estimate:.2g} nats/step. "
    ended = {}
    for label, arm in arms.items():  # within one arm: between arms the cell would decide
        tops = [
            [abs(_exponents(t, "trained")[0]) for t in arm.trials if t.measured("trained") and t.learned == learned]
            for learned in (True, False)
        ]
        ended[f"{label}: trials that learn end nearer exponent 0"] = tuple(tops)
    told += claims.lower_ranks(ended, "Vogt et al. 2022")
    said += _ends(arms)
    drawn = {"exponents": probe_figures.exponents, "singular_values": probe_figures.singular_values}
    drawn["singular_values_trained"] = functools.partial(probe_figures.singular_values, when="trained")
    return Report(said + sentences.learned_by(arms), drawn | {"flow": figures.flow, "learning": figures.learning}, told)


def _ends(arms):
    """The size of the top exponent after training, of all trials that learned and of the others."""
    trained = [trial for arm in arms.values() for trial in arm.trials if trial.measured("trained")]
    sizes = {learned: [abs(_exponents(t, "trained")[0]) for t in trained if t.learned == learned]
             for learned in (True, False)}  # fmt: skip
    if not all(sizes.values()):
        return ""
    near, far = (format_interval(estimates.median(sizes[learned]), 2) for learned in (True, False))
    return f"Trials that learn end with a top exponent of size {near}, the others of {far}. "


def _exponents(trial, when="init"):
    return np.array(trial.probe("lyapunov", when)["exponents"])
