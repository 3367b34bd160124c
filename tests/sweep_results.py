"""Two tasks and four arms whose trials learned after a known number of updates."""

import math


def trial(arm, seed, solved, loss):
    """A trial that learned after so many of 100 updates of 10 sequences, did not (None), or diverged (nan)."""
    status = "not learned" if solved is None else "diverged" if math.isnan(solved) else "learned"
    steps = {"learned": solved, "not learned": 100, "diverged": 7}[status]
    reach = {"h": {"decay_rate": -0.1, "half_life": 6.9, "horizon": 10 * seed, "censored": False}}
    return {
        "arm": arm, "seed": seed, "status": status, "steps": steps, "sequences": 10 * steps,
        "learned_at": solved if status == "learned" else -1, "eval": {"loss": loss, "accuracy": 0.5},
        "reach": {"init": reach, "trained": reach},
    }  # fmt: skip


def made():
    solved = {
        "long/base": [40, 60, 50, None, 80, None],
        "long/better": [10, 20, 15, 30, 25, 20],
        "long/worse": [None, None, None, None, math.nan, None],
        "short/base": [3, 3, 3, 3, 3, 3],
    }
    losses = {"long/base": 0.1, "long/better": 0.01, "long/worse": 0.2, "short/base": 0.5}
    trials = [
        trial(arm, seed, after, math.nan if after is not None and math.isnan(after) else losses[arm] * (1 + seed / 10))
        for arm, of_arm in solved.items()
        for seed, after in enumerate(of_arm)
    ]
    settings = {arm: {"cell": arm.split("/")[1], "task": "Adding", "task.length": arm.split("/")[0]} for arm in solved}
    return {
        "trials": trials, "settings": settings, "fraction": 1e-3, "rule": {}, "chance": dict.fromkeys(solved, 0.167),
    }  # fmt: skip
