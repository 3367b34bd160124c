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

import functools
import math

from rnnlab.cells import LSTM
from rnnlab.probes.dynamics.gates import gate_map
from rnnlab.probes.gradients.paths import mean_shares
from rnnlab.reports import claims, figures, probe_figures, sentences
from rnnlab.reports.report import Report
from rnnlab.reports.tables import format_interval
from rnnlab.runs.results import Claim
from rnnlab.specs.grid import product
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
    return {"paths": mean_shares, "gates": time_scales}


def time_scales(model, inputs, losses, answers):
    return {"tau": gate_map(model, inputs).tau}


def report(results):
    longest = results.longest
    told = [_rate(longest[f"bias {b}"], b) for b in BIASES if f"bias {b}" in longest]  # --arms may have left some out
    if arm := longest.get("bias 1"):
        met = max(arm.at_end("c"), arm.at_end("c cell path")) < -3
        told.append(_ends("bias 1: the gradient vanishes along both paths", arm, "both below 1e-3", met))
    if arm := longest.get("bias 5"):
        met = arm.at_end("c") > 0 > arm.at_end("c cell path")
        told.append(
            _ends("bias 5: the full gradient outgrows the cell path", arm, "full above 1, cell path below", met)
        )
    told += claims.learned_where_reached(results, "Tallec & Ollivier 2018, section 3, for chrono", "c")
    return Report(
        answer=f"{sentences.reaching(longest, 'c')} {sentences.along_cell_path(longest)}",
        claims=told,
        columns=("learned", "path_decay", "horizon_c", "horizon_c_trained", "accuracy"),
        figures={
            "flow": functools.partial(figures.flow, component="c"),
            "paths": probe_figures.path_shares,
            "paths_trained": functools.partial(probe_figures.path_shares, when="trained"),
            "time_scales": probe_figures.time_scales,
            "map": probe_figures.gradient_map,
            "learning": figures.learning,
            "horizons": functools.partial(figures.horizons, component="c"),
        },
    )


def _rate(arm, bias):
    rate, expected = arm.decay_rate("init", "c cell path"), -math.log1p(math.exp(-bias))
    return Claim(f"bias {bias}: the cell path decays as the mean forget gate",
                 "log sigmoid(b_f), inputs and h neglected; within a factor of 2", f"{expected:.2g} nats/step",
                 format_interval(rate, 2), 0.5 <= rate.estimate / expected <= 2)  # fmt: skip


def _ends(says, arm, expected, met):
    measured = f"full 1e{arm.at_end('c'):.1f}, cell path 1e{arm.at_end('c cell path'):.1f} at lag {arm.length - 1}"
    return Claim(says, "a trial run with H = 64: 1e3.6 against 1e-4 at bias 5", expected, measured, met)
