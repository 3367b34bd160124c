"""How long a run is said to take, in both ways that rnnlab says it."""

from __future__ import annotations

from rnnlab.runs.job import make_job
from rnnlab.runs.predict import plan
from rnnlab.runs.rough_cost import RoughCost


def prediction(experiment: str, tier: str) -> dict[str, float]:
    """Seconds that a run is said to take: with each program compiled and timed, and roughly, as a dry run says."""
    job = make_job(experiment, tier, {})
    return {
        "measured": plan(job.arms, probes=job.probes).seconds,
        "rough": plan(job.arms, probes=job.probes, cost_of=RoughCost()).seconds,
    }
