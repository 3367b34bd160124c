"""When does a vanilla RNN's gradient explode, and what does clipping save?

Question. A gradient that grows with the lag turns one update into a jump. Two halves: the norm of dL/dh by lag in
random networks before training, linear and tanh, with spectral radius g; and whether plain SGD learns the temporal
order problem without clipping and at six thresholds, from identity weights with ReLU (Le, Jaitly & Hinton 2015). Beside
them the cliff in the error surface of two parameters, x_t = w sigmoid(x_{t-1}) + b (Pascanu et al. 2013, figure 6),
drawn with its closed form and no claim on a run.

Expectation. Linear: dL/dh_{T-k} = (w_h^T)^k dL/dh_T, so the rate is log g (Pascanu, Mikolov & Bengio 2013, section
2.1). Tanh: (log chi_1) / 2 of mean-field theory at infinite width (Chen, Pennington & Schoenholz 2018), here with 128
units. Clipping: section 3.2 of Pascanu et al., on a task of their section 4.1.

Command. python -m rnnlab.run --exp=exploding_gradient [--tier=smoke|quick|paper]
"""

import functools
import math

from rnnlab.cells import VanillaRNN
from rnnlab.reports import claims, figures, scatter, theory_figures
from rnnlab.reports.radius_rates import against_theory, follows_theory, mean_field_on_adding
from rnnlab.reports.report import Report, among
from rnnlab.reports.tables import listed
from rnnlab.specs.grid import product
from rnnlab.tasks import Adding, TemporalOrder

LENGTH = {"smoke": 30, "quick": 500, "paper": 2000}
UPDATES = {"smoke": 20, "quick": 2000, "paper": 20_000}
SEEDS = {"smoke": 2, "quick": 8, "paper": 20}
CLIPS = [None, 100.0, 10.0, 1.0, 0.1, 0.01, 0.001]
THEORY = {
    "linear": ("log g", math.log, 0.03),  # and how far off the measured rate may be
    "tanh": ("mean field", mean_field_on_adding, 0.15),  # at infinite width
}


def config(tier):
    return {"cell": VanillaRNN, "cell.features": 16 if tier == "smoke" else 128, "seeds": SEEDS[tier],
            "train.optimizer": "sgd", "train.learning_rate": 0.1}  # fmt: skip


def arms(tier):
    """Untrained ones first; linear ones in float64, since their states grow as fast as their gradients."""
    flow = {"task": Adding, "task.length": LENGTH[tier], "train.steps": 0, "cell.recurrent": "normal"}
    linear = {f"Linear {LENGTH[tier]}": flow | {"cell.activation": "linear", "cell.dtype": "float64"}}
    tanh = {f"Tanh {LENGTH[tier]}": flow | {"cell.activation": "tanh"}}
    found = product(linear, {f"g={g}": {"cell.spectral_radius": g} for g in (0.9, 1.1, 1.2)})
    found |= product(tanh, {f"g={g}": {"cell.spectral_radius": g} for g in (0.9, 2.0, 3.0, 4.0)})
    train = {"task": TemporalOrder, "task.length": 30, "train.steps": UPDATES[tier], "cell.activation": "relu"}
    train = {"TemporalOrder 30": train | {"cell.recurrent": "identity"}}
    return found | product(train, {f"clip {c}": {"train.clip_norm": c} for c in CLIPS})


def report(results):
    flow = [arm for arm in results.arms.values() if not arm.value("train.steps")]  # --arms may have left some out
    clipped = {arm.value("train.clip_norm"): arm for arm in results.arms.values() if arm.value("train.steps")}
    told = [follows_theory(arm, *THEORY[arm.value("cell.activation")]) for arm in flow]
    if {None, 1.0} <= set(clipped):
        says = "clipped at norm 1, SGD learns the temporal order more often than without"
        told.append(claims.more_learn(says, "Pascanu et al. 2013, section 3.2", clipped[1.0], clipped[None]))
    drawn, untrained = {}, [arm.name for arm in flow]
    if flow:
        theory = {name: (f"{name}: {said}", rate) for name, (said, rate, _) in THEORY.items()}
        growth = functools.partial(against_theory, theory=theory, setting="cell.activation")
        drawn |= {"flow": among(figures.flow, untrained), "growth": among(growth, untrained)}
    if clipped:
        drawn["clipping"] = functools.partial(scatter.final_losses, setting="train.clip_norm")
        drawn["learning"] = figures.learning
    drawn["cliff"] = theory_figures.error_surface
    said = " ".join(filter(None, (_explodes(flow), _saved(clipped))))
    return Report(said or "No arm that the question is about was run.", drawn, told,
                  columns=("decay", "horizon", "learned", "loss"))  # fmt: skip


def _explodes(flow):
    """By how many decades the gradient of each kind grows, of its fastest arm."""
    fastest = {}
    for arm in flow:
        fastest[arm.task] = max(fastest.get(arm.task, arm), arm, key=lambda arm: arm.at_end())
    grown = [f"{arm.at_end():.0f} decades in a {arm.value('cell.activation')} network ({arm.label})"
             for arm in fastest.values() if arm.at_end() >= 1]  # fmt: skip
    if not grown:
        return "In no untrained network does the gradient grow by a decade." if flow else ""
    return f"Over {flow[0].length:,} steps the gradient grows by {listed(grown)}."


def _saved(clipped):
    if not {None, 1.0} <= set(clipped):
        return ""
    free, best = clipped[None], clipped[1.0]
    lost = sum(trial.diverged for trial in free.trials)
    without = f"{free.learned} of {len(free.trials)}" + f" ({lost} diverge{'s' * (lost == 1)})" * bool(lost)
    return (
        f"SGD learns in {best.learned} of {len(best.trials)} trials clipped at norm 1, in {without} without clipping."
    )
