"""Units drawn over a passage of text: each character on a colour that tells the unit's activation, as HTML."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from rnnlab.reports.text_tables import UNITS, WHEN, fit_of, on_text
from rnnlab.runs.results import Arm, Results
from rnnlab.stats import estimates

STEPS = 5  # colours on either side of white
HIGH, LOW = (0xE6, 0x7A, 0x1F), (0x3D, 0x8F, 0xD1)  # orange for +1, blue for -1, pale enough for black letters


def parts(results: Results) -> dict[str, str]:
    """For every cell the units that fit best, over the passage: HTML by title. Empty where nothing was measured.

    What fits no better after training than the best of as many units did before it is named, and not drawn.
    """
    found = {}
    for label, arm in on_text(results).items():
        for trial in arm.trials:
            if units := trial.probe("units", "trained"):
                passage = "".join(chr(int(point)) for point in units["passage"])
                before = trial.probe("units", "init")
                added = [name for name in UNITS if learned(arm, name) and _adds(units, before, name)]
                drawn = [_drawn(passage, units, before, name) for name in added]
                rest = ", ".join(says for name, says in UNITS.items() if name not in added)
                told = f"<p>Not drawn, since training adds nothing: {escape(rest)}.</p>" if rest else ""
                found[f"Units of {label} over test text (seed {trial.seed})"] = LEGEND + "".join(drawn) + told
                break
    return found


def learned(arm: Arm, name: str) -> bool:
    """Whether the best unit fits better after training than the best did before it, by the medians over trials."""
    before, after = (estimates.median(arm.each(functools.partial(fit_of, name=name, when=when))) for when in WHEN)
    return after.estimate > before.estimate


def _adds(units: Mapping[str, Any], before: Mapping[str, Any], name: str) -> bool:
    """Whether this trial's best unit fits better than before training, by more than what is printed of it."""
    return abs(float(units[name])) - abs(float(before[name])) > 0.01


def _drawn(passage: str, units: Mapping[str, Any], before: Mapping[str, Any], name: str) -> str:
    fit, unit, first = float(units[name]), int(units[f"{name} unit"]), abs(float(before[name]))
    measure = f"autocorrelation rises again by {fit:.2f}" if name == "periodic" else f"correlation {fit:+.2f}"
    measure += f" (before training the best unit's size was {first:.2f})"
    return f"<h3>{escape(UNITS[name])}: unit {unit}, {measure}</h3>{coloured(passage, units[f'{name} values'])}"


def coloured(passage: str, values: Sequence[float | int]) -> str:
    """The passage as HTML, each character on the colour of its value, -100 to 100; runs of one colour are one span."""
    steps = [round(max(-100, min(100, value)) / 100 * STEPS) for value in values]
    spans = []
    for step, run in itertools.groupby(zip(steps, passage, strict=True), key=lambda pair: pair[0]):
        text = escape("".join(character for _, character in run))
        spans.append(f'<span style="background:{colour(step)}">{text}</span>' if step else text)
    return f'<pre style="background:#fff;border:1px solid #ddd">{"".join(spans)}</pre>'


def colour(step: int) -> str:
    """From white (0) to orange (`STEPS`) or blue (-`STEPS`)."""
    end, share = HIGH if step > 0 else LOW, abs(step) / STEPS
    return "#" + "".join(f"{round(255 + share * (part - 255)):02x}" for part in end)


LEGEND = (
    '<p class="caption">Each character on the colour of the unit\'s activation after it was read, tanh(c), or h where '
    f'a cell has no c: <span style="color:#000;background:{colour(-STEPS)}">&nbsp;-1&nbsp;</span> white 0 '
    f'<span style="color:#000;background:{colour(STEPS)}">&nbsp;+1&nbsp;</span>. The best of all units.</p>'
)
