"""Decay rates of gradients against the top Lyapunov exponent of the same trials, and against the spectral radius.

Both read the probe `lyapunov` of an experiment, {"top": nats a step}, and dL/dh at initialisation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from matplotlib.figure import Figure

from rnnlab.reports.scatter import scatter
from rnnlab.reports.tables import format_interval
from rnnlab.runs.results import Arm, Claim, Results
from rnnlab.stats import estimates

NEAR_ZERO = 0.005  # nats a step: below it 2 % of an exponent is less than its own standard error
RATE = "rate of dL/dh over lags\n(nats/step)"


def having_exponents(arms: Iterable[Arm]) -> list[Arm]:
    """The arms whose exponents were measured."""
    return [arm for arm in arms if arm.trials[0].probe("lyapunov")]


def rates(arm: Arm) -> list[tuple[float, float]]:
    """(top exponent, decay rate of dL/dh) of each trial, nats a step.

    The rate is taken from end to end: over the same steps as the exponent, so that the fluctuations of both, which
    over T steps are of the order of 1 / sqrt(T), are the same ones.
    """
    found = []
    for trial in arm.trials:
        profile = trial.profile("init")
        rate = float(profile.relative[-1]) * math.log(10) / int(profile.lag[-1])
        found.append((trial.probe("lyapunov")["top"], rate))
    return found


def decays_at_exponent(arm: Arm, source: str, tolerance: float) -> Claim:
    """Every trial's rate is its exponent to `tolerance`; trials whose exponent is near 0 are not judged."""
    exponents, measured = (np.array(of) for of in zip(*rates(arm), strict=True))
    away = ~(np.abs(exponents) < NEAR_ZERO)  # nan is not near 0
    near = f", {np.sum(~away)} of {len(away)} trials near 0 not judged" * bool(0 < np.sum(~away) < len(away))
    apart = np.abs(measured[away] / exponents[away] - 1)
    worst = f", at most {100 * np.max(apart):.2g} % apart{near}" if len(apart) else ""
    return Claim(
        f"{arm.label}: decay rate is the top Lyapunov exponent", f"{source}; {tolerance:.0%}",
        f"{format_interval(estimates.mean(exponents.tolist()))} nats/step",
        f"{format_interval(estimates.mean(measured.tolist()))}{worst}",
        bool(np.max(apart) <= tolerance) if len(apart) else None,
        "" if len(apart) else f"every exponent is near 0, where {tolerance:.0%} is less than its own error",
    )  # fmt: skip


def against_exponent(results: Results, **how) -> Figure | None:
    """The decay rate over the top exponent, a marker a trial, a colour a task."""
    found = {task: having_exponents(arms.values()) for task, arms in results.tasks.items()}
    points = {task: [pair for arm in arms for pair in rates(arm)] for task, arms in found.items() if arms}
    if not points:
        return None
    exponents = [exponent for pairs in points.values() for exponent, _ in pairs]
    ends = [min(exponents), max(exponents)]
    caption = "Decay rate of dL/dh over the top Lyapunov exponent, a marker a trial, over all spectral radii."
    return scatter(points, xlabel="top Lyapunov exponent (nats/step)", ylabel=RATE, caption=caption,
                   lines={"theory: rate = exponent": (ends, ends)}, **how)  # fmt: skip
