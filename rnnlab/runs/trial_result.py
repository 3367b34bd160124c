"""What the ledger and a report hold of one trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnnlab.runs.ledger import Trial
from rnnlab.runs.measure import Measured, thin
from rnnlab.runs.recorder import map_lags
from rnnlab.training.state import DIVERGED, TrainState, outcome


def trial_result(
    trial: Trial,
    state: TrainState,
    records: Sequence[Mapping[str, Any]],
    probed: Sequence[Mapping[str, Any]],
    first: Mapping[str, Any],
    last: Measured | None,
) -> dict[str, Any]:
    """How a trial went: its last state, its metrics' and probes' lines, what was measured first and last.

    `last` is None for one that was not trained.
    """
    spec, step, status = trial.spec, int(state.step), int(state.status)
    keys = [key for key in (records[-1] if records else ()) if key.startswith("eval/")] + ["train/loss", "grad/norm"]
    final = {"loss": records[-1]["eval/loss"], "accuracy": records[-1]["eval/accuracy"]} if records else {}
    reason = f"{_what_diverged(spec, records[-1])} at update {step + 1}" if status == DIVERGED else None
    reached = last.reach(spec.flow.fraction) if last else first["reach"]
    broken = first.get("not_finite", {})
    return {
        "arm": trial.arm,
        "seed": trial.seed,
        "status": outcome(status, int(state.learned)),
        "learned_at": int(state.learned),
        "reason": reason,
        "steps": step,
        "sequences": step * spec.train.batch_size,
        "budget": spec.train.steps * spec.train.batch_size,
        "eval": final,
        "curve": {"step": [r["step"] for r in records]} | {key: [r[key] for r in records] for key in keys},
        "guessing": first.get("guessing"),
        "reach": {"init": first["reach"], "trained": reached},
        "not_finite": {"init": broken, "trained": last.not_finite() if last else broken},
        "map": _map(records, spec.task.length) if trial.seed == spec.first_seed else None,
        "probes": [{"step": r["step"]} | r["found"] for r in probed],
        "profiles": {"init": first["thin"], "trained": thin(last.profiles()) if last else first["thin"]},
    }


def _what_diverged(spec, record) -> str:
    """What the last update's loss, gradient or step was, as far as its window's record tells."""
    if not np.isfinite(record["train/loss"]):
        return "loss not finite"
    if not np.isfinite(record["grad/norm_max"]):
        return "gradient not finite"
    if spec.train.bound is not None:
        return f"loss or gradient above {spec.train.bound:g}"
    return f"a step not finite (learning rate {spec.train.learning_rate:g})"


def _map(records, length):
    """The adjoint's log10 norm over training and lag, as the taps of training found it."""
    if not records:
        return None
    log10 = [record["flow/log10_h"] for record in records]
    return {"step": [r["step"] for r in records], "lag": map_lags(length).tolist(), "log10": log10}
