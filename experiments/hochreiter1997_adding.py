"""Does the LSTM of 1997, to the letter, learn to add over 100, 500 and 1,000 steps as it was published?

Question. Hochreiter & Schmidhuber 1997, experiment 4: two memory blocks of two cells, no forget gate, the truncated
gradient, one update a sequence, learning rate .5, input-gate biases -3 and -6, weights from U[-.1, .1]; ten trials,
each until 2,000 training sequences in a row are right. The text leaves open what the output unit's error is and which
units have a bias besides the input gates: each reading is an arm. "Bridged": the mean absolute error of held-out
sequences is below half of that of the answer .5. Wrong: of 2,560 test sequences, off by .04 or more.

Expectation. 74,000 sequences and 1 wrong at T = 100, 209,000 and 0 at 500, 853,000 (370,000 to 2,020,000) and 1 at
1,000 (section 5.4, table 7). A vanilla RNN with the full gradient: 0 of 10.

Finding. Two things decide. The error: squared error of a logistic output saturates at large sums and never reaches the
stop rule; a linear output does; so does a logistic output whose error is not multiplied by its slope (cross-entropy).
The biases: with one at every unit (the paper's 93 weights) long lags take longer; with biases at the input gates alone
(86 weights) and the cross-entropy, T = 100 and 500 take what was published, T = 1,000 about half.

Command. python -m rnnlab.run --exp=hochreiter1997_adding [--tier=smoke|quick|paper]
"""

import functools
import math

import jax

from rnnlab import online, stats, sweep_figures
from rnnlab.cells import LSTM, LSTM1997, VanillaRNN
from rnnlab.cells.lstm1997 import LSTM1997Cell
from rnnlab.claims import Published, published_table
from rnnlab.figures import by_task
from rnnlab.reach import guessing
from rnnlab.report import Verdict
from rnnlab.survival import median_time, sequences_to_solve
from rnnlab.sweep import product
from rnnlab.sweep_tables import format_time
from rnnlab.tables import Table, format_interval, listed
from rnnlab.tasks import Adding1997

TESTS = 2560
PUBLISHED = {100: (74_000, 1), 500: (209_000, 0), 1000: (853_000, 1)}  # sequences, wrong: table 7
RANGE = {1000: (370_000, 2_020_000)}  # of ten trials: section 5.4
SOURCE = "Hochreiter & Schmidhuber 1997, table 7"
PAPER = "LSTM 1997"
READINGS = {
    PAPER: {"task.output": "logistic", "task.loss": "entropy", "cell.biased": "input gates"},
    "squared error": {"task.output": "logistic", "task.loss": "squared", "cell.biased": "input gates"},
    "linear output": {"task.output": "linear", "task.loss": "squared", "cell.biased": "input gates"},
    "all biases": {"task.output": "logistic", "task.loss": "entropy", "cell.biased": "all units"},
}
CELL = {"cell": LSTM1997, "cell.features": 4, "cell.input_biases": (-3.0, -6.0), "cell.gradient": "truncated"}
ONLINE = {"train.optimizer": "sgd", "train.batch_size": 1, "train.learning_rate": 0.5, "train.clip_norm": None}
MODERN = {
    "cell": LSTM, "cell.features": 16, "task.output": "linear",
    "train.optimizer": "adam", "train.batch_size": 32, "train.learning_rate": 5e-3,
}  # fmt: skip
BUDGET = {100: 300_000, 500: 400_000, 1000: 1_000_000}  # sequences


def config(tier):
    common = {"task": Adding1997, "train.streak": 2000, "train.window": 1000, "seeds": 10, "flow.examples": 4}
    return common | ({"seeds": 2, "train.window": 50, "train.streak": 20} if tier == "smoke" else {})


def arms(tier):
    """Readings at every length; at T = 100 also other cells and gradients, under the same data and stop rule."""
    lengths = {"smoke": [100], "quick": [100], "paper": [100, 500, 1000]}[tier]
    budgets = {"smoke": {100: 100}, "quick": {100: 150_000}, "paper": BUDGET}[tier]
    tasks = {f"Adding {n}": {"task.length": round(1.1 * n), "train.steps": budgets[n]} for n in lengths}
    found = product(tasks, {name: CELL | ONLINE | reading for name, reading in READINGS.items()})
    for slow in ("squared error", "all biases"):  # at T = 500 they have shown what they do
        found.pop(f"Adding 1000/{slow}", None)
    steps = {"smoke": 100, "quick": 10_000, "paper": 100_000}[tier]
    first = {"Adding 100": tasks["Adding 100"] | {"train.steps": steps}}
    others = {
        "LSTM 1997, full gradient": CELL | ONLINE | READINGS[PAPER] | {"cell.gradient": "full"},
        "vanilla RNN": ONLINE | READINGS[PAPER] | {"cell": VanillaRNN, "cell.features": 8, "train.learning_rate": 0.1},
        "LSTM, Adam": MODERN | {"train.steps": steps // 10, "train.window": 50},
    }
    others["vanilla RNN"].pop("cell.biased")
    found |= product(first, others)
    few = ("Adding 100/LSTM 1997", "Adding 100/LSTM, Adam")  # every code path, once
    return {name: found[name] for name in few} if tier == "smoke" else found


def probes(spec):
    return {"test": functools.partial(examine, spec.task)}


def examine(task, model, inputs, losses, answers):
    """How a network does on the 2,560 test sequences, the same ones for all trials."""
    key = jax.random.key(1997)
    if isinstance(model.cells[0], LSTM1997Cell):  # each sequence from its own start
        found = online.examine(task, model, key, TESTS)
    else:
        batch = task.held_out(key, TESTS)
        found = task.metrics(model(batch.inputs, answers=answers), batch)
    return {"wrong": TESTS * (1 - found["accuracy"]), "absolute_error": found["absolute_error"]}


def report(results):
    tasks = by_task(results)
    table = _table(results)
    published = published_table([row for task, cells in tasks.items() for row in _published(task, cells)])
    figure = sweep_figures.survival_figure(results)
    return Verdict(_sentence(tasks), [table, published], {"solving": figure})


def chance_error(settings):
    """The mean absolute error of the answer .5."""
    return Adding1997(length=int(settings["task.length"])).chance_error


def bridged(trial, chance):
    """Sequences until the held-out error was below half of chance; inf where it never was."""
    curve = trial["curve"]
    batch = trial["sequences"] / trial["steps"] if trial["steps"] else 1
    steps = (s for s, error in zip(curve["step"], curve["eval/absolute_error"], strict=True) if error < chance / 2)
    return next(steps, math.inf) * batch


def wrong(trial):
    return round(trial["probes"][-1]["test"]["wrong"])


def _table(results):
    columns = ["arm", "trials", "lag bridged", "sequences until bridged", "stop rule met", "sequences until it",
               f"wrong of {TESTS:,}", "wrong before training", "solved by guessing weights"]  # fmt: skip
    rows = []
    for task, cells in by_task(results).items():
        for cell, trials in cells.items():
            chance = chance_error(results["settings"][f"{task}/{cell}"])
            reached = [bridged(trial, chance) for trial in trials]
            over = [r for r in reached if math.isfinite(r)]
            times = sequences_to_solve(trials)
            longest = max([*times.solved, *times.unsolved], default=0)
            learned = sum(trial["status"] == "learned" for trial in trials)
            rows.append([
                f"{task}/{cell}", str(len(trials)), _rate(len(over), len(trials)), _mean(over),
                _rate(learned, len(trials)),
                _mean([t["learned_at"] * t["sequences"] / t["steps"] for t in trials if t["status"] == "learned"])
                if learned == len(trials) else format_time(median_time(times), float(longest)),
                format_interval(stats.mean([wrong(trial) for trial in trials])), _before(trials),
                guessing(trials),
            ])  # fmt: skip
    caption = (
        "The adding problem of 1997. Lag bridged: held-out absolute error below half of that of the answer .5. Stop "
        "rule: 2,000 training sequences in a row right; where all trials met it the mean number of sequences, else "
        "Kaplan & Meier's median. In brackets 95 % intervals (Wilson's for rates)."
    )
    return Table(caption, columns, rows)


def _rate(k, n):
    rate = stats.proportion(k, n)
    return f"{k}/{n} [{rate.low:.2f}, {rate.high:.2f}]"


def _mean(values):
    return format_interval(stats.mean(values)) if values else "none"


def _before(trials):
    """How many of the test sequences a network gets wrong before it has learned anything."""
    return format_interval(stats.mean([trial["probes"][0]["test"]["wrong"] for trial in trials]))


def _published(task, cells):
    """The paper's numbers beside those of the reading that comes nearest to all of them."""
    length = int(task.split()[-1])
    if PAPER not in cells:
        return []
    sequences, errors = PUBLISHED[length]
    trials = cells[PAPER]
    learned = [t["learned_at"] for t in trials if t["status"] == "learned"]
    if len(learned) < len(trials):
        unmet = f"stop rule met in {len(learned)} of {len(trials)} trials"
        return [Published(f"{task}: sequences until the stop rule", SOURCE, f"{sequences:,}",
                          stats.mean(learned), len(trials) < 10 and None, unmet, _whole)]  # fmt: skip
    mean, errs = stats.mean(learned), stats.mean([wrong(t) for t in trials])
    rows = [
        Published(f"{task}: mean sequences until the stop rule", SOURCE, f"{sequences:,}", mean,
                  mean.low <= sequences <= mean.high, "", _whole),
        Published(f"{task}: mean wrong of {TESTS:,}", SOURCE, str(errors), errs, errs.low <= errors <= errs.high),
    ]  # fmt: skip
    if length in RANGE:
        low, high = RANGE[length]
        within = stats.proportion(sum(low <= n <= high for n in learned), len(learned))
        rows.append(Published(f"{task}: share of trials within the published range", SOURCE, f"{low:,} to {high:,}",
                              within, within.estimate == 1))  # fmt: skip
    return rows


def _whole(number):
    return f"{number:,.0f}"


def _sentence(tasks):
    parts = []
    for task, cells in tasks.items():
        met = [f"{cell} ({_met(trials)})" for cell, trials in cells.items() if _met(trials)[0] != "0"]
        none = [cell for cell, trials in cells.items() if _met(trials)[0] == "0"]
        said = f"{task}: the stop rule was met by {listed(met)}" if met else f"{task}: nobody met the stop rule"
        parts.append(said + (f", not by {listed(none)}" if none and met else ""))
    return "; ".join(parts) + "."


def _met(trials):
    return f"{sum(t['status'] == 'learned' for t in trials)} of {len(trials)}"
