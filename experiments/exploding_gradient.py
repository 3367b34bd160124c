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

import numpy as np
from matplotlib.colors import LogNorm

from rnnlab.cells import VanillaRNN
from rnnlab.reports import figures
from rnnlab.reports.claims import Claim, claims_table, summary
from rnnlab.reports.horizon_tables import reach_table
from rnnlab.reports.report import Verdict
from rnnlab.reports.style import COLOURS, legend, losses_up, panels, styled
from rnnlab.reports.tables import format_interval
from rnnlab.specs.grid import product
from rnnlab.stats import estimates
from rnnlab.tasks import Adding
from rnnlab.theory.error_surface import steepness_at_wall, two_parameter_surface, wall

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
    tasks = figures.by_task(results)
    flow, training = (
        next((cells for name, cells in tasks.items() if name.startswith(n)), {}) for n in ("Flow", "Training")
    )  # --arms may have left some out
    losses = {cell: _losses(trials) for cell, trials in training.items()}
    claims = [_growth(cell, trials) for cell, trials in flow.items()]
    if {"clip None", "clip 1.0"} <= set(losses):
        claims.append(_clipping(losses))
    if results["tier"] == "smoke":  # too short to tell
        claims = [claim._replace(met=None) for claim in claims]
    drawn = {"cliff": cliff_figure()}
    if flow:
        only = [trial for trial in results["trials"] if trial["arm"].startswith("Flow")]
        drawn["flow"] = figures.flow_figure(results | {"trials": only})
    if training:
        drawn["clipping"] = clipping_figure(losses, next(iter(results["chance"].values())))
        drawn["learning"] = figures.learning_figure(results)
    tables = [claims_table(claims)] * bool(claims) + [reach_table(results)]
    return Verdict(f"Exploding gradients: {summary(claims)}", tables, drawn)


def _growth(cell, trials):
    radius = float(cell.split()[-1])
    rate = estimates.mean([trial["reach"]["init"]["h"]["decay_rate"] for trial in trials])
    expected = "below 0" if radius < 1 else "above 0 possible, not necessary"
    met = rate.high < 0 if radius < 1 and rate.n > 1 else None
    source = "Pascanu et al. 2013, section 2.1, its linear case"
    return Claim(f"{cell}: rate of dL/dh", source, expected, f"{format_interval(rate, 2)} nats/step", met)


def _losses(trials):
    """Held-out losses at the end; a diverged trial's is infinite."""
    return [np.inf if t["status"] == "diverged" else t["eval"]["loss"] for t in trials]


def _clipping(losses):
    without, with_1 = (estimates.median(losses[f"clip {c}"]) for c in (None, 1.0))
    return Claim(
        "SGD with the norm clipped at 1 ends at a lower loss than without", "Pascanu et al. 2013, section 3.2",
        "lower median, intervals apart", f"{format_interval(with_1)} against {format_interval(without)}",
        with_1.high < without.low if min(with_1.n, without.n) > 1 else None,
    )  # fmt: skip


@styled
def clipping_figure(losses, chance):
    figure, ((axes,),) = panels(1, 1, 2.0)
    for place, values in enumerate(losses.values()):
        shown = [v for v in values if v <= figures.BEYOND * chance]
        axes.plot([place] * len(shown), shown, "o", color=COLOURS[0], mfc="w")
        if len(shown) < len(values):
            above = f"{len(values) - len(shown)} \N{UPWARDS ARROW}"
            axes.annotate(above, (place, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", size=7)
    line = axes.axhline(chance, **figures.CHANCE)
    axes.set(yscale="log", ylabel="held-out loss at the end", xlabel="clip threshold (norm of the gradient)")
    axes.set_xticks(range(len(losses)), [name.removeprefix("clip ").removesuffix(".0") for name in losses])
    axes.set_xlim(-0.5, len(losses) - 0.5)
    losses_up(axes)
    legend(figure, axes.plot([], [], "o", color=COLOURS[0], mfc="w", label="a trial"), [line])
    figure.set_label(
        "Held-out loss after training with SGD, by clip threshold; a circle a trial. Trials that diverged or ended "
        f"above {figures.BEYOND:g} times chance are counted above the frame."
    )
    return figure


@styled
def cliff_figure():
    figure, ((left, right),) = panels(1, 2, 2.4)
    w, b = np.linspace(3.5, 7, 241), np.linspace(-4, -1, 241)
    found = two_parameter_surface(w, b[:, None])
    steep = LogNorm(found.steepness.min(), found.steepness.max())
    drawn = ((left, found.error, None, "error E"), (right, found.steepness, steep, "norm of dE/d(w, b)"))
    for axes, values, norm, label in drawn:
        mesh = axes.pcolormesh(w, b, values, norm=norm, cmap="cividis", rasterized=True)
        figure.colorbar(mesh, ax=axes, label=label)
        axes.plot(w, wall(w), ":", color="w", lw=1)
        axes.set(xlabel="w", ylabel="b", ylim=(b[0], b[-1]))
    line = wall(5.5) + np.linspace(-0.2, 0.2, 4001)
    found = two_parameter_surface(5.5, line)
    peak = line[np.argmax(found.steepness)]
    figure.set_label(
        "Error surface of x_t = w s(x_{t-1}) + b after 50 steps; dotted: its wall, b = x_0 - w s(x_0). At w = 5.5 it "
        f"is steepest at b = {peak:.3f} (closed form {wall(5.5):.3f}), where |dE/db| is {abs(found.d_b[2000]):.4g} "
        f"(closed form {steepness_at_wall(5.5):.4g})."
    )
    return figure
