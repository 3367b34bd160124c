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

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.reports import claims, figures, sentences
from rnnlab.reports.report import Report
from rnnlab.specs.grid import product
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
    longest = results.longest
    told = []
    for label, judge, source in (
        ("VanillaRNN", claims.falls_short, "Hochreiter 1991; Bengio, Simard & Frasconi 1994"),
        ("LSTM", claims.falls_short, "sigmoid(1) = .73 a step along the cell path"),
        ("LSTM chrono", claims.reaches, "Tallec & Ollivier 2018, section 3"),
    ):
        told += [judge(arms[label], source) for arms in results.tasks.values() if label in arms]
    told += claims.learned_where_reached(results, "the question above")
    return Report(
        answer=f"{sentences.half_lives(longest)} {sentences.learned_by(longest)}",
        claims=told,
        figures={"flow": figures.flow, "learning": figures.learning, "horizons": figures.horizons},
    )
