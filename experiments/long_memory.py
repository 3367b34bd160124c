"""How far back does a loss at the end reach a vanilla RNN and an LSTM, and can they use it?

Question. Two things limit a network's memory: whether a gradient from the last step arrives at all at lag k,
and whether training can use what arrives. Both are measured, apart, for a vanilla RNN (orthogonal recurrent
matrix), an LSTM at its usual initialisation (forget bias 1) and an LSTM whose gates are initialised for the
sequence's length (chrono).

Expectation. The vanilla RNN's gradient vanishes exponentially (Hochreiter 1991; Bengio, Simard & Frasconi 1994)
and it fails beyond short lags. The LSTM's constant error carousel is said to prevent that (Hochreiter &
Schmidhuber 1997), but with forget bias 1 the cell path alone shrinks by sigmoid(1) = .73 a step, a half-life of
2.2 steps: at initialisation it should vanish too. Chrono gates (Tallec & Ollivier 2018) should reach about T.

Command. python -m rnnlab.run --exp=long_memory [--tier=smoke|quick|paper]
"""

import math

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.reports import figures
from rnnlab.reports.fits import fit_table
from rnnlab.reports.horizon_tables import reach_table
from rnnlab.reports.report import Verdict
from rnnlab.reports.tables import listed
from rnnlab.specs.grid import product
from rnnlab.stats import estimates
from rnnlab.tasks import Adding, PaddedDigits

LENGTHS = {
    "smoke": {"Adding": [30], "PaddedDigits": [70]},
    "quick": {"Adding": [50, 200], "PaddedDigits": [128]},
    "paper": {"Adding": [50, 200, 1000, 10_000], "PaddedDigits": [128, 500, 2000, 10_000]},
}


def config(tier):
    """Adam, as anyone would use it today."""
    common = {"cell.features": 64, "train.learning_rate": 3e-3, "train.clip_norm": 1.0, "train.batch_size": 32}
    tiers = {
        "smoke": {"seeds": 2, "cell.features": 16, "train.steps": 20, "train.window": 10, "train.eval_size": 32},
        "quick": {"seeds": 4, "train.steps": 2000, "train.window": 50},
        "paper": {"seeds": 8, "train.window": 10, "train.eval_size": 360},
    }
    first = {"task": Adding, "task.length": LENGTHS[tier]["Adding"][0]}  # where a sweep sets no other
    return common | first | tiers[tier]


def cells(length):
    """The cells compared, for sequences of this length."""
    return {
        "VanillaRNN": {"cell": VanillaRNN},
        "LSTM": {"cell": LSTM},
        "LSTM chrono": {"cell": LSTM, "cell.bias": "chrono", "cell.max_lag": length},
    }


def arms(tier, cells=cells):
    """Every task and length with every cell; an experiment of your own can pass `cells` of its own."""
    found = {}
    for task in (Adding, PaddedDigits):
        for length in LENGTHS[tier][task.__name__]:
            setting = {"task": task, "task.length": length}
            if tier == "paper":  # as many steps of recurrence at every length from 1,000 on: days, not weeks
                setting["train.steps"] = min(20_000, 20_000_000 // length)
            found |= product({f"{task.__name__} {length}": setting}, cells(length))
    if tier == "smoke":  # every code path, once
        found = {name: arm for name, arm in found.items() if arm["task"] is Adding or name.endswith("/LSTM")}
    return found


def report(results):
    """The verdict follows from the numbers, also where they contradict the expectation."""
    by_task = figures.by_task(results)
    longest = max(by_task, key=_length)
    sentences = [_gradient(longest, by_task[longest], results["fraction"])]
    sentences += [_use(results, task, arms) for task, arms in by_task.items()]
    drawn = {
        "flow": figures.flow_figure(results),
        "learning": figures.learning_figure(results),
        "reach": figures.reach_figure(results),
    }
    return Verdict(" ".join(sentences), [reach_table(results), fit_table(results)], drawn)


def _length(task):
    return int(task.split()[-1])


def _median(trials, when, name, quantity):
    found = [t["reach"][when][name][quantity] for t in trials if name in t["reach"][when]]
    return estimates.median(found).estimate if found else None


def _gradient(task, arms, fraction):
    """What an initialised network lets through, on the longest sequences."""
    said, horizons = [], {}
    for cell, trials in arms.items():
        life, path = _median(trials, "init", "h", "half_life"), _median(trials, "init", "c cell path", "half_life")
        change = f"halves every {life:.3g} steps" if life < math.inf else "does not fall"
        alone = f" (along the cell path alone every {path:.3g})" if path not in (None, math.inf) else ""
        horizons[cell] = _median(trials, "init", "h", "horizon")
        censored = sum(t["reach"]["init"]["h"]["censored"] for t in trials) * 2 > len(trials)
        reached = "the whole sequence" if censored else f"{horizons[cell]:g} steps"
        said.append(f"{cell}'s {change}{alone} and stays above {fraction:g} of lag 0 for {reached}")
        if cell == "LSTM" and not censored:
            said[-1] += ", so at its usual initialisation the LSTM's gradient does vanish"
    furthest = [cell for cell in horizons if horizons[cell] == max(horizons.values())]
    last = f" {listed(furthest)} reaches furthest back." if len(furthest) < len(horizons) else ""
    return f"At initialisation, on {task}, the gradient norm: {'; '.join(said)}.{last}"


def _use(results, task, arms):
    """Who learned, and whether the horizon at initialisation would have told."""
    needed, length = results["needed_lag"].get(task), _length(task)
    counts = {c: (sum(t["status"] == "learned" for t in trials), len(trials)) for c, trials in arms.items()}
    said = ", ".join(f"{cell} {k}/{n}" for cell, (k, n) in counts.items())
    reach = {cell: _median(trials, "init", "h", "horizon") for cell, trials in arms.items()}
    text = f"{task} was learned by {said}"
    if needed is None or results["tier"] == "smoke":
        return text + "."
    text = f"{task} (lag {needed} and more to bridge) was learned by {said}"
    despite = [c for c, (k, n) in counts.items() if 2 * k > n and reach[c] < needed]
    although = [c for c, (k, n) in counts.items() if 2 * k <= n and reach[c] >= length - 1]
    if despite:
        text += f"; {listed(despite)} learned it from an initial horizon short of that lag"
    if although:
        text += f"; {listed(although)} did not, though its gradient arrives from every step"
    return text + "."
