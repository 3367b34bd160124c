"""Results of a run that never was, with numbers that are known: as `results.json` holds them (schema 1)."""

import math

from rnnlab.runs.results_file import results_from

CELLS = {"VanillaRNN": (-0.35, None), "LSTM forget bias 1": (-0.12, -0.33), "LSTM chrono": (0.002, -0.012)}
TASKS = {"Adding 200": 200, "PaddedDigits 500": 500}


def trial(task, cell, seed, status="learned"):
    """A trial whose adjoints fall by exactly its arm's rate, a little other for every seed."""
    length, (rate, path_rate) = TASKS[task], CELLS[cell]
    lags = list(range(length))

    def profile(rate, cut=None):
        log10s = [k * rate / math.log(10) for k in lags]
        return log10s if cut is None else [v if k < cut else -math.inf for k, v in enumerate(log10s)]

    def reach(rate):
        horizon = min(int(math.log(1e-3) / rate), length - 1) if rate < 0 else length - 1
        return {"decay_rate": rate, "half_life": math.log(2) / -rate if rate < 0 else math.inf,
                "horizon": horizon, "censored": horizon == length - 1}  # fmt: skip

    rates = {"h": rate * (1 + seed / 20)}
    if path_rate:
        rates |= {"c": rate * (1 + seed / 20), "c cell path": path_rate * (1 + seed / 20)}
    trained = {name: r / 4 for name, r in rates.items()}
    vanilla = {"h cell path": profile(rate, cut=1)} if not path_rate else {}
    steps = list(range(100, (800 + 100 * seed if status == "learned" else 2000) + 1, 100))
    if status == "diverged":
        steps = steps[:6]
    losses = [0.17 * 0.9 ** (s / 30) + 1e-4 if status == "learned" else 0.17 - s * 2e-6 for s in steps]
    losses[-1] = math.nan if status == "diverged" else losses[-1]
    return {
        "arm": f"{task}/{cell}", "seed": seed, "status": status,
        "reason": "loss is nan at step 600" if status == "diverged" else None,
        "steps": steps[-1], "learned_at": steps[-1] if status == "learned" else -1, "sequences": steps[-1] * 32,
        "eval": {"loss": losses[-1], "accuracy": 0.99 if status == "learned" else 0.1},
        "curve": {"step": steps, "eval/loss": losses, "eval/accuracy": [0.5] * len(steps)},
        "reach": {
            "init": {name: reach(r) for name, r in rates.items()},
            "trained": {name: reach(r) for name, r in trained.items()},
        },
        "profiles": {
            "init": {"lag": lags} | {n: profile(r, cut=300) for n, r in rates.items()} | vanilla,
            "trained": {"lag": lags} | {n: profile(r) for n, r in trained.items()} | vanilla,
        },
    }  # fmt: skip


def made(seeds=3):
    """Results of 3 cells on 2 tasks: the vanilla RNN never learns and diverges once, chrono reaches all of it."""
    status = {"VanillaRNN": "not learned"}
    trials = [
        trial(task, cell, seed, status.get(cell, "learned"))
        for task in TASKS
        for cell in CELLS
        for seed in range(seeds)
    ]
    if seeds > 1:
        trials[1] = trial("Adding 200", "VanillaRNN", 1, "diverged")
        trials[4] = trial("Adding 200", "LSTM forget bias 1", 1, "not learned")
    arms = [f"{task}/{cell}" for task in TASKS for cell in CELLS]
    settings = {a: {"cell": a.split("/")[1].split()[0], "cell.features": "64", "task": a.split()[0]} for a in arms}
    for arm in arms:
        settings[arm]["task.length"] = str(TASKS[arm.split("/")[0]])
    for arm in arms:
        if "LSTM" in arm:
            settings[arm]["cell.forget_bias"] = "1.0" if "bias" in arm else "chrono <b>&"
    return {
        "experiment": "long_memory", "tier": "quick", "fraction": 1e-3, "seconds": 312.4,
        "question": "From how far back does a loss at the end still get a gradient, and can the network use it?",
        "command": "python -m rnnlab.run --exp=long_memory",
        "environment": {"jax": "0.10.1", "device": "CPU <2 cores>"},
        "rule": {"Adding 200": "held-out accuracy of at least 0.99"},
        "settings": settings, "needed_lag": {"Adding 200": 199, "PaddedDigits 500": 436},
        "chance": {a: 0.167 if "Adding" in a else 2.303 for a in arms}, "trials": trials,
    }  # fmt: skip


def relabelled(found, labels, task):
    """Leaves the trials on Adding that did not diverge, as of arms with other labels on another task; their names."""
    names = {f"Adding 200/{old}": f"Adding 200/{new}" for old, new in labels.items()}
    found["trials"] = [t for t in found["trials"] if t["arm"].startswith("Adding") and t["status"] != "diverged"]
    for trial in found["trials"]:
        trial["arm"] = names[trial["arm"]]
    found["settings"] = {names[n]: of | {"task": task} for n, of in found["settings"].items() if n in names}
    return list(names.values())


def whole(found):
    """The content of a results.json, with what a test does not care about filled in."""
    parts = {"experiment": "bench", "tier": "quick", "fraction": 1e-3, "seconds": 1.0, "question": "Why?"}
    parts |= {"command": "python -m rnnlab.run", "environment": {}, "needed_lag": {}, "rule": {}, "chance": {}}
    blank = {"reason": None, "curve": {"step": []}, "reach": {}, "eval": {}}
    return parts | found | {"trials": [blank | trial for trial in found["trials"]]}


def read(found):
    """The same as objects."""
    return results_from(whole(found))
