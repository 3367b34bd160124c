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

from functools import partial

from rnnlab.cells import AblatedLSTM
from rnnlab.reports import figures, importances, sentences, sweep_figures
from rnnlab.reports.ablation_claims import least_missed, part_claims
from rnnlab.reports.arm_columns import SWEEP
from rnnlab.reports.claims import does_not_decay, most_learn
from rnnlab.reports.pairs import paired_table
from rnnlab.reports.report import Report
from rnnlab.specs import grid
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
WIDTHS = {"smoke": [4, 8], "quick": [16, 32, 64], "paper": [32, 64, 128, 256]}  # few: a program each
POINTS = {"smoke": 2, "quick": 24, "paper": 200}  # 200: Greff et al. 2017
KINDS = {"smoke": [Adding], "quick": [Adding, TemporalOrder], "paper": [Adding, TemporalOrder]}
SCALES = {
    "train.learning_rate": "log", "cell.features": "levels", "cell.forget_bias": "linear", "train.clip_norm": "log"
}  # fmt: skip
GREFF = "Greff et al. 2017, conclusion"
SLOWER = {  # where learning is expected to take longer without a part, and who says so
    "no forget gate": f"{GREFF}; Jozefowicz et al. 2015",
    "no linearity": "Hochreiter & Schmidhuber 1997, section 3: the carousel is linear",
    "no output squashing": GREFF,
}
SPARED = {"coupled gates": GREFF}  # where it should cost nothing


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
    kinds = {f"{kind.__name__} {n}": {"task": kind, "task.length": n} for n in LENGTHS[tier] for kind in KINDS[tier]}
    parts = {name: {"cell.without": part} for name, part in WITHOUT.items()}
    if tier == "smoke":  # every code path, once
        parts = {name: parts[name] for name in (WHOLE, "no forget gate")}
    wholes = parts if tier == "paper" else {WHOLE: parts[WHOLE]}
    single = {"seeds": 1, "train.stop_when_solved": False}  # an outcome at the same budget for all
    named = {f"{name} {DRAWS}": part | single for name, part in wholes.items()}
    first = dict(list(kinds.items())[:1])
    return grid.product(kinds, parts) | grid.product(first, named, draws(tier))


def draws(tier):
    return grid.random(POINTS[tier], {
        "train.learning_rate": grid.log_uniform(1e-4, 1e-1), "cell.features": grid.choice(WIDTHS[tier]),
        "cell.forget_bias": grid.uniform(-2, 5), "train.clip_norm": grid.log_uniform(0.1, 10),
    })  # fmt: skip


def report(results):
    tasks = {task: arms for task, arms in results.tasks.items() if not task.endswith(DRAWS)}
    shown = [arm.name for arms in tasks.values() for arm in arms.values()]
    told, said, drawn = [], [], {}
    for arms in tasks.values():
        told += part_claims(arms, WHOLE, SLOWER, SPARED)
        told += least_missed(arms, "no output gate", ["no input gate", "no forget gate"], "Jozefowicz et al. 2015")
        if arm := arms.get("no forget gate"):
            told += [
                does_not_decay(arm, "f = 1, so dc_t/dc_{t-1} = 1"),
                most_learn(arm, "Hochreiter & Schmidhuber 1997"),
            ]
    if tasks:  # --arms may have left either out
        said.append(sentences.worth_of_parts(next(iter(tasks.values())), WHOLE))
        flow = partial(figures.flow, component="c")
        drawn = {
            "solving": sweep_figures.survival,
            "horizons": figures.horizons,
            "flow": flow,
            "learning": figures.learning,
        }
    for task in [task for task in results.tasks if task not in tasks]:
        arms = list(results.tasks[task].values())
        if found := importances.of_draws(arms, SCALES):
            told += importances.draw_claims(task, arms, found, "train.learning_rate", GREFF)
            drawn[f"importance of settings, {task}"] = importances.drawn(found, task)
            said += [importances.sentence(found)] * (len(said) < 2)  # of the first that was drawn
    compared = [paired_table(results.only(shown), f"{task}/{WHOLE}") for task, arms in tasks.items() if WHOLE in arms]
    return Report(" ".join(said), drawn, told, SWEEP, compared, arms=shown)
