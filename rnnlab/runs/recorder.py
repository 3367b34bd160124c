"""What one trial writes while it runs: metrics, timings, its probes, and a TensorBoard run."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from rnnlab.runs import tensorboard
from rnnlab.runs.drawing import drawn_or_said
from rnnlab.runs.event_files import EventFile
from rnnlab.runs.files import JsonLines
from rnnlab.runs.folder import TRIAL_EVENTS, RunFolder
from rnnlab.runs.ledger import LINES, Ledger, Trial
from rnnlab.runs.tensorboard_tags import description
from rnnlab.settings.resolve import flat
from rnnlab.training.state import DIVERGED, outcome

METRICS = (
    "eval/loss",
    "eval/accuracy",
    "result/sequences",
    "result/horizon",
)  # the columns of TensorBoard's HParams table
MAP_LAGS = 128  # columns of the heat map of gradient norm over training step and lag


def write_overview(folder: RunFolder, domains: Mapping[str, Sequence]) -> None:
    """What TensorBoard shows of all trials together: the chart layout and the HParams table's columns."""
    events = EventFile(folder.path / TRIAL_EVENTS / "events.out.tfevents.0")
    events.summary(tensorboard.default_layout(), 0)
    typed = {path: [_typed(value) for value in values] for path, values in domains.items()}
    events.summary(tensorboard.hparams_experiment(typed, METRICS, time.time()), 0)
    events.flush()
    events.close()


class Recorder:
    """The files of one trial, cut back to the `sizes` that a checkpoint remembers, or begun.

    `components` names the top layer's carry, h last; `domains` the settings that differ between arms.
    """

    def __init__(
        self,
        ledger: Ledger,
        trial: Trial,
        components: Sequence[str],
        domains: Mapping[str, Sequence],
        sizes: Mapping[str, int] | None = None,
    ):
        self.trial, self._components = trial, components
        known = sizes or {}
        place = ledger.place(trial)
        self._lines = {file: JsonLines(place / f"{file}.jsonl", known.get(file, 0)) for file in LINES}
        self._events = EventFile(ledger.events(trial), known.get("events", 0), description)
        if not known:
            self._begin(domains)

    def _begin(self, domains):
        settings = flat(self.trial.spec)
        typed = {path: [_typed(value) for value in found] for path, found in domains.items()}
        values = {path: _typed(settings[path]) for path in domains if path in settings}
        group = f"{self.trial.arm} seed={self.trial.seed}"
        self._events.summary(tensorboard.session_start(values, typed, time.time(), group=group), 0)
        self._events.text("settings", tensorboard.settings_text(settings | {"seed": str(self.trial.seed)}), 0)

    def _line(self, step: int) -> dict[str, Any]:
        return {"arm": self.trial.arm, "seed": self.trial.seed, "step": step}

    def record(self, record: Mapping[str, Any], seconds: float, speed: float) -> None:
        """One window, as NumPy arrays of this trial alone; `seconds` its share of the time, `speed` in updates a second
        of all trials together."""
        step = int(record["step"])
        lags = map_lags(self.trial.spec.task.length)
        scalars = {name: float(value) for name, value in record.items() if "/" in name}
        flow = {f"flow/log10_{name}": norms[lags] for name, norms in self._taps(record["taps"]).items()}
        status = outcome(int(record["status"]), int(record["learned"]))
        rounded = {name: [round(float(v), 4) for v in norms] for name, norms in flow.items()}
        self._lines["metrics"].write(self._line(step) | {"status": status} | scalars | rounded)
        self._lines["timings"].write(self._line(step) | {"seconds": round(seconds, 4)})
        shown = {"eval/chance": self.trial.spec.task.chance, "perf/steps_per_second": speed}
        self._events.scalars(scalars | shown, step)

    def _taps(self, taps) -> dict[str, np.ndarray]:
        """log10 of the top layer's adjoint norms by lag, one carry component each."""
        leaves = jax.tree.leaves(taps[-1])
        with np.errstate(divide="ignore"):
            norms = [np.log10(np.asarray(leaf, np.float64))[::-1] for leaf in leaves]
        return dict(zip(self._components, norms, strict=True))

    def gates(self, step: int, gates: Mapping[str, np.ndarray]) -> None:
        """The gates' values as histograms, after `step` updates."""
        for name, gate in gates.items():
            self._events.histogram(f"gates/{name}", gate, step)

    def probes(self, step: int, found: Mapping[str, Any]) -> None:
        """What an experiment's own probes found: a line, and TensorBoard's view of it."""
        self._lines["probes"].write(self._line(step) | {"found": found})
        for probe, values in found.items():
            for name, value in values.items():
                if name == "lag":
                    continue
                if isinstance(value, float):
                    self._events.scalar(f"{probe}/{name}", value, step)
                elif isinstance(value, list):
                    self._events.histogram(f"{probe}/{name}", np.asarray(value), step)

    def end(self, records: Sequence[Mapping[str, Any]], status: int, horizon: int, warn: Callable[[str], None]) -> None:
        """The heat map of the whole training, and how the trial ended; `horizon` that of dL/dh then, in steps."""
        step = records[-1]["step"] if records else 0
        sequences = step * self.trial.spec.train.batch_size
        self._events.scalars({"result/sequences": sequences, "result/horizon": horizon}, step)
        if records and self.trial.seed == self.trial.spec.first_seed:  # a picture takes as long as a small trial
            title = f"{self.trial}: log10 gradient norm of one example's loss"
            norms = np.asarray([r["flow/log10_h"] for r in records], np.float64)
            lags = map_lags(self.trial.spec.task.length)
            steps = [r["step"] for r in records]
            name = "gradient norm by training step and lag"
            draw = functools.partial(tensorboard.heat_map_png, norms, steps, lags, title)
            if png := drawn_or_said(f"{self.trial}: {name}", draw, warn):
                self._events.image(name, png, steps[-1])
        self._events.summary(tensorboard.session_end("FAILURE" if status == DIVERGED else "SUCCESS", time.time()), 0)

    def marks(self) -> dict[str, int]:
        """The sizes that `sizes` would give, without bringing anything to the disk."""
        return {file: lines.size() for file, lines in self._lines.items()} | {"events": self._events.size()}

    def sizes(self) -> dict[str, int]:
        """Flushes; the sizes up to which the files hold what has been recorded."""
        return {file: lines.flush() for file, lines in self._lines.items()} | {"events": self._events.flush()}

    def close(self) -> None:
        for file in (*self._lines.values(), self._events):
            file.close()


def map_lags(length: int) -> np.ndarray:
    """The lags that the heat map shows: all of a short sequence, evenly spaced ones of a long one."""
    return np.unique(np.linspace(0, length - 1, MAP_LAGS).round().astype(int))


def _typed(text: str):
    try:
        return float(text)
    except ValueError:
        return text
