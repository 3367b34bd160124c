"""Does the LSTM of 1997, to the letter, learn to add over 100, 500 and 1,000 steps as it was published?

Question. Hochreiter & Schmidhuber 1997, experiment 4: two memory blocks of two cells, no forget gate, 93 weights, the
truncated gradient, one update a sequence, learning rate .5, input-gate biases -3 and -6, weights from U[-.1, .1]; ten
trials, each until 2,000 training sequences in a row are right (the rule's other half, an average error below .01, then
holds for squared errors: .04^2). "The text": a logistic output, squared error, a bias at every unit. Other arms read
the error or the biases otherwise. "Bridged": the mean absolute error of held-out sequences is below half of that of
the answer .5. Wrong: of 2,560 test sequences, off by .04 or more.

Expectation. 74,000 sequences and 1 wrong at T = 100, 209,000 and 0 at 500, 853,000 (370,000 to 2,020,000) and 1 at
1,000 (section 5.4, table 7). A vanilla RNN does not learn it (section 2).

Finding. The text's words meet the stop rule in 10 of 10 trials at T = 100 and at T = 500, but after 738,000 and 962,000
sequences, 10 and 4.6 times as many as published; at T = 1,000 no trial bridges the lag within 2,100,000. At T = 100 all
have bridged it by then long since: what takes long is the last error, at large sums, where a logistic output with
squared error saturates. A linear output or a logistic one whose error is not multiplied by its slope (cross-entropy)
takes 87,000 and 127,000 there. At long lags the biases decide: with one at every unit the lag itself takes most of the
time; with biases at the input gates alone (86 weights) and the cross-entropy, T = 100 and 500 take within a tenth of
what was published, T = 1,000 about half, with more wrong answers (4.3, 5.4 and 12.6). This reading was found by trying
others at T = 100 and 500 (at 1,000 only it and the text's were run), so it explains the table and does not confirm it.
All numbers are means over ten trials; the results stand in experiments/results/.

Command. python -m rnnlab.run --exp=hochreiter1997_adding [--tier=smoke|quick|paper] [--arms='Adding 100/*']
"""

import functools
import math

import jax

from rnnlab.cells import LSTM, LSTM1997, VanillaRNN
from rnnlab.cells.lstm1997 import LSTM1997Cell
from rnnlab.reports import sweep_figures
from rnnlab.reports.claims import Published, published_table
from rnnlab.reports.figures import by_task
from rnnlab.reports.horizon_tables import guesses_said, guessing
from rnnlab.reports.report import Verdict
from rnnlab.reports.sweep_tables import format_time
from rnnlab.reports.tables import Table, format_interval, format_number, listed
from rnnlab.specs.grid import product
from rnnlab.stats import estimates
from rnnlab.stats.survival import Times, median_time, sequences_to_solve
from rnnlab.tasks import Adding1997
from rnnlab.training import online

TESTS, TRIALS = 2560, 10
PUBLISHED = {100: (74_000, 1), 500: (209_000, 0), 1000: (853_000, 1)}  # sequences, wrong: table 7
SOURCE = "Hochreiter & Schmidhuber 1997, table 7"
TEXT, FITTED = "the text", "entropy, input-gate biases"
GATES = {"cell.biased": "input gates"}
READINGS = {
    TEXT: {"task.output": "logistic", "task.loss": "squared"},
    "linear": {"task.output": "linear", "task.loss": "squared"},
    "entropy": {"task.output": "logistic", "task.loss": "entropy"},
    FITTED: {"task.output": "logistic", "task.loss": "entropy"} | GATES,
    "linear, input-gate biases": {"task.output": "linear", "task.loss": "squared"} | GATES,
}
CELL = {"cell": LSTM1997, "cell.features": 4, "cell.input_biases": (-3.0, -6.0), "cell.gradient": "truncated"}
ONLINE = {"train.optimizer": "sgd", "train.batch_size": 1, "train.learning_rate": 0.5, "train.clip_norm": None}
MODERN = {
    "cell": LSTM, "cell.features": 16, "task.output": "linear", "train.window": 50,
    "train.optimizer": "adam", "train.batch_size": 32, "train.learning_rate": 5e-3,
}  # fmt: skip
LENGTHS = {"smoke": (100,), "quick": (100,), "paper": (100, 500, 1000)}
BUDGET = {"smoke": 100, "quick": 150_000, "paper": 2_100_000}  # sequences at most; the paper's longest took 2,020,000
FEW = {"smoke": 100, "quick": 150_000, "paper": 300_000}  # of the modern LSTM
SLOW = {"smoke": 100, "quick": 5_000, "paper": 30_000}  # of what cannot be trained by forward traces


def config(tier):
    common = {"task": Adding1997, "train.streak": 2000, "train.window": 1000, "seeds": TRIALS, "flow.examples": 4}
    return common | ({"seeds": 2, "train.window": 50, "train.streak": 20} if tier == "smoke" else {})


def arms(tier):
    """Readings at every length; at T = 100 also other cells and gradients, under the same data and stop rule."""
    tasks = {f"Adding {n}": {"task.length": round(1.1 * n), "train.steps": BUDGET[tier]} for n in LENGTHS[tier]}
    found = product(tasks, {name: CELL | ONLINE | reading for name, reading in READINGS.items()})
    for name in READINGS.keys() - {TEXT, FITTED}:  # at T = 500 they have shown what they do
        found.pop(f"Adding 1000/{name}", None)
    first = {"Adding 100": tasks["Adding 100"] | {"train.steps": SLOW[tier]}}
    text = READINGS[TEXT]
    found |= product(first, {
        "full gradient": CELL | ONLINE | READINGS[FITTED] | {"cell.gradient": "full"},
        "vanilla RNN": ONLINE | text | {"cell": VanillaRNN, "cell.features": 8, "train.learning_rate": 0.1},
        "modern LSTM": MODERN | {"train.steps": math.ceil(FEW[tier] / 32)},
    })  # fmt: skip
    few = (f"Adding 100/{FITTED}", "Adding 100/modern LSTM")  # every code path, once
    return {name: found[name] for name in few} if tier == "smoke" else found


def probes(spec):
    return {"test": _test(spec.task)}


@functools.cache  # arms of one task share a program
def _test(task):
    return functools.partial(examine, task)


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
    rows = [row for task, cells in tasks.items() for row in _published(results, task, cells)]
    tables = [_table(results)] + ([published_table(rows)] if rows else [])
    return Verdict(_sentence(tasks), tables, {"solving": sweep_figures.survival_figure(results)})


def bridged(trial, chance):
    """Sequences until the held-out error was below half of chance; inf where it never was."""
    curve = trial["curve"]
    batch = trial["sequences"] / trial["steps"] if trial["steps"] else 1
    steps = (s for s, error in zip(curve["step"], curve["eval/absolute_error"], strict=True) if error < chance / 2)
    return next(steps, math.inf) * batch


def wrong(trial):
    return round(trial["probes"][-1]["test"]["wrong"])


def _learned(trials):
    return [trial for trial in trials if trial["status"] == "learned"]


def _table(results):
    columns = ["arm", "trials", "sequences at most", "lag bridged", "sequences until bridged", "stop rule met",
               "sequences until it", f"wrong of {TESTS:,}", "wrong before training", "chance loss",
               "solved by guessing weights"]  # fmt: skip
    rows = []
    for task, cells in by_task(results).items():
        for cell, trials in cells.items():
            arm, budget = f"{task}/{cell}", float(max(trial["budget"] for trial in trials))
            chance = Adding1997(length=int(results["settings"][arm]["task.length"])).chance_error
            reached = [bridged(trial, chance) for trial in trials]
            over = [r for r in reached if math.isfinite(r)]
            bridging = Times(over, [budget] * (len(trials) - len(over)))
            rows.append([
                arm, str(len(trials)), f"{budget:,.0f}",
                _rate(len(over), len(trials)), format_time(median_time(bridging), budget),
                _rate(len(_learned(trials)), len(trials)), format_time(median_time(sequences_to_solve(trials)), budget),
                format_interval(estimates.mean([wrong(trial) for trial in trials])),
                format_interval(estimates.mean([trial["probes"][0]["test"]["wrong"] for trial in trials])),
                format_number(float(results["chance"][arm])), guessing(trials),
            ])  # fmt: skip
    caption = (
        "The adding problem of 1997. Lag bridged: held-out absolute error below half of that of the answer .5, looked "
        "at every 1,000 sequences. Stop rule: 2,000 training sequences in a row right. Sequences: Kaplan & Meier's "
        "median. In brackets 95 % intervals (Wilson's for rates). The text, linear and entropy have 93 weights, those "
        "with biases at the input gates alone 86. Other cells see the blank steps before a short sequence."
    )
    return Table(caption + guesses_said(results["trials"]), columns, rows)


def _rate(k, n):
    rate = estimates.proportion(k, n)
    return f"{k}/{n} [{rate.low:.2f}, {rate.high:.2f}]"


def _published(results, task, cells):
    """The paper's numbers beside those of the text's words, and of the reading that was found to come nearest."""
    sequences, errors = PUBLISHED[int(task.split()[-1])]
    rows = []
    for reading in (TEXT, FITTED):
        if reading not in cells:
            continue
        trials = cells[reading]
        learned = _learned(trials)
        why = _departs(reading, trials, results["settings"][f"{task}/{reading}"])
        named = f"{task}, {reading}"
        rate = estimates.proportion(len(learned), len(trials))
        rows.append(Published(f"{named}: share of trials that meet the stop rule", SOURCE, "10/10", rate,
                              None if why else len(learned) == len(trials), why))  # fmt: skip
        if len(learned) < len(trials):
            continue
        mean, errs = estimates.mean([t["learned_at"] for t in trials]), estimates.mean([wrong(t) for t in trials])
        rows.append(Published(f"{named}: mean sequences until it", SOURCE, f"{sequences:,}", mean,
                              None if why else mean.low <= sequences <= mean.high, why, _whole))  # fmt: skip
        rows.append(Published(f"{named}: mean wrong of {TESTS:,}", SOURCE, f"{errors}", errs,
                              None if why else errs.low <= errors, why))  # fmt: skip
    if "vanilla RNN" in cells:
        trials = cells["vanilla RNN"]
        why = f"looked at for {trials[0]['budget']:,} sequences" if len(trials) == TRIALS else "fewer than ten trials"
        rate = estimates.proportion(len(_learned(trials)), len(trials))
        rows.append(Published(f"{task}, vanilla RNN: share of trials that meet the stop rule",
                              "Hochreiter & Schmidhuber 1997, section 2", "0 expected", rate,
                              None if len(trials) < TRIALS else rate.estimate == 0, why))  # fmt: skip
    return rows


def _departs(reading, trials, settings):
    """Why a run of this reading cannot confirm the paper's numbers; "" where it can."""
    told = []
    if reading == FITTED:
        told.append(f"86 weights and cross-entropy, chosen among {len(READINGS)} readings because it comes nearest")
    if len(trials) < TRIALS:
        told.append(f"{len(trials)} trials, not {TRIALS}")
    paper = {"train.streak": "2000", "task.tolerance": "0.04", "train.learning_rate": "0.5"}
    told += [f"{path}={settings[path]}" for path, value in paper.items() if settings[path] != value]
    return "; ".join(told)


def _whole(number):
    return f"{number:,.0f}"


def _sentence(tasks):
    parts = []
    for task, cells in tasks.items():
        counts = {cell: f"{len(_learned(trials))} of {len(trials)}" for cell, trials in cells.items()}
        met = [f"{cell} ({said})" for cell, said in counts.items() if said[0] != "0"]
        none = [cell for cell, said in counts.items() if said[0] == "0"]
        said = f"{task}: the stop rule was met by {listed(met)}" if met else f"{task}: nobody met the stop rule"
        parts.append(said + (f", not by {listed(none)}" if none and met else ""))
    return "; ".join(parts) + "."
