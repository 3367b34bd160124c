"""Where does one direction stop carrying what is needed to transcribe speech?

Question. A bidirectional LSTM reads connected digits, spoken by voices that it never heard, and says which they are
(CTC). Beside it read an LSTM, a GRU and a vanilla RNN in one direction, and a vanilla RNN in both. How many digits are
wrong, do errors grow with the utterance's length, how much later does one direction say a digit, and how far does an
answer's gradient reach back in time and ahead? On JapaneseVowels, real speech of nine men, who speaks?

Expectation. On phonemes of TIMIT a bidirectional LSTM has fewer errors than an LSTM in one direction, and an LSTM fewer
than a vanilla RNN of the same directions (Graves & Schmidhuber 2005, abstract). CTC lets a network wait: in one
direction it should say a digit later, after it has heard it out, and lose most at an utterance's last digit, which too
little follows (no claim is known). On JapaneseVowels kernels of sequences reach 98.6 and 98.1 % (Toth, Oberhauser &
Szabo 2023).

Command. python -m rnnlab.run --exp=speech [--tier=smoke|quick|paper] [task.recordings=FOLDER] [task.folder=FOLDER]
"""

from rnnlab.cells import GRU, LSTM, VanillaRNN
from rnnlab.probes.speech.directions import from_an_answer
from rnnlab.probes.speech.heard import Posteriors, Speakers, Transcripts
from rnnlab.reports import figures, speech_answer, speech_claims, speech_figures, speech_tables
from rnnlab.reports.report import Report
from rnnlab.specs.grid import product
from rnnlab.tasks import JapaneseVowels, SpokenDigits

CELLS = {
    "LSTM, both ways": {"cell": LSTM, "bidirectional": True},
    "LSTM": {"cell": LSTM},
    "GRU": {"cell": GRU},
    "VanillaRNN, both ways": {"cell": VanillaRNN, "bidirectional": True},
    "VanillaRNN": {"cell": VanillaRNN},
}


def config(tier):
    """Adam; the network of the lowest loss on the validation part is the one that is measured."""
    common = {"task": SpokenDigits, "train.keep": "best", "train.schedule": "cosine", "train.stop_when_solved": False}
    tiers = {
        "smoke": {"seeds": 1, "cell.features": 8, "train.batch_size": 4, "train.eval_size": 8, "train.window": 3},
        # quick: of 2e-3, 5e-3, 1e-2 and 2e-2 the best of every cell on the validation part; paper: not searched for
        "quick": {"seeds": 4, "train.batch_size": 16, "train.learning_rate": 1e-2, "flow.examples": 16},
        "paper": {"seeds": 8, "train.batch_size": 32, "train.learning_rate": 5e-3, "flow.examples": 16},
    }
    return common | tiers[tier]


def arms(tier, settings=()):
    """Every cell on spoken digits, or recordings of one's own, and on JapaneseVowels."""
    digits = {"task": SpokenDigits, "task.clips": {"smoke": 28, "quick": 700, "paper": 4000}[tier]}
    vowels = {"task": JapaneseVowels}
    if tier == "smoke":  # every code path, once
        digits, vowels = (task | {"train.steps": 6, "flow.examples": 2} for task in (digits, vowels))
        cells = {name: CELLS[name] for name in ("LSTM, both ways", "GRU")}
    else:
        digits |= {"cell.features": {"quick": 64, "paper": 256}[tier], "train.eval_size": 160}
        digits |= {"train.steps": {"quick": 1200, "paper": 10_000}[tier], "train.window": 50}
        vowels |= {"cell.features": {"quick": 32, "paper": 128}[tier], "train.eval_size": 54}
        vowels |= {"train.steps": {"quick": 300, "paper": 2000}[tier], "train.window": 20}
        cells = CELLS
    tasks = {"SpokenDigits": digits}
    if not {"task.folder", "task.recordings", "task.clips", "task.noise", "task.masked"} & set(settings):
        tasks["JapaneseVowels"] = vowels
    return product({name: {p: v for p, v in of.items() if p not in settings} for name, of in tasks.items()}, cells)


def probes(spec):
    found = {"directions": from_an_answer}
    if isinstance(spec.task, SpokenDigits):
        return found | {"heard": Transcripts(spec.task), "posteriors": Posteriors(spec.task)}
    return found | {"speakers": Speakers(spec.task)} if isinstance(spec.task, JapaneseVowels) else found


def report(results):
    return Report(
        answer=speech_answer.answer(results),
        claims=speech_claims.claims(results),
        main=speech_tables.main(results),
        tables=speech_tables.tables(results),
        figures={
            "posteriors": speech_figures.posteriors,
            "length": speech_figures.by_length,
            "directions": speech_figures.directions,
            "confusions": speech_figures.confusions,
            "learning": figures.learning,
        },
    )
