"""How far back in time can a recurrent network learn, and what stops it?

    import rnnlab

    run = rnnlab.run("long_memory", tier="smoke")            # or: python -m rnnlab.run --exp=long_memory --tier=smoke
    run.figure("flow", arms="*/LSTM*", x="log").savefig("flow.png")
    trained = rnnlab.load(run.folder, "Adding 30/LSTM", seed=0)
    trained = rnnlab.fit(rnnlab.cells.LSTM(features=64), data=(xs, ys), epochs=20)

What stands in `__all__` is imported when it is first used, so that `import rnnlab` takes no time. Names below it, as
`rnnlab.cells.base` and `rnnlab.tasks.base` for cells and tasks of one's own, are described in docs/.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnnlab import cells as cells
    from rnnlab import interop as interop
    from rnnlab import tasks as tasks
    from rnnlab.forecast import forecast as forecast
    from rnnlab.generate import generate as generate
    from rnnlab.interop.exported import export as export
    from rnnlab.interop.exported import load_exported as load_exported
    from rnnlab.model import SequenceModel as SequenceModel
    from rnnlab.probes.dynamics.lyapunov import lyapunov_spectrum as lyapunov_spectrum
    from rnnlab.probes.dynamics.parallelizability import parallelizability as parallelizability
    from rnnlab.probes.gradients.flow import gradient_flow as gradient_flow
    from rnnlab.probes.gradients.paths import gradient_paths as gradient_paths
    from rnnlab.reports.check import check as check
    from rnnlab.reports.opened_run import open_run as open_run
    from rnnlab.run import run as run
    from rnnlab.runs.fit_network import fit as fit
    from rnnlab.runs.load_network import load as load
    from rnnlab.scan.parallel import solve_in_parallel as solve_in_parallel
    from rnnlab.scan.unroll import unroll as unroll
    from rnnlab.settings.experiments import load_experiment as load_experiment
    from rnnlab.training.spec import TrainSpec as TrainSpec
    from rnnlab.training.spec import TrialSpec as TrialSpec
    from rnnlab.training.state import initial_state as initial_state
    from rnnlab.training.updates import train_step as train_step
    from rnnlab.transcribe import transcribe as transcribe
    from rnnlab.translate import translate as translate

_HOMES = {
    "SequenceModel": "rnnlab.model",
    "TrainSpec": "rnnlab.training.spec",
    "TrialSpec": "rnnlab.training.spec",
    "check": "rnnlab.reports.check",
    "fit": "rnnlab.runs.fit_network",
    "export": "rnnlab.interop.exported",
    "gradient_flow": "rnnlab.probes.gradients.flow",
    "gradient_paths": "rnnlab.probes.gradients.paths",
    "initial_state": "rnnlab.training.state",
    "load": "rnnlab.runs.load_network",
    "load_experiment": "rnnlab.settings.experiments",
    "load_exported": "rnnlab.interop.exported",
    "lyapunov_spectrum": "rnnlab.probes.dynamics.lyapunov",
    "open_run": "rnnlab.reports.opened_run",
    "parallelizability": "rnnlab.probes.dynamics.parallelizability",
    "solve_in_parallel": "rnnlab.scan.parallel",
    "train_step": "rnnlab.training.updates",
    "unroll": "rnnlab.scan.unroll",
}
_MODULES = (  # five of them can be called
    "cells", "forecast", "generate", "interop", "run", "tasks", "transcribe", "translate",
)  # fmt: skip

__all__ = ["SequenceModel", "TrainSpec", "TrialSpec", "cells", "check", "export", "fit", "forecast", "generate",
           "gradient_flow", "gradient_paths", "initial_state", "interop", "load", "load_experiment", "load_exported",
           "lyapunov_spectrum", "open_run", "parallelizability", "run", "solve_in_parallel", "tasks", "train_step",
           "transcribe", "translate", "unroll"]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"rnnlab.{name}")
    if name in _HOMES:
        found = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return found
    raise AttributeError(f"module 'rnnlab' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
