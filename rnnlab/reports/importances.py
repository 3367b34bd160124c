"""Which settings, drawn at random, make how much of an outcome's variance (functional ANOVA)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from matplotlib.figure import Figure

from rnnlab.reports import sweep_figures
from rnnlab.reports.sweep_axes import label
from rnnlab.runs.results import Arm, Claim, Results, Trial
from rnnlab.stats.fanova import Importance, Scale, importance, logs

TRUSTED, ENOUGH = 0.5, 100  # R^2 and draws, below which shares of the variance are not judged


def best_loss(trial: Trial, chance: float) -> float:
    """The least held-out loss within the budget; chance where none was finite."""
    return min(filter(math.isfinite, trial.curve.get("eval/loss", ())), default=chance)


def of_draws(arms: Sequence[Arm], scales: Mapping[str, Scale]) -> Importance | None:
    """Of each setting in `scales`, on the logarithm of the best held-out loss; None where nothing varies."""
    pairs = [(arm, trial) for arm in arms for trial in arm.trials]
    losses = logs([best_loss(trial, arm.chance) for arm, trial in pairs])
    if len(set(losses)) < 2:
        return None
    found = importance({path: [arm.value(path) for arm, _ in pairs] for path in scales}, losses, scales)
    return found if found.effects else None


def draw_claims(name: str, arms: Sequence[Arm], found: Importance, path: str, source: str) -> list[Claim]:
    """One setting matters most, and interactions of two are small.

    Judged where draws are enough and the forest explains half of the variance that it has not seen.
    """
    alone = {effect.axes[0]: effect.share for effect in found.effects if len(effect.axes) == 1}
    together = sum(effect.share for effect in found.effects if len(effect.axes) == 2)
    rate = alone.pop(path)
    second = max(alone, key=lambda other: alone[other])
    number = sum(len(arm.trials) for arm in arms)
    judged = found.explained >= TRUSTED and number >= ENOUGH  # nan is few trials
    trust = f"({number} draws; the forest explains {found.explained:.0%} of unseen trials' variance)"
    return [
        Claim(
            f"{name}: the {label(path)} matters most {trust}", source,
            f"above {label(second)}'s share, {alone[second]:.0%}", f"{rate:.0%}",
            rate > alone[second] if judged else None,
        ),
        Claim(
            f"{name}: interactions of two are small {trust}", source,
            f"below all settings alone, {rate + sum(alone.values()):.0%}", f"{together:.0%}",
            together < rate + sum(alone.values()) if judged else None,
        ),
    ]  # fmt: skip


def sentence(found: Importance) -> str:
    """`Of the settings drawn the learning rate makes most of the loss's variance (68 %).`"""
    effect = max(found.effects, key=lambda effect: effect.share)
    names = " with ".join(label(path) for path in effect.axes)
    return f"Of the settings drawn the {names} makes most of the loss's variance ({effect.share:.0%})."


def drawn(found: Importance, name: str) -> Callable[..., Figure]:
    """The figure of `of_draws`, as a report declares it."""

    def draw(results: Results, **options) -> Figure:
        del results  # shares are of all draws
        return sweep_figures.importance(found, f"log best held-out loss\n{name}", **options)

    return draw
