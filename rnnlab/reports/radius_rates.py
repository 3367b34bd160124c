"""The rate of a gradient's log-norm over lags by the spectral radius of w_h, against what theory says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.figure import Figure

from rnnlab.reports.claims import FEWEST
from rnnlab.reports.scatter import scatter
from rnnlab.reports.tables import format_interval
from rnnlab.runs.results import Arm, Claim, Results
from rnnlab.theory.mean_field import tanh_network

RADIUS = "cell.spectral_radius"
ADDING = 1 / 6  # variance of x_t w_x: two inputs, weights of variance 1/2, values of mean square 1/3, markers rare
BEYOND = 0.05  # of the range of radii, that a theory's line goes on


def mean_field_on_adding(radius: float) -> float:
    """The rate of a wide tanh network that is driven by the adding problem (Chen et al. 2018), nats a step."""
    return tanh_network(radius, input_variance=ADDING).rate


def follows_theory(arm: Arm, theory: str, rate: Callable[[float], float], tolerance: float) -> Claim:
    """The arm's mean rate of dL/dh at initialisation is that of a theory at its spectral radius, to `tolerance`."""
    measured, expected = arm.decay_rate(), rate(arm.value(RADIUS))
    few = measured.n < FEWEST
    met = None if few else bool(abs(measured.estimate / expected - 1) <= tolerance)
    why = f"an interval of fewer than {FEWEST} trials tells little" if few else ""
    return Claim(f"{arm.name}: rate of dL/dh", f"{theory}, to {tolerance:.0%}", f"{expected:.3g} nats/step",
                 f"{format_interval(measured, 3)} nats/step", met, why)  # fmt: skip


def against_theory(
    results: Results, *, theory: Mapping[str, tuple[str, Callable[[float], float]]], setting: str, **how
) -> Figure | None:
    """Rates over spectral radii, a marker a trial, and a line a theory.

    `theory` has, by the value of a setting of the arms, the line's name and its rate in nats a step.
    """
    points: dict[str, list[tuple[float, float]]] = {}
    for arm in results.arms.values():
        rates = arm.each(lambda trial: reached.decay_rate if (reached := trial.horizon("init")) else None)
        points.setdefault(arm.value(setting), []).extend((arm.value(RADIUS), rate) for rate in rates)
    points = {name: of for name, of in points.items() if of}
    if not points:
        return None
    lines = {}
    for name, of in points.items():
        low, high = min(of)[0], max(of)[0]
        more = BEYOND * max(high - low, low)
        radii = np.linspace(low - more, high + more, 60)
        lines[theory[name][0]] = (radii.tolist(), [theory[name][1](g) for g in radii])
    caption = (
        "Rate of the log-norm of dL/dh over lags by spectral radius, before training, a marker a trial; lines: theory. "
        "Above 0 the gradient explodes."
    )
    return scatter(points, xlabel="spectral radius g of $w_h$", ylabel="rate of dL/dh over lags\n(nats/step)",
                   caption=caption, lines=lines, **how)  # fmt: skip
