"""Which part of an LSTM does the work, and which of its settings?

Question. An LSTM has three gates, a squashed output and a linear cell state. Each is taken away in turn, with the
weights that are left as they were, on tasks with a known lag: does the network still learn them, after how many
sequences, and how far back does a gradient reach? Beside it, draws over learning rate, width, forget bias and clipping
norm: how much of the outcome is a matter of which setting?

Expectation. Without the forget gate or the output squashing learning suffers, coupled gates cost nothing, and the
learning rate makes most of the variance, interactions little (Greff et al. 2017: speech, handwriting and
music). The output gate matters least of the three gates (Jozefowicz, Zaremba & Sutskever 2015: arithmetic,
XML, text). Those streams never end. Here a sequence does, and the first LSTM learned such tasks with no forget gate at
all (Hochreiter & Schmidhuber 1997): its cell path keeps a gradient at full strength, so nothing should be lost
without it. A tanh on the carry should cost what the linear cell state is for.

Command. python -m rnnlab.run --exp=gate_ablation [--tier=smoke|quick|paper]
"""

import math

from rnnlab.cells import AblatedLSTM
from rnnlab.reports import figures, horizon_tables, sweep_axes, sweep_figures, sweep_tables
from rnnlab.reports import report as shown
from rnnlab.reports.claims import Claim, claims_table, summary
from rnnlab.reports.tables import format_interval, format_number
from rnnlab.specs import grid
from rnnlab.stats import estimates, fanova, survival
from rnnlab.stats.paired import holm
from rnnlab.tasks import Adding, TemporalOrder

WHOLE, DRAWS = "LSTM", "draws"
WITHOUT = {
    WHOLE: "nothing",
    "no forget gate": "forget gate",
    "no input gate": "input gate",
    "no output gate": "output gate",
    "coupled gates": "independence",
    "no linearity": "linearity",
    "no output squashing": "output squashing",
}
LENGTHS = {"smoke": [20], "quick": [50], "paper": [100, 400]}
POINTS = {"smoke": 2, "quick": 24, "paper": 200}  # 200: Greff et al. 2017
SCALES = {
    "train.learning_rate": "log", "cell.features": "levels", "cell.forget_bias": "linear", "train.clip_norm": "log"
}  # fmt: skip
LEVEL = 0.05  # of a test
TRUSTED, ENOUGH = 0.5, 100  # R^2 and draws, below which shares of the variance are not judged


def config(tier):
    """Adam, as anyone would use it today. With 5 seeds one of 6 parts can be told from chance, with 4 it cannot."""
    common = {"cell": AblatedLSTM, "cell.features": 32, "train.learning_rate": 3e-3, "train.clip_norm": 1.0}
    tiers = {
        "smoke": {"seeds": 2, "cell.features": 8, "train.steps": 20, "train.window": 10, "train.eval_size": 32},
        "quick": {"seeds": 5, "train.learning_rate": 1e-2, "train.steps": 1500, "train.window": 25, "flow.examples": 8},
        "paper": {"seeds": 20, "cell.features": 128, "train.steps": 20_000},
    }
    return common | tiers[tier]


def arms(tier):
    """Every task without every part, and draws on the first task: of the whole LSTM, at paper also of what is left."""
    tasks = {
        f"{task.__name__} {length}": {"task": task, "task.length": length}
        for length in LENGTHS[tier]
        for task in (Adding, TemporalOrder)
    }
    parts = {name: {"cell.without": part} for name, part in WITHOUT.items()}
    if tier == "smoke":  # every code path, once
        tasks = dict(list(tasks.items())[:1])
        parts = {name: parts[name] for name in (WHOLE, "no forget gate")}
    (task, setting), *_ = tasks.items()
    wholes = parts if tier == "paper" else {WHOLE: parts[WHOLE]}
    single = {"seeds": 1, "train.stop_when_solved": False}  # an outcome at the same budget for all
    named = {f"{name} {DRAWS}": part | single for name, part in wholes.items()}
    return grid.product(tasks, parts) | grid.product({task: setting}, named, draws(tier))


def draws(tier):
    """Few widths, so that the points of one width run in one program."""
    widths = {"smoke": [4, 8], "quick": [16, 32, 64], "paper": [32, 64, 128, 256]}
    return grid.random(
        POINTS[tier],
        {
            "train.learning_rate": grid.log_uniform(1e-4, 1e-1),
            "cell.features": grid.choice(widths[tier]),
            "cell.forget_bias": grid.uniform(-2, 5),
            "train.clip_norm": grid.log_uniform(0.1, 10),
        },
    )


def report(results):
    """The verdict follows from the numbers, also where they contradict the expectation."""
    drawn = {name: cells for name, cells in figures.by_task(results).items() if name.endswith(DRAWS)}
    tasks = {name: cells for name, cells in figures.by_task(results).items() if name not in drawn}
    trials = [trial for cells in tasks.values() for of_cell in cells.values() for trial in of_cell]
    ablated = results | {"trials": trials, "rule": {task: results["rule"][task] for task in tasks}}
    claims = [claim for task, cells in tasks.items() for claim in _parts(task, cells)]
    found = {name: _importance(results, cells) for name, cells in drawn.items()}
    number = {name: sum(map(len, cells.values())) for name, cells in drawn.items()}
    claims += [claim for name, shares in found.items() if shares for claim in _settings(name, shares, number[name])]
    if results["tier"] == "smoke":  # too little trained to tell
        claims = [claim._replace(met=None) for claim in claims]
    pictures, tables = {}, []
    if tasks:  # --arms may have left either out
        pictures |= {
            "solving": sweep_figures.survival_figure(ablated),
            "reach": figures.reach_figure(ablated),
            "flow": figures.flow_figure(ablated, full="c"),
            "learning": figures.learning_figure(ablated),
        }
        wholes = [f"{task}/{WHOLE}" for task, cells in tasks.items() if WHOLE in cells]
        pairs = [sweep_tables.paired_table(ablated, arm) for arm in wholes]
        tables = [
            sweep_tables.sweep_table(ablated),
            *(pair for pair in pairs if pair.rows),
            horizon_tables.reach_table(ablated),
        ]
    for number, (name, importance) in enumerate(item for item in found.items() if item[1]):
        picture = sweep_figures.importance_figure(importance, f"log best held-out loss\n{name}")
        pictures[f"importance_{number + 1}" if number else "importance"] = picture
    told = [claims_table(claims)] if claims else []
    return shown.Verdict(f"Parts and settings of an LSTM: {summary(claims)}", tables[:1] + told + tables[1:], pictures)


def _best(trial, chance):
    """The least held-out loss within the budget; chance where none was finite."""
    return min(filter(math.isfinite, trial["curve"]["eval/loss"]), default=chance)


def _parts(task, cells):
    """What each part is expected to be worth on one task."""
    slower = {
        "no forget gate": (True, "Greff et al. 2017, conclusion; Jozefowicz et al. 2015"),
        "coupled gates": (False, "Greff et al. 2017, conclusion"),
        "no linearity": (True, "Hochreiter & Schmidhuber 1997, section 3: the carousel is linear"),
        "no output squashing": (True, "Greff et al. 2017, conclusion"),
    }
    if WHOLE not in cells:
        return []
    times = {cell: survival.sequences_to_solve(trials) for cell, trials in cells.items()}
    times = {cell: of_cell for cell, of_cell in times.items() if any(map(len, of_cell))}
    if WHOLE not in times:
        return []
    tests = {part: survival.logrank_test(times[WHOLE], times[part]) for part in times if part != WHOLE}
    corrected = dict(zip(tests, holm([test.p for test in tests.values()]), strict=True))  # as in the paired table
    claims = []
    for part, (expected, source) in slower.items():
        if part in tests:
            medians = [survival.median_time(times[cell]).estimate for cell in (WHOLE, part)]
            name, p = f"{task}: {part}", corrected[part]
            if expected:
                able = min(tests[part].least * len(tests), p) < LEVEL
                claims.append(_slows(name, source, medians, p, able))
            else:
                claims.append(_costs_nothing(name, source, medians, p))
    if {f"no {gate} gate" for gate in ("input", "forget", "output")} <= set(times):
        claims.append(_least(task, times))
    if "no forget gate" in cells:
        claims += _carousel(task, cells["no forget gate"])
    return claims


def _slows(name, source, medians, p, able):
    """Fewer sequences do not suffice, and the log-rank test says that it is no chance, where it could."""
    return Claim(
        f"{name} slows learning", source, f"above {medians[0]:g} sequences at p < {LEVEL:g}",
        f"{medians[1]:g} (p {format_number(p, 2)})", p < LEVEL and medians[1] > medians[0] if able else None,
    )  # fmt: skip


def _costs_nothing(name, source, medians, p):
    """A difference speaks against it; that none is seen does not speak for it."""
    seen = "" if p < LEVEL else ": no difference seen"
    return Claim(
        f"{name} costs nothing", source, f"no more than {medians[0]:g} sequences",
        f"{medians[1]:g} (p {format_number(p, 2)}{seen})",
        False if not seen and medians[1] > medians[0] else None,
    )  # fmt: skip


def _least(task, times):
    """Which of the three gates can best be spared: met where both others are slower, not met where one is faster."""
    of = {gate: times[f"no {gate} gate"] for gate in ("input", "forget", "output")}
    medians = {gate: survival.median_time(of_gate).estimate for gate, of_gate in of.items()}
    ps = {gate: survival.logrank(of["output"], of[gate]) for gate in ("input", "forget")}
    slower = all(p < LEVEL and medians["output"] < medians[gate] for gate, p in ps.items())  # both: none is corrected
    either = zip(ps, holm(list(ps.values())), strict=True)
    faster = any(p < LEVEL and medians[gate] < medians["output"] for gate, p in either)
    said = [f"{gate} {median:g}" for gate, median in medians.items()]
    said += [f"p {format_number(p, 2)} against the {gate} gate" for gate, p in ps.items()]
    return Claim(
        f"{task}: of the three gates the output gate is the least missed", "Jozefowicz et al. 2015",
        f"fewest sequences without the output gate, each at p < {LEVEL:g}", ", ".join(said),
        True if slower else False if faster else None,
    )  # fmt: skip


def _carousel(task, trials):
    """The LSTM of 1997: a path on which nothing is lost, and which is enough where a sequence ends."""
    rates = [trial["reach"]["init"]["c cell path"]["decay_rate"] for trial in trials]
    rate = estimates.proportion(sum(trial["status"] == "learned" for trial in trials), len(trials))
    most = True if rate.low > 0.5 else False if rate.high < 0.5 else None
    return [
        Claim(
            f"{task}: without a forget gate the cell path does not decay", "f = 1, so dc_t/dc_{t-1} = 1",
            "0 nats/step", f"{estimates.mean(rates).estimate:.2g}", max(map(abs, rates)) < 1e-6,
        ),
        Claim(
            f"{task}: most trials learn without a forget gate", "Hochreiter & Schmidhuber 1997, experiments 4 and 6",
            "a rate above 0.5, with its 95 % interval", format_interval(rate), most,
        ),
    ]  # fmt: skip


def _importance(results, cells):
    """Of the settings drawn, on the logarithm of the best held-out loss; None where nothing varies."""
    trials = [trial for trials in cells.values() for trial in trials]
    losses = fanova.logs([_best(trial, results["chance"][trial["arm"]]) for trial in trials])
    if len(set(losses)) < 2:
        return None
    found = fanova.importance(sweep_axes.design(results, trials, list(SCALES)), losses, SCALES)
    return found if found.effects else None


def _settings(name, found, number):
    """Which setting matters, where draws are enough and the forest explains half of what it has not seen."""
    alone = {effect.axes[0]: effect.share for effect in found.effects if len(effect.axes) == 1}
    together = sum(effect.share for effect in found.effects if len(effect.axes) == 2)
    rate = alone.pop("train.learning_rate")
    next_ = max(alone, key=alone.get)
    judged = found.explained >= TRUSTED and number >= ENOUGH  # nan is few trials
    trust = f"({number} draws; the forest explains {found.explained:.0%} of unseen trials' variance)"
    return [
        Claim(
            f"{name}: the learning rate matters most {trust}", "Greff et al. 2017, conclusion",
            f"above {sweep_axes.label(next_)}'s share, {alone[next_]:.0%}", f"{rate:.0%}",
            rate > alone[next_] if judged else None,
        ),
        Claim(
            f"{name}: interactions of two are small {trust}", "Greff et al. 2017, conclusion",
            f"below all settings alone, {rate + sum(alone.values()):.0%}", f"{together:.0%}",
            together < rate + sum(alone.values()) if judged else None,
        ),
    ]  # fmt: skip
