"""Where does one fixed vector stop carrying what a translation needs?

Question. An encoder reads a sentence, a decoder writes its translation. All that the decoder knows of the source is the
encoder's last carry; or it may look at the encoder's outputs at every step (attention). Which sentences are translated
exactly right, by their length, with and without attention, by an LSTM, a GRU and a vanilla RNN? What does it help to
read the source from its end? Sentences are numbers in the words of two languages, or pairs of one's own
(task.pairs=deu.txt).

Expectation. Without attention quality falls with a sentence's length, with it hardly (Cho, van Merrienboer, Bahdanau &
Bengio 2014; Bahdanau, Cho & Bengio 2015, section 5.2.1 and figure 2). A reversed source helps without attention, since
the first words come closer to their translation (Sutskever, Vinyals & Le 2014, section 3.3). A vanilla RNN needs
attention most: its gradient fades on its way to the first words.

Command. python -m rnnlab.run --exp=translation [--tier=smoke|quick|paper]
On pairs of one's own: task.pairs=FILE, source TAB target a line; numbers of other languages: task.target=fr
"""

from pathlib import Path

from rnnlab.cells import GRU, LSTM, VanillaRNN
from rnnlab.probes.translation.probes import Attention, Translations, source_gradient
from rnnlab.reports import figures, translation_claims, translation_figures, translations
from rnnlab.reports.report import Report
from rnnlab.specs.grid import product
from rnnlab.tasks import Translation

CELLS = {"LSTM": {"cell": LSTM}, "GRU": {"cell": GRU}, "VanillaRNN": {"cell": VanillaRNN}}
FORMS = {
    "": {},
    ", source reversed": {"reverse_source": True},
    ", attention": {"attention": "dot"},
    ", additive attention": {"attention": "additive"},
}
PLAIN, BEST = "", ", attention"
NUMBERS = {"task.length": 37, "task.source_length": 22}  # tokens of the longest English and Spanish number below 10^9
RATES = {"VanillaRNN": 1e-3}  # others: 3e-3


def config(tier):
    """Adam; the network of the lowest loss on the validation part translates the test part."""
    common = {"task": Translation, "train.schedule": "cosine", "train.clip_norm": 1.0, "train.keep": "best"}
    tiers = {
        "smoke": {"seeds": 1, "cell.features": 8, "embedding": 8, "train.steps": 6, "train.window": 3,
                  "train.eval_size": 16, "train.batch_size": 8, "flow.examples": 4},
        "quick": {"seeds": 2, "cell.features": 128, "embedding": 64, "train.steps": 1000, "train.window": 100,
                  "train.eval_size": 512, "train.batch_size": 32, "flow.examples": 32},
        "paper": {"seeds": 5, "cell.features": 512, "embedding": 256, "train.steps": 20_000, "train.window": 200,
                  "train.eval_size": 1000, "train.batch_size": 64, "flow.examples": 128},
    }  # fmt: skip
    return common | tiers[tier]


def arms(tier, settings=()):
    """Every cell with and without attention, the LSTM in all forms; pairs of one's own take the numbers' place."""
    numbers = "task.pairs" not in settings
    name = "number words" if numbers else Path(settings["task.pairs"]).stem
    plain = {"task.source", "task.target", "task.numbers", "task.units"}.isdisjoint(settings)
    task = dict(NUMBERS) if numbers and plain and not any(path in settings for path in NUMBERS) else {}
    if numbers and tier == "smoke" and "task.size" not in settings:
        task |= {"task.size": 2000}
    found = {}
    for cell, values in CELLS.items():
        rate = {} if "train.learning_rate" in settings else {"train.learning_rate": RATES.get(cell, 3e-3)}
        found |= {f"{cell}{form}": values | rate | FORMS[form] for form in _forms(tier, cell)}
    return product({name: task}, found)


def _forms(tier, cell):
    """In which forms a cell is trained."""
    if tier == "paper":
        return tuple(FORMS)
    if tier == "quick":
        return tuple(FORMS)[:3] if cell == "LSTM" else (PLAIN, BEST)
    return {"LSTM": (PLAIN, BEST), "VanillaRNN": (PLAIN,)}.get(cell, ())


def probes(spec):
    return {"translations": Translations(spec.task), "source": source_gradient, "attention": Attention(spec.task)}


def report(results):
    return Report(
        answer=translation_claims.answer(results),
        figures={"length": translation_figures.by_length, "attention": translation_figures.attention,
                 "learning": figures.learning, "flow": figures.flow},
        claims=translation_claims.claims(results),
        main=translations.models_table(results),
        tables=translations.tables(results),
        parts=translations.parts(results),
    )  # fmt: skip
