"""What one arm writes while it runs: metrics, timings and a TensorBoard run for each trial."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from rnnlab import dashboard
from rnnlab.folder import RunFolder
from rnnlab.settings import ArmSpec, flat
from rnnlab.train import DIVERGED, outcome
from rnnlab.writers import EventFile, JsonLines

METRICS = ("eval/loss", "eval/accuracy", "train/loss", "grad/norm")  # the columns of TensorBoard's HParams table
LINES = ("metrics", "timings", "probes")  # the files NAME.jsonl, which all arms share
MAP_LAGS = 128  # columns of the heat map of gradient norm over training step and lag


def write_overview(folder: RunFolder, domains: Mapping[str, Sequence]) -> None:
    """What TensorBoard shows of all arms together: the chart layout and the HParams table's columns."""
    events = EventFile(folder.path / "tensorboard" / "events.out.tfevents.0")
    events.summary(dashboard.default_layout(), 0)
    typed = {path: [_typed(value) for value in values] for path, values in domains.items()}
    events.summary(dashboard.hparams_experiment(typed, METRICS, time.time()), 0)
    events.flush()
    events.close()


def write_pictures(folder: RunFolder, pngs: Mapping[str, bytes]) -> None:
    """The report's figures in TensorBoard."""
    events = EventFile(folder.path / "tensorboard" / "report" / "events.out.tfevents.0")
    for name, png in pngs.items():
        events.image(f"report/{name}", png, 0)
    events.flush()
    events.close()


class Recorder:
    """The files of one arm, cut back to the `sizes` that a checkpoint remembers, or begun.

    `components` names the top layer's carry, h last; `domains` the settings that differ between arms.
    """

    def __init__(
        self,
        folder: RunFolder,
        arm: str,
        spec: ArmSpec,
        components: Sequence[str],
        domains: Mapping[str, Sequence],
        sizes: Mapping[str, Any],
    ):
        self.arm, self.spec, self._components = arm, spec, components
        self._lines = {file: JsonLines(folder.path / f"{file}.jsonl", sizes.get(file, 0)) for file in LINES}
        known = sizes.get("events", {})
        self._events = [EventFile(folder.events(arm, s), known.get(str(s), 0)) for s in range(spec.seeds)]
        self._since = time.monotonic()
        if not known:
            self._begin(domains)

    def _begin(self, domains):
        settings = flat(self.spec)
        typed = {path: [_typed(value) for value in found] for path, found in domains.items()}
        values = {path: _typed(settings[path]) for path in domains if path in settings}
        for seed, events in enumerate(self._events):
            events.summary(dashboard.session_start(values, typed, time.time(), group=f"{self.arm} seed={seed}"), 0)
            events.text("settings", dashboard.settings_text(settings | {"seed": str(seed)}), 0)

    def record(self, record: Mapping[str, Any]) -> None:
        """One window of all trials; a trial that had ended before it writes nothing."""
        seconds = time.monotonic() - self._since
        self._since = time.monotonic()
        speed = int(record["ran"].sum()) / seconds
        lags = map_lags(self.spec.task.length)
        for seed, events in enumerate(self._events):
            if not record["ran"][seed]:
                continue
            step = int(record["step"][seed])
            scalars = {name: float(record[name][seed]) for name in record if "/" in name}
            flow = {f"flow/log10_{name}": norms[lags] for name, norms in self._taps(record["taps"], seed).items()}
            status = outcome(int(record["status"][seed]), int(record["learned"][seed]))
            line = {"arm": self.arm, "seed": seed, "step": step, "status": status} | scalars
            self._lines["metrics"].write(
                line | {name: [round(float(v), 4) for v in norms] for name, norms in flow.items()}
            )
            self._lines["timings"].write({"arm": self.arm, "seed": seed, "step": step, "seconds": round(seconds, 4)})
            shown = {"eval/chance": self.spec.task.chance, "perf/steps_per_second": speed}
            events.scalars(scalars | shown, step)

    def _taps(self, taps, seed) -> dict[str, np.ndarray]:
        """log10 of the top layer's adjoint norms by lag, one carry component each."""
        leaves = jax.tree.leaves(taps[-1])
        with np.errstate(divide="ignore"):
            norms = [np.log10(np.asarray(leaf[seed], np.float64))[::-1] for leaf in leaves]
        return dict(zip(self._components, norms, strict=True))

    def flow(self, when: str, steps: Sequence[int], measured: Mapping[str, Sequence[Any]]) -> None:
        """Each trial's gradient flow as curves over lag, and its gates as histograms, after `steps` updates."""
        profiles, gates = measured["profiles"], measured["gates"]
        for events, step, profile, values in zip(self._events, steps, profiles, gates, strict=True):
            for name, log10 in profile.items():
                if len(log10) > 1 and not np.isfinite(log10[1:]).any():
                    continue  # nothing leaves lag 0 (a vanilla RNN at fixed z): no curve
                dashboard.write_curve(events, f"flow_{when}/log10_{name.replace(' ', '_')}", log10, range(len(log10)))
            for name, gate in values.items():
                events.histogram(f"gates/{name}", gate, step)

    def probes(self, steps: Sequence[int], found: Sequence[Mapping[str, Any]], chosen: Sequence[int]) -> None:
        """What an experiment's own probes found in the chosen trials: a line each, and TensorBoard's view of it."""
        for seed in chosen:
            self._lines["probes"].write({"arm": self.arm, "seed": seed, "step": steps[seed], "found": found[seed]})
            for probe, values in found[seed].items():
                for name, value in values.items():
                    if name == "lag":
                        continue
                    if isinstance(value, float):
                        self._events[seed].scalar(f"{probe}/{name}", value, steps[seed])
                    elif isinstance(value, list):
                        self._events[seed].histogram(f"{probe}/{name}", np.asarray(value), steps[seed])

    def end(self, records: Sequence[Mapping[str, Any]], statuses: Sequence[int]) -> None:
        """The heat maps of the whole training, and how each trial ended."""
        lags = map_lags(self.spec.task.length)
        for seed, events in enumerate(self._events):
            mine = [r for r in records if r["seed"] == seed]
            if mine:
                title = f"{self.arm}, seed {seed}: log10 gradient norm of one example's loss"
                norms = np.asarray([r["flow/log10_h"] for r in mine], np.float64)
                png = dashboard.heat_map_png(norms, [r["step"] for r in mine], lags, title)
                events.image("gradient norm by training step and lag", png, mine[-1]["step"])
            status = "FAILURE" if statuses[seed] == DIVERGED else "SUCCESS"
            events.summary(dashboard.session_end(status, time.time()), 0)

    def sizes(self) -> dict[str, Any]:
        """Flushes; the sizes up to which the files hold what has been recorded."""
        events = {str(seed): events.flush() for seed, events in enumerate(self._events)}
        return {file: lines.flush() for file, lines in self._lines.items()} | {"events": events}

    def close(self) -> None:
        for file in (*self._lines.values(), *self._events):
            file.close()


def map_lags(length: int) -> np.ndarray:
    """The lags that the heat map shows: all of a short sequence, evenly spaced ones of a long one."""
    return np.unique(np.linspace(0, length - 1, MAP_LAGS).round().astype(int))


def _typed(text: str):
    try:
        return float(text)
    except ValueError:
        return text
