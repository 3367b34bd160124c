"""When does a vanilla RNN's gradient explode, and what does clipping save?

Question. A gradient that grows with the lag turns one update into a jump. Three views of it: the norm by lag of random
tanh networks whose recurrent matrix has spectral radius g; the loss that plain SGD reaches at several clip thresholds;
and the error surface of a network with two parameters, x_t = w sigmoid(x_{t-1}) + b, with its cliff.

Expectation. Pascanu, Mikolov & Bengio 2013, section 2.1: in a linear network a spectral radius of w_h below 1 is
sufficient for vanishing and one above 1 necessary for exploding (with tanh the sufficient condition is on the norm).
Section 3.2: clipping the norm keeps SGD from diverging. Section 2.3 and figure 6: the surface has walls; here it stands
where the start x_0 is the unstable fixed point between two basins, b = x_0 - w s(x_0), s the logistic function, and is
as steep there as a geometric series says (drawn and computed; no claim on a run).

Command. python -m rnnlab.run --exp=exploding_gradient [--tier=smoke|quick|paper]
"""

import functools

from rnnlab.cells import VanillaRNN
from rnnlab.reports import claims, figures, scatter, theory_figures
from rnnlab.reports.report import Report, among
from rnnlab.reports.tables import format_interval, format_number, listed
from rnnlab.runs.results import Claim
from rnnlab.specs.grid import product
from rnnlab.stats import estimates
from rnnlab.tasks import Adding

RADII = [0.5, 0.9, 1.1, 1.5, 2.0]
CLIPS = [None, 100.0, 10.0, 1.0, 0.1, 0.01]
LENGTH = {"smoke": 30, "quick": 500, "paper": 2000}
UPDATES = {"smoke": 20, "quick": 1500, "paper": 20_000}


def config(tier):
    common = {"cell": VanillaRNN, "cell.recurrent": "normal", "task": Adding, "cell.features": 64, "train.window": 10}
    return common | {"seeds": {"smoke": 2, "quick": 4, "paper": 20}[tier], "train.optimizer": "sgd"}


def arms(tier):
    flow = {f"Flow {LENGTH[tier]}": {"task.length": LENGTH[tier], "train.steps": 0}}
    found = product(flow, {f"g = {g}": {"cell.spectral_radius": g} for g in RADII})
    train = {"task.length": 50, "train.steps": UPDATES[tier], "train.learning_rate": 0.1, "cell.spectral_radius": 1.5}
    return found | product({"Training 50": train}, {f"clip {c}": {"train.clip_norm": c} for c in CLIPS})


def report(results):
    flow = {arm.value("cell.spectral_radius"): arm for arm in results.arms.values() if not arm.value("train.steps")}
    clipped = {arm.value("train.clip_norm"): arm for arm in results.arms.values() if arm.value("train.steps")}
    told = [_growth(radius, arm) for radius, arm in flow.items()]  # --arms may have left some out
    losses = {norm: estimates.median(arm.each(lambda trial: trial.final_loss)) for norm, arm in clipped.items()}
    if {None, 1.0} <= set(losses):
        says = "SGD with the norm clipped at 1 ends at a lower loss than without"
        told.append(claims.below(says, "Pascanu et al. 2013, section 3.2", losses[1.0], losses[None]))
    drawn = {}
    if flow:
        drawn["flow"] = among(figures.flow, [arm.name for arm in flow.values()])
    if clipped:
        drawn["clipping"] = functools.partial(scatter.final_losses, setting="train.clip_norm")
        drawn["learning"] = figures.learning
    drawn["cliff"] = theory_figures.error_surface
    return Report(
        _answer(flow, losses, clipped), drawn, told, columns=("decay", "half_life", "horizon", "learned", "loss")
    )


def _growth(radius, arm):
    rate = arm.decay_rate()
    expected = "below 0" if radius < 1 else "above 0 possible, not necessary"
    met = None if radius >= 1 else True if rate.high < 0 else False if rate.low > 0 else None
    why = "either is possible" if radius >= 1 else "the interval leaves it open" if met is None else ""
    return Claim(f"g = {radius}: rate of dL/dh", "Pascanu et al. 2013, section 2.1, its linear case", expected,
                 f"{format_interval(rate, 2)} nats/step", met, why)  # fmt: skip


def _answer(flow, losses, clipped):
    said = []
    if flow:
        rates = {radius: arm.decay_rate() for radius, arm in flow.items()}
        grows = [f"g = {g} ({format_interval(rate, 2)} nats/step)" for g, rate in rates.items()
                 if (rate.low if rate.n > 1 else rate.estimate) > 0]  # fmt: skip
        last = f"g = {max(rates)}: {format_interval(rates[max(rates)], 2)} nats/step"
        rest = f"No spectral radius has a rate of dL/dh over lags that is surely above 0 ({last})."
        said.append(f"The gradient grows with the lag at {listed(grows)}." if grows else rest)
    if {None, 1.0} <= set(losses):
        free, lost = clipped[None], sum(trial.diverged for trial in clipped[None].trials)
        without = f"{lost} of {len(free.trials)} trials diverge" if lost else f"it is {format_interval(losses[None])}"
        said.append(f"SGD clipped at norm 1 ends at a held-out loss of {format_interval(losses[1.0])} (chance "
                    f"{format_number(free.chance)}); without clipping {without}.")  # fmt: skip
    return " ".join(said) or "No arm that the question is about was run."
