"""What TensorBoard shows of a finished run: a run an arm, with the mean and range over its seeds, and the report.

Arms of one label are one run, since their tasks have charts of their own: an arm has one colour in all of them. Numbers
in front of the names keep the declared order, by which TensorBoard gives colours.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence

from rnnlab.runs.event_files import EventFile
from rnnlab.runs.folder import ARM_EVENTS, RunFolder
from rnnlab.runs.results import Arm, Results
from rnnlab.runs.tensorboard import band_layout
from rnnlab.runs.tensorboard_tags import description

SHOWN = {"held-out loss": "eval/loss", "held-out accuracy": "eval/accuracy", "gradient norm": "grad/norm"}
MOST = 36  # runs: TensorBoard unticks all of more than 40
NAME = "events.out.tfevents.0"


def write_arms(folder: RunFolder, results: Results, answer: str, table: str, pngs: Mapping[str, bytes]) -> None:
    """Replaces the folder's TensorBoard runs of arms, and the run "report" with answer, table and figures.

    `table` is Markdown, `pngs` the figures by name. Of very many arms those with the least held-out loss are shown.
    """
    place = folder.path / ARM_EVENTS
    for old in place.glob("[0-9]* *"):
        shutil.rmtree(old, ignore_errors=True)
    labels = _labels(results)
    digits = len(str(len(labels)))
    for number, label in enumerate(labels, start=1):
        arms = [arm for arm in results.arms.values() if arm.label == label]
        if any(arm.trained for arm in arms):
            events = EventFile(place / f"{number:0{digits}d} {label.replace('/', ' ')}" / NAME, describe=description)
            for arm in arms:
                _write_arm(events, arm)
            events.flush()
            events.close()
    events = EventFile(place / "report" / NAME, describe=description)
    events.summary(band_layout(_charts(results)), 0)
    every = len({arm.label for arm in results.arms.values()})
    left = f"\n\nOf {every} arms the {MOST} of least held-out loss have curves here." if every > MOST else ""
    events.text("answer", answer + left, 0)
    events.text("table", table, 0)
    for name, png in pngs.items():
        events.image(f"report/{name}", png, 0)
    events.flush()
    events.close()


def _labels(results: Results) -> list[str]:
    labels = list(dict.fromkeys(arm.label for arm in results.arms.values()))
    if len(labels) <= MOST:
        return labels
    losses: dict[str, float] = {}
    for arm in results.arms.values():
        loss = arm.held_out("loss").estimate
        losses[arm.label] = min(losses.get(arm.label, math.inf), math.inf if math.isnan(loss) else loss)
    best = sorted(labels, key=losses.__getitem__)[:MOST]
    return [label for label in labels if label in best]


def _write_arm(events: EventFile, arm: Arm) -> None:
    for name, curve in SHOWN.items():
        steps, values = arm.curves(curve)
        for step, seeds in zip(steps, values.T, strict=True):
            low, high = _ends(name, arm.task)
            found = {f"{name}/{arm.task}": seeds.mean(), low: seeds.min(), high: seeds.max()}
            events.scalars({tag: float(value) for tag, value in found.items()}, int(step))


def _ends(name: str, task: str) -> tuple[str, str]:
    return f"range over seeds/{name}, {task}, least", f"range over seeds/{name}, {task}, greatest"


def _charts(results: Results) -> dict[str, dict[str, tuple[str, str, str]]]:
    tasks: Sequence[str] = [task for task, arms in results.tasks.items() if any(arm.trained for arm in arms.values())]
    return {name: {f"{name}, {task}": (f"{name}/{task}", *_ends(name, task)) for task in tasks} for name in SHOWN}
