"""Sentences that several experiments answer with: short, and with the numbers in them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rnnlab.reports.tables import format_number, listed
from rnnlab.runs.results import Arm, Results
from rnnlab.stats.survival import median_time


def other_code(results: Results) -> str:
    """That the numbers are those of other code than that which reports them; "" where they are not."""
    if not results.changed_since:
        return ""
    ran = results.environment.get("revision") or "an unknown revision"
    return f"Its trials were run by other code ({ran}): {', '.join(results.changed_since)} changed since."


def half_lives(arms: Mapping[str, Arm]) -> str:
    """`At initialisation on Adding 200 the gradient of a loss at the end halves every 2.8 steps in VanillaRNN, ...`"""
    said = []
    for label, arm in arms.items():
        life = arm.half_life().estimate
        if math.isnan(life):
            said.append(f"at no rate in {label} (it is not finite)")
        else:
            said.append(f"every {life:.3g} steps in {label}" if life < math.inf else f"never in {label}")
    task = next(iter(arms.values())).task
    return f"At initialisation on {task} the gradient of a loss at the end halves {listed(said)}."


def learned_by(arms: Mapping[str, Arm]) -> str:
    """`Adding 200, which needs a lag of 100 steps, was learned by LSTM (4/4), not by VanillaRNN (0/4).`"""
    first = next(iter(arms.values()))
    lag = f", which needs a lag of {first.needed_lag} steps," if first.needed_lag else ""
    trained = {label: arm for label, arm in arms.items() if arm.trained}
    if not trained:
        return f"{first.task}{lag} was not trained."
    if first.rule is None:
        return lowest_loss(trained)
    counts = {label: f"{label} ({arm.learned}/{len(arm.trials)})" for label, arm in trained.items()}
    most = [counts[label] for label, arm in trained.items() if 2 * arm.learned > len(arm.trials)]
    rest = [said for said in counts.values() if said not in most]
    by = f"by {listed(most)}" if most else "by no arm in most trials"
    return f"{first.task}{lag} was learned {by}{f', not by {listed(rest)}' if most and rest else ''}."


def lowest_loss(arms: Mapping[str, Arm], shown: int = 4) -> str:
    """`The held-out loss on Text 1000 is 1.26 with GRU, 1.39 with LSTM and 1.65 with VanillaRNN.`: the lowest few."""
    losses = {label: arm.held_out("loss").estimate for label, arm in arms.items()}
    known = sorted((label for label, loss in losses.items() if math.isfinite(loss)), key=losses.__getitem__)
    task = next(iter(arms.values())).task
    if not known:
        return f"Every trial on {task} diverged."
    said = listed([f"{format_number(losses[label])} with {label}" for label in known[:shown]])
    rest = len(arms) - len(known[:shown])
    return f"The held-out loss on {task} is {said}" + (f"; {rest} arms have a higher one." if rest else ".")


def reaching(arms: Mapping[str, Arm], name: str = "h") -> str:
    """`At initialisation on Adding 1000 the gradient reaches the needed lag of 500 steps with bias 5; else ...`"""
    first, arms = next(iter(arms.values())), _having(arms, name)
    if not arms:
        return f"No arm on {first.task} has dL/d{name}."
    horizons = {label: arm.horizon("init", name).estimate for label, arm in arms.items()}
    opening = f"At initialisation on {first.task} the"
    if first.needed_lag is None:
        return (
            f"{opening} horizon of dL/d{name} is {listed([f'{horizons[label]:g} ({label})' for label in arms])} steps."
        )
    through = [label for label in arms if horizons[label] >= first.needed_lag]
    others = [f"{horizons[label]:g} ({label})" for label in arms if label not in through]
    said = f"{opening} gradient dL/d{name} reaches the needed lag of {first.needed_lag} steps with "
    said += listed(through) if through else "no setting"
    return said + (f"; else its horizon is {listed(others)} steps." if others else ".")


def along_cell_path(arms: Mapping[str, Arm]) -> str:
    """Of the arm whose gradient reaches furthest: what arrives at the largest lag, in full and along the cell path."""
    ends = {label: arm.at_end("c") for label, arm in _having(arms, "c cell path").items()}
    if not ends:
        return "No arm has a cell path of dL/dc."
    label = max(ends, key=lambda label: -math.inf if math.isnan(ends[label]) else ends[label])
    full, path = (arms[label].at_end(name) for name in ("c", "c cell path"))
    return f"With {label} {_power(full)} of dL/dc is left at the largest lag, {_power(path)} along the cell path alone."


def _having(arms: Mapping[str, Arm], name: str) -> dict[str, Arm]:
    """Those of whose adjoints one has this name: a cell without c has no dL/dc."""
    return {label: arm for label, arm in arms.items() if any(trial.horizon("init", name) for trial in arm.trials)}


def _power(log10: float) -> str:
    """A power of ten, also one that no float holds."""
    if not math.isfinite(log10):
        return "nothing" if log10 == -math.inf else "an unknown part"
    return f"{10**log10:.2g}" if abs(log10) < 300 else f"1e{log10:+.0f}"


def worth_of_parts(arms: Mapping[str, Arm], whole: str) -> str:
    """`Adding 50 is learned after 24,000 sequences by the whole network, after 20,000 by ... and after ... by ....`"""
    medians = {label: median_time(arm.times()).estimate for label, arm in arms.items() if arm.trained}
    task = next(iter(arms.values())).task
    if whole not in medians or len(medians) < 2:
        return learned_by(arms) if medians else f"{task} was not trained."
    rest = {label: median for label, median in medians.items() if label != whole}

    def shown(median: float) -> str:
        return f"after {median:,.0f} sequences" if median < math.inf else "not within the budget"

    def those(median: float) -> str:
        return listed([label for label, own in rest.items() if own == median])

    fewest, most = min(rest.values()), max(rest.values())
    said = f"{task} is learned {shown(medians[whole])} by the whole network"
    if fewest == most:
        return f"{said}, {shown(most)} by every other."
    return f"{said}, soonest ({shown(fewest)}) by {those(fewest)} and latest ({shown(most)}) by {those(most)}."
