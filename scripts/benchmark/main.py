"""rnnlab's LSTM beside flax.nnx.RNN(OptimizedLSTMCell) and torch.nn.LSTM, float32, on the CPU.

Each framework runs in a process of its own, and the processes take turns within one run: two thread pools
in one process distort figures up to 5-fold. Measured are, of one layer, the forward pass (to the mean square
of all outputs) and forward + backward (its gradient with respect to the weights). A turn counts its best
call; a ratio is the median over rounds of the ratios within a round, with its quartiles.

    scripts/bench --torch-python=PATH            everything, about ten minutes; PATH is a Python that has torch
    scripts/bench --quick --only=flax,0,2        a minute's look: Flax alone beside rnnlab, at two shapes
    scripts/bench --only=taps,segments --json=F  sections: speed, taps, flow, segments, memory, limit, layouts, online,
                                                 linear, correct, forms, growth, prediction
    scripts/bench --device --torch-python=PATH   on the accelerator of JAX, and PyTorch's CUDA where there is one:
                                                 gradients against float64 on the CPU, speed, flow, trials batched
"""

from __future__ import annotations

import argparse
import configparser
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import growth_report
import judge
import report
from packaging.requirements import Requirement
from rich.console import Console
from shapes import CELL_SHAPES, FORM_SHAPES, OTHERS, PREDICTED, RECURRENCES, SEGMENTS, SHAPES
from turns import CORES, Pace, Worker, take_turns

FRAMEWORKS = ["rnnlab", "flax", "torch"]
SECTIONS = ["speed", "taps", "flow", "segments", "memory", "limit", "layouts", "online", "linear"]
ON_DEVICE = ["correct", "speed", "taps", "flow", "layouts"]
BESIDE = ["correct", "forms", "growth", "prediction"]  # sections that are measured where they are named
BY_SHAPE = ["speed", "taps", "flow", "segments", "limit"]
CHOICES = [*FRAMEWORKS, *SECTIONS, *BESIDE, *map(str, range(len(SHAPES)))]


def flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--torch-python", metavar="PATH", help="a Python that has torch, where this one has not")
    parser.add_argument("--only", metavar="NAMES", default="", help=f"of each kind these alone: {', '.join(CHOICES)}")
    parser.add_argument("--rounds", type=int, help="turns of each framework at each shape (7; with --quick 3)")
    parser.add_argument("--quick", action="store_true", help="about a minute: short turns, few segment lengths")
    parser.add_argument("--patience", type=float, help="seconds a table row may wait for a quiet machine (30; quick 0)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all that was measured to FILE")
    parser.add_argument("--picture", metavar="FILE", type=Path, help="draw the section growth to FILE")
    parser.add_argument("--device", action="store_true", help="on the accelerator that JAX finds, in place of the CPU")
    given = parser.parse_args()
    given.only = [name for name in given.only.split(",") if name]
    for name in given.only:
        if name not in CHOICES:
            parser.error(f"--only={name}: must be of {', '.join(CHOICES)}")
    if given.rounds is not None and given.rounds < 1:
        parser.error(f"--rounds={given.rounds}: must be at least 1")
    return given


def chosen(only: list[str], kind: list[str]) -> list[str]:
    """Those of one kind that --only names; all, where it names none."""
    return [name for name in kind if name in only] or kind


def pace_of(given: argparse.Namespace) -> Pace:
    rounds, seconds, calls, patience = (3, 0.1, 2, 0.0) if given.quick else (7, 0.3, 3, 30.0)
    return Pace(given.rounds or rounds, seconds, calls, patience if given.patience is None else given.patience)


def start_workers(given: argparse.Namespace, console: Console) -> dict[str, Worker]:
    frameworks = {"rnnlab", *chosen(given.only, FRAMEWORKS)}
    if not {"speed", "online"} & set(chosen(given.only, [*SECTIONS, *BESIDE])):
        frameworks = {"rnnlab"}
    pythons = {name: sys.executable for name in FRAMEWORKS if name in frameworks}
    if "torch" in pythons and (given.torch_python or not importlib.util.find_spec("torch")):
        pythons["torch"] = given.torch_python
    if "torch" in pythons and not pythons["torch"]:
        console.print("torch: this Python has none; --torch-python=PATH names one that has", style="yellow")
        del pythons["torch"]
    return {name: Worker(name, python, given.device) for name, python in pythons.items()}


def environment(workers: dict[str, Worker]) -> dict[str, Any]:
    root = Path(__file__).resolve().parents[2]
    setup = configparser.ConfigParser()
    setup.read(root / "setup.cfg")
    rules = map(Requirement, setup["options"]["install_requires"].split())
    allowed = next(rule.specifier for rule in rules if rule.name == "jaxlib")
    jaxlib = importlib.metadata.version("jaxlib")
    return {
        "cpu": workers["rnnlab"].ask("processor"),
        "cores": CORES,
        "python": platform.python_version(),
        "system": platform.platform(),
        "load_before": os.getloadavg(),
        "workers": {name: worker.ask("about") for name, worker in workers.items()},
        "jaxlib": {"version": jaxlib, "allowed": str(allowed), "is_allowed": jaxlib in allowed},
        "canary": workers["rnnlab"].ask("canary"),
    }


class Bench:
    """The sections, each a method from a shape to what was measured there."""

    def __init__(self, workers: dict[str, Worker], pace: Pace, quick: bool):
        self.workers, self.pace, self.quick = workers, pace, quick
        self.rnnlab = workers["rnnlab"]

    def _prepare(self, worker: Worker, kind: str, **options: Any) -> tuple[Worker, str]:
        job = f"{kind} {options}"
        worker.send("prepare", kind=kind, job=job, options=options)
        return worker, job

    def _measure(self, jobs: dict[str, tuple[Worker, str]]) -> dict[str, Any]:
        for worker, _ in jobs.values():
            worker.receive()
        return take_turns(jobs, self.pace)

    def speed(self, shape: list[int], **what: Any) -> dict[str, Any]:
        measured = {}
        for kind in ("forward", "gradient"):
            jobs = {n: self._prepare(worker, kind, shape=shape, **what) for n, worker in self.workers.items()}
            if kind == "gradient" and not what:
                jobs["lax.scan"] = self._prepare(self.rnnlab, "plain", shape=shape)
            measured[kind] = self._measure(jobs)
        return measured

    def taps(self, shape: list[int]) -> dict[str, Any]:
        kinds = {"without": "gradient", "with": "tapped"}
        return self._measure({name: self._prepare(self.rnnlab, kind, shape=shape) for name, kind in kinds.items()})

    def flow(self, shape: list[int]) -> dict[str, Any]:
        kinds = {"gradient": "answer", "flow": "flow"}
        return self._measure({name: self._prepare(self.rnnlab, kind, shape=shape) for name, kind in kinds.items()})

    def segments(self, shape: list[int]) -> dict[str, Any]:
        own = self.rnnlab.ask("segments", options={"shape": shape})["own"]
        lengths = [16, 64] if self.quick else SEGMENTS
        lengths = sorted({own, *(n for n in lengths if n < shape[1]), shape[1]})
        jobs = {n: self._prepare(self.rnnlab, "gradient", shape=shape, segment=n) for n in lengths}
        return {"own": own, "times": self._measure(jobs)}

    def memory(self) -> dict[str, Any]:
        return {"gradient": self.rnnlab.ask("memory"), "flow": self.rnnlab.ask("flow memory")}

    def limit(self, shape: list[int]) -> dict[str, Any]:
        constants = self.rnnlab.ask("constants", options={"shape": shape})
        jobs = {
            name: self._prepare(self.rnnlab, kind, **options)
            for name, (kind, options) in judge.calibrations(shape, constants).items()
        }
        times = self._measure(jobs)
        return {"constants": constants, "times": times, "limit": judge.limit(shape, constants, times)}

    def layouts(self) -> dict[str, Any]:
        return self._measure({n: self._prepare(self.rnnlab, "trials", way=n) for n in self.rnnlab.ask("layouts")})

    def online(self) -> dict[int, Any]:
        found = {}
        for length, counts in judge.ONLINE.items():
            jobs = {
                name: self._prepare(self.workers[name], "online", length=length, sequences=count)
                for name, count in counts.items()
                if name in self.workers
            }
            found[length] = self._measure(jobs)
            self.forget()
        return found

    def linear(self) -> dict[str, Any]:
        found: dict[str, Any] = {"recurrences": {}, "cells": {}}
        methods = ("sequential", "associative")
        for numbers in ("real", "complex"):
            for length, width in RECURRENCES:
                for gradient in (False, True):
                    options = {"length": length, "width": width, "numbers": numbers, "gradient": gradient}
                    jobs = {m: self._prepare(self.rnnlab, "recurrence", method=m, **options) for m in methods}
                    found["recurrences"][numbers, length, width, gradient] = self._measure(jobs)
                    self.forget()
        for cell in ("MinGRU", "LRU"):
            for shape in CELL_SHAPES:
                ways = ("lax.scan", "by step", *methods)
                jobs = {way: self._prepare(self.rnnlab, "linear cell", shape=shape, cell=cell, how=way) for way in ways}
                found["cells"][cell, *shape] = self._measure(jobs)
                self.forget()
        return found

    def growth(self) -> dict[str, dict[int, dict[str, float]]]:
        sizes = self.rnnlab.ask("sizes")
        sizes = {what: of[:3] if self.quick else of for what, of in sizes.items()}
        return {what: {size: self.rnnlab.ask("growth", options={"what": what, "size": size}) for size in of}
                for what, of in sizes.items()}  # fmt: skip

    def forms(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        compiled = self.rnnlab.ask("about")["LSTM"] != "plain JAX"
        for cell, *shape in FORM_SHAPES[:2] if self.quick else FORM_SHAPES:
            for kind in ("forward", "gradient"):
                options = {"shape": shape, "cell": cell, "gradient": kind == "gradient"}
                jobs = {
                    (form, devices): self._prepare(self.rnnlab, "formed", form=form, devices=devices, **options)
                    for form in ("right", "left", *["compiled"] * (cell == "LSTM" and compiled))
                    for devices in sorted({1, CORES if shape[0] % CORES == 0 else 1})
                }
                found.setdefault(f"{cell}, {judge.shape_name(shape)}", {})[kind] = self._measure(jobs)
                self.forget()
        return found

    def prediction(self) -> dict[str, dict[str, float]]:
        return {
            f"{name}, {tier}": self.rnnlab.ask("prediction", options={"experiment": name, "tier": tier})
            for name, tier in (PREDICTED[:1] if self.quick else PREDICTED)
        }

    def correct(self) -> dict[str, float]:
        return self.rnnlab.ask("correct")

    def forget(self) -> None:
        for worker in self.workers.values():
            worker.ask("forget")


def main() -> int:
    given = flags()
    console = Console() if sys.stdout.isatty() else Console(width=140)
    workers = start_workers(given, console)
    results: dict[str, Any] = {"environment": environment(workers)}
    report.show_environment(console, results["environment"])
    bench = Bench(workers, pace_of(given), given.quick)
    shapes = {int(i): SHAPES[int(i)] for i in chosen(given.only, [str(i) for i in range(len(SHAPES))])}
    sections = [name for name in (*SECTIONS, *BESIDE) if name in given.only]
    for section in sections or (ON_DEVICE if given.device else SECTIONS):
        if section not in BY_SHAPE:
            results[section] = getattr(bench, section)()
        else:
            results[section] = {}
            for shape in shapes.values():
                with console.status(f"{section}: B, T, D, H = {', '.join(map(str, shape))}"):
                    results[section][tuple(shape)] = getattr(bench, section)(shape)
                bench.forget()
        for name, (shape, what) in OTHERS.items() if section == "speed" and len(shapes) == len(SHAPES) else ():
            with console.status(f"{section}: {name}"):
                results[section][(*shape, name)] = bench.speed(shape, **what)
            bench.forget()
        report.SECTIONS[section](console, results[section])
    if given.picture and "growth" in results:
        growth_report.draw(results["growth"], given.picture)
    for worker in workers.values():
        worker.close()
    results["environment"]["load_after"] = os.getloadavg()
    verdicts = judge.verdicts(results, every_shape=len(shapes) == len(SHAPES))
    report.show_verdicts(console, verdicts)
    if given.json:
        given.json.write_text(json.dumps(judge.plain(results | {"verdicts": verdicts}), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
