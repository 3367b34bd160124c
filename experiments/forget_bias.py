"""Which forget-gate bias lets an LSTM's gradient through, and is what arrives the cell path's?

Question. The cell state is said to carry a gradient without loss. Over how many steps it does depends on the forget
gates, so on their bias b_f: the cell path shrinks by about sigmoid(b_f) a step. What flows besides, through the gates
and h, may fill the gap or explode. Full and cell path are measured apart, at initialisation and after training on
Adding, for b_f = 0, 1, 3, 5 and chrono gates.

Expectation. At b_f = 1 (Jozefowicz, Zaremba & Sutskever 2015) both paths vanish: sigmoid(1) = .73 halves the cell path
every 2.2 steps. At b_f = 5 the cell path alone falls as sigmoid(5)^k, to 1e-4..1e-2 at lag 999, while the full gradient
explodes along h. Only biases whose horizon covers the task's lag (5, chrono: Tallec & Ollivier 2018) learn it.

Command. python -m rnnlab.run --exp=forget_bias [--tier=smoke|quick|paper]
"""

import math

import jax.numpy as jnp
import numpy as np

from rnnlab.cells import LSTM
from rnnlab.probes.dynamics.gates import gate_map
from rnnlab.probes.gradients.paths import gradient_paths
from rnnlab.reports import figures, probe_figures
from rnnlab.reports.claims import Claim, claims_table, summary
from rnnlab.reports.fits import fit_table
from rnnlab.reports.horizon_tables import reach_table
from rnnlab.reports.report import Verdict
from rnnlab.reports.tables import format_interval
from rnnlab.specs.grid import product
from rnnlab.stats import estimates
from rnnlab.tasks import Adding

BIASES = [0, 1, 3, 5]
STEPS = {"smoke": {40: 20}, "quick": {200: 2000, 1000: 500}, "paper": {200: 20_000, 1000: 50_000}}  # updates, by T


def config(tier):
    common = {"cell": LSTM, "task": Adding, "train.learning_rate": 3e-3, "train.clip_norm": 1.0, "cell.features": 64}
    tiers = {
        "smoke": {"seeds": 2, "cell.features": 8, "train.window": 10, "train.eval_size": 32},
        "quick": {"seeds": 3, "cell.features": 32, "train.window": 50, "train.eval_size": 128},
        "paper": {"seeds": 10},
    }
    return common | tiers[tier]


def arms(tier):
    lengths = STEPS[tier].items()
    tasks = {f"Adding {length}": {"task.length": length, "train.steps": steps} for length, steps in lengths}
    found = product(tasks, {f"bias {b}": {"cell.forget_bias": float(b)} for b in BIASES})
    for name, task in tasks.items():
        found[f"{name}/chrono"] = task | {"cell.bias": "chrono", "cell.max_lag": task["task.length"]}
    return found


def probes(spec):
    return {"paths": shares, "gates": time_scales}


def shares(model, inputs, losses, answers):
    """What each path adds to dL/dc by lag, the mean over examples; see rnnlab.probes.gradients.paths."""
    lags = np.unique(np.geomspace(1, len(inputs), 120).round().astype(int)) - 1
    found = gradient_paths(model, inputs, losses, answers)[f"layer{len(model.cells) - 1}/c"].along
    roads = {name: jnp.ldexp(s.mantissa, s.exponent)[lags] for name, s in found.items()}
    parts = {"direct": roads["direct"]} | {f"via {g}": roads[f"via {g}"] - roads["direct"] for g in "gifo"}
    parts["cross"] = 1 - sum(parts.values())
    return {name: jnp.nanmean(part, axis=1) for name, part in parts.items()} | {"lag": jnp.asarray(lags)}


def time_scales(model, inputs, losses, answers):
    return {"tau": gate_map(model, inputs).tau}


def report(results):
    tasks = figures.by_task(results)
    far, cells = max(tasks.items(), key=lambda item: int(item[0].split()[-1]))
    claims = [_rate(cells, b) for b in BIASES if f"bias {b}" in cells]  # --arms may have left some out
    claims += [judge(cells[cell]) for cell, judge in (("bias 1", _vanishes), ("bias 5", _explodes)) if cell in cells]
    claims += [_learns(needed, task, tasks[task]) for task, needed in results["needed_lag"].items()]
    if results["tier"] == "smoke":  # too short and too little trained to tell
        claims = [claim._replace(met=None) for claim in claims]
    drawn = {
        "flow": figures.flow_figure(results, full="c"),
        "paths": probe_figures.shares_figure(cells),
        "paths_trained": probe_figures.shares_figure(cells, "trained"),
        "tau": probe_figures.tau_figure(results),
        "map": probe_figures.map_figure(results),
        "learning": figures.learning_figure(results),
        "reach": figures.reach_figure(results),
    }
    sentence = f"Gradients of a loss at the end of {far} at initialisation, then training: {summary(claims)}"
    return Verdict(sentence, [claims_table(claims), reach_table(results), fit_table(results, "c")], drawn)


def _at_end(trials, name):
    """log10 of the adjoint at the largest lag over lag 0, the mean over trials; and that lag."""
    profiles = [trial["profiles"]["init"] for trial in trials]
    return float(np.mean([p[name][-1] - p[name][0] for p in profiles])), profiles[0]["lag"][-1]


def _rate(cells, bias):
    rates = [trial["reach"]["init"]["c cell path"]["decay_rate"] for trial in cells[f"bias {bias}"]]
    rate, expected = estimates.mean(rates), -math.log1p(math.exp(-bias))
    return Claim(
        f"bias {bias}: the cell path decays as the mean forget gate",
        "log sigmoid(b_f), inputs and h neglected; within a factor of 2",
        f"{expected:.2g} nats/step",
        f"{format_interval(rate, 2)}",
        0.5 <= rate.estimate / expected <= 2,
    )


def _vanishes(trials):
    full, lag = _at_end(trials, "c")
    path, _ = _at_end(trials, "c cell path")
    return Claim(
        "bias 1: the gradient vanishes along both paths", "replicates a trial run of this lab",
        "both below 1e-3", f"full 1e{full:.0f}, cell path 1e{path:.0f} at lag {lag}", max(full, path) < -3,
    )  # fmt: skip


def _explodes(trials):
    full, lag = _at_end(trials, "c")
    path, _ = _at_end(trials, "c cell path")
    return Claim(
        "bias 5: the full gradient outgrows the cell path", "replicates a trial run (1e3.6 against 1e-4, H = 64)",
        "full above 1, cell path below", f"full 1e{full:.1f}, cell path 1e{path:.1f} at lag {lag}", full > 0 > path,
    )  # fmt: skip


def _learns(needed, task, cells):
    """The cells that learned in most trials are those whose initial horizon covers the lag."""
    learned = {c for c, trials in cells.items() if 2 * sum(t["status"] == "learned" for t in trials) > len(trials)}
    horizons = {
        c: estimates.median([t["reach"]["init"]["c"]["horizon"] for t in trials]) for c, trials in cells.items()
    }
    reaching = {cell for cell, horizon in horizons.items() if horizon.estimate >= needed}
    return Claim(
        f"{task}: learned where the initial horizon of dL/dc covers lag {needed}",
        "Tallec & Ollivier 2018, section 3, for chrono",
        ", ".join(sorted(reaching)) or "none", ", ".join(sorted(learned)) or "none", learned == reaching,
    )  # fmt: skip
