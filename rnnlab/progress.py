"""What is said while an experiment runs: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from rnnlab.settings import ArmSpec

LINE_SECONDS = 10.0  # between two plain lines


class Progress:
    """One line an arm: updates done, updates a second, time left, held-out loss and accuracy."""

    def __init__(self, console: Console, arms: int):
        self._console = console
        self._arms, self._ended = arms, 0
        self._bars: Bars | None = None
        self._task = None
        self._began = self._last = 0.0

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        self.say(f"warning: {text}")

    def begin(self, name: str, spec: ArmSpec, done: int) -> None:
        """An arm starts, `done` updates of all its trials together already made."""
        self._name, self._total, self._done = name, spec.train.steps * spec.seeds, done
        self._began = self._last = time.monotonic()
        self._start = done
        if self._console.is_terminal:
            self._bars = Bars(
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("{task.fields[speed]}"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bars.start()
            self._task = self._bars.add_task(
                escape(self._label()), total=self._total, completed=done, speed="compiling"
            )
        else:
            work = f"of at most {spec.train.steps} updates" if spec.train.steps else "to measure"
            self.say(f"{self._label()}: {spec.seeds} trials {work}")

    def _label(self):
        return f"[{self._ended + 1}/{self._arms}] {self._name}"

    def window(self, record: Mapping[str, Any]) -> None:
        """A window is done."""
        self._done = int(np.sum(record["step"]))
        now = time.monotonic()
        speed = (self._done - self._start) / max(now - self._began, 1e-9)
        # what trials that ended early leave undone is no work left
        ended = int(np.sum((record["status"] != 0) * (self._total // len(record["step"]) - record["step"])))
        left = max(self._total - ended - self._done, 0)
        going = record["ran"] > 0
        loss = np.mean(record["eval/loss"][going]) if going.any() else np.nan
        shown = f"{speed:.0f} updates/s, held-out loss {loss:.3g}"
        if self._bars:
            self._bars.update(self._task, completed=self._done, total=self._total - ended, speed=shown)
        elif now - self._last >= LINE_SECONDS:
            self._last = now
            self.say(f"  {self._done} of {self._total - ended} updates, {shown}, {clock(left / max(speed, 1e-9))} left")

    def finished(self, name: str, trials: Sequence[Mapping[str, Any]]) -> None:
        """An arm has ended, or had ended before."""
        self.stop()
        self._ended += 1
        learned = sum(trial["status"] == "learned" for trial in trials)
        trained = any(trial["steps"] for trial in trials)
        said = f"{name}: learned in {learned} of {len(trials)} trials" if trained else f"{name}: measured"
        for trial in trials:
            if trial["reason"]:
                said += f"; seed {trial['seed']} {trial['status']}: {trial['reason']}"
        self.say(said)

    def stop(self) -> None:
        """The bar goes away."""
        if self._bars:
            self._bars.stop()
            self._bars = None


def clock(seconds: float) -> str:
    """`2 h 05 min`, `3 min 20 s`, `12 s`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
