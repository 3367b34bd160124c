"""How far back does a network look in a text, and does its memory buy anything over an n-gram model?

Question. A character language model reads Python's manual, or a text of one's own (task.file=book.txt): how many bits
a character does it need on held-out text, beside n-gram models of orders 1 to 6 and what gzip and xz reach? How much do
1, 10, 100 and 1,000 characters of memory buy, and from how far back does a gradient come? Apart from what a text
happens to ask for: can the network say which mark was opened d characters of real text ago?

Expectation. LSTM and GRU need fewer bits than a vanilla RNN (Karpathy, Johnson & Fei-Fei 2015, table 1), and what
stands more than 100 characters back still tells a little (Khandelwal, He, Qi & Jurafsky 2018, of words). The best
networks of Karpathy et al. (section 4.2) are ahead of the best of their n-gram models, on texts of some million
characters; on one of a third of a million a smoothed n-gram model should be hard to beat. A vanilla RNN should forget a
mark after tens of characters (Hochreiter 1991; Bengio, Simard & Frasconi 1994), and an LSTM at forget bias 1 too where
its horizon ends before d.

Command. python -m rnnlab.run --exp=text [--tier=smoke|quick|paper] [task.file=book.txt]
"""

from rnnlab.cells import GRU, LSTM, VanillaRNN
from rnnlab.probes.characters.loss import LossByMemory, TestLoss, flow_at_the_end
from rnnlab.probes.characters.units import Units
from rnnlab.reports import figures, text_answer, text_claims, text_figures, text_tables, text_units
from rnnlab.reports.report import Report
from rnnlab.specs.grid import product
from rnnlab.tasks import OpenMark, Text

CELLS = {"VanillaRNN": {"cell": VanillaRNN}, "GRU": {"cell": GRU}, "LSTM": {"cell": LSTM}}
RATES = {"VanillaRNN": 3e-3, "GRU": 1e-2, "LSTM": 1e-2}  # on text; at 3e-3 an LSTM needs three times the updates
LENGTHS = {"smoke": (60, 20), "quick": (1000, 50), "paper": (1000, 100)}  # of a sequence, and of truncated BPTT
DISTANCES = {"smoke": [10], "quick": [10, 30, 100, 300], "paper": [10, 30, 100, 300, 1000]}
STEPS = {"smoke": (6, 6), "quick": (1600, 300), "paper": (20_000, 10_000)}  # updates on text, and on marks


def config(tier):
    """Adam; the network of the lowest loss on the validation part is the one that is measured."""
    common = {"train.learning_rate": 3e-3, "train.clip_norm": 1.0, "train.batch_size": 32, "train.keep": "best"}
    tiers = {
        "smoke": {"seeds": 2, "cell.features": 8, "train.window": 3, "train.eval_size": 8, "flow.examples": 2},
        "quick": {"seeds": 4, "flow.examples": 8},
        "paper": {"seeds": 8, "flow.examples": 16},
    }
    return common | {"task": Text} | tiers[tier]


def arms(tier, settings=None):
    """Every cell on the text, in windows of truncated BPTT, and on marks at every distance, by BPTT in full.

    How networks are trained, and their width, give way to `settings` of the command line.
    """
    length, truncation = LENGTHS[tier]
    on_text, on_marks = STEPS[tier]
    text = {"task": Text, "task.length": length, "train.truncation": truncation, "train.steps": on_text}
    text |= {"train.schedule": "cosine"}
    marks = {"task": OpenMark, "train.steps": on_marks}
    if tier != "smoke":
        text |= {"cell.features": {"quick": 128, "paper": 512}[tier], "train.eval_size": 16}
        text |= {"train.batch_size": {"quick": 16, "paper": 32}[tier]}
        marks |= {"cell.features": {"quick": 64, "paper": 128}[tier], "train.eval_size": 256, "train.window": 20}
    given = {path for path in settings or () if path.startswith(("train.", "cell."))}
    text, marks = ({path: value for path, value in of.items() if path not in given} for of in (text, marks))
    distances = {f"OpenMark {d}": marks | {"task.length": d + 1} for d in DISTANCES[tier]}
    if tier == "smoke":  # every code path, once
        few = {name: CELLS[name] for name in ("VanillaRNN", "LSTM")}
        return product({"Text": text}, few) | product(distances, {"LSTM": CELLS["LSTM"]})
    rates = {} if "train.learning_rate" in given else RATES
    readers = {name: cell | ({"train.learning_rate": rates[name]} if rates else {}) for name, cell in CELLS.items()}
    return product({"Text": text}, readers) | product(distances, CELLS)


def probes(spec):
    if not isinstance(spec.task, Text):
        return {}
    return {"test": TestLoss(spec.task), "memory": LossByMemory(spec.task), "flow": flow_at_the_end,
            "units": Units(spec.task)}  # fmt: skip


def report(results):
    return Report(
        answer=text_answer.answer(results),
        figures={"memory": text_figures.memory, "marks": text_figures.marks_by_distance, "flow": text_figures.flow,
                 "learning": figures.learning},
        claims=text_claims.claims(results),
        columns=text_tables.COLUMNS,
        tables=text_tables.tables(results),
        parts=text_units.parts(results),
    )  # fmt: skip
