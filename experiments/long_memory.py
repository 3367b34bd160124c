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

from rnnlab import report as shown
from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.sweep import product
from rnnlab.tasks import Adding, PaddedDigits

LENGTHS = {
    "smoke": {"Adding": [30], "PaddedDigits": [70]},
    "quick": {"Adding": [50, 200], "PaddedDigits": [128]},
    "paper": {"Adding": [50, 200, 1000, 10_000], "PaddedDigits": [128, 500, 2000, 10_000]},
}


def config(tier):
    """Adam, as anyone would use it today; the paper tier's budget lets every arm converge that will."""
    common = {"cell.features": 64, "train.learning_rate": 3e-3, "train.clip_norm": 1.0, "train.batch_size": 32}
    tiers = {
        "smoke": {"seeds": 2, "cell.features": 16, "train.steps": 20, "train.window": 10, "train.eval_size": 32},
        "quick": {"seeds": 3, "train.steps": 1500, "train.window": 50},
        "paper": {"seeds": 10, "train.steps": 20_000, "train.window": 20, "train.eval_size": 512},
    }
    return common | tiers[tier]


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
            setting = {f"{task.__name__} {length}": {"task": task, "task.length": length}}
            found |= product(setting, cells(length))
    if tier == "smoke":  # every code path, once
        found = {name: arm for name, arm in found.items() if arm["task"] is Adding or name.endswith("/LSTM")}
    return found


def needed_lags(arms):
    """The lag that a task asks to be bridged: half of T on average for the first addend; T - 64 for the last pixel."""
    lags = {"Adding": lambda length: length // 2, "PaddedDigits": lambda length: length - 64}
    specs = {name.rpartition("/")[0]: spec.task for name, spec in arms.items()}
    return {name: lags[type(task).__name__](task.length) for name, task in specs.items()}


def report(results):
    """The verdict follows from the numbers, also where they contradict the expectation."""
    return shown.verdict(results)
