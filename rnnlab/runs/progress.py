"""What is said while an experiment runs: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

LINE_SECONDS = 10.0  # between two plain lines


class Progress:
    """One bar a group of trials (updates done, updates a second, time left, held-out loss), one line an arm that ended.

    `trials`: how many each arm has; `without_rule`: arms whose task has no stop rule.
    """

    def __init__(self, console: Console, trials: Mapping[str, int], without_rule: Collection[str] = ()):
        self._console = console
        self._trials = trials
        self._without_rule = without_rule
        self._ended: dict[str, list[Mapping[str, Any]]] = {arm: [] for arm in trials}
        self._bars: Bars | None = None
        self._task = None
        self._began: float | None = None
        self._last = 0.0
        self._total = self._done = self._first = 0

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        self.say(f"warning: {text}")

    def begin(self, name: str, trials: int, steps: int) -> None:
        """A group starts: so many trials of at most so many updates."""
        self.stop()
        self._total, self._done, self._began = trials * steps, 0, None
        self._last = time.monotonic()
        if self._console.is_terminal or _in_a_notebook(self._console):
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
            self._task = self._bars.add_task(escape(name), total=self._total, speed="compiling")
        else:
            work = f"of at most {steps} updates" if steps else "to measure"
            self.say(
                f"{name}: {trials} trials {work}{' each' * bool(steps)}" if trials > 1 else f"{name}: 1 trial {work}"
            )

    def resume(self, updates: int) -> None:
        """So many updates of the group were made before."""
        self._done += updates

    def window(self, updates: int, losses: Sequence[float]) -> None:
        """A window is done: so many updates of all trials, the held-out losses of those that made them."""
        self._done += updates
        now = time.monotonic()
        if self._began is None:  # what came before was compiling
            self._began, self._first = now, self._done
            return
        speed = (self._done - self._first) / max(now - self._began, 1e-9)
        known = [loss for loss in losses if np.isfinite(loss)]
        loss = f"{np.mean(known):.3g}" if known else "not finite"
        shown = f"{speed:.0f} updates/s" + f", held-out loss {loss}" * bool(losses)  # none where no trial made updates
        if self._bars:
            self._bars.update(self._task, completed=self._done, total=self._total, speed=shown)
        elif now - self._last >= LINE_SECONDS:
            self._last = now
            left = f", {clock(max(self._total - self._done, 0) / speed)} left" if speed else ""
            self.say(f"  {self._done} of at most {self._total} updates, {shown}{left}")

    def finished(self, trial: Mapping[str, Any], undone: int = 0) -> None:
        """A trial has ended, so many updates early, or had ended before."""
        self._total -= undone
        arm = self._ended[trial["arm"]]
        arm.append({name: trial[name] for name in ("arm", "seed", "status", "steps", "budget", "reason")})
        if len(arm) < self._trials[trial["arm"]]:
            return
        if not any(t["budget"] for t in arm):
            said = f"{trial['arm']}: measured"
        elif trial["arm"] in self._without_rule:
            said = f"{trial['arm']}: trained"
        else:
            learned = sum(t["status"] == "learned" for t in arm)
            said = f"{trial['arm']}: learned in {learned} of {len(arm)} trials"
        for t in arm:
            if t["reason"]:
                said += f"; seed {t['seed']} {t['status']}: {t['reason']}"
        self.say(said)

    def stop(self) -> None:
        """The bar goes away."""
        if self._bars:
            self._bars.stop()
            self._bars = None


def _in_a_notebook(console: Console) -> bool:
    """Whether it is one that can show a bar."""
    return console.is_jupyter and not console.quiet and importlib.util.find_spec("ipywidgets") is not None


def counted(number: int, noun: str) -> str:
    """As in `1 trial`, `2 trials`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def clock(seconds: float) -> str:
    """`2 h 05 min`, `3 min 20 s`, `12 s`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
