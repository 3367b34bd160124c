"""Translations beside their references: what attention changes is paired by sentence, and a text is never markup."""

import dataclasses
import math

import numpy as np
import pytest
from made_results import made, read, relabelled

from rnnlab.data.pairs import END
from rnnlab.reports.translation_claims import answer, claims
from rnnlab.reports.translation_figures import attention, by_length
from rnnlab.reports.translations import models_table, parts, tables, translated

TOKENS = ["", "", "", "?", "uno", "dos", "<b>"]
LENGTHS = [1, 2, 3, 4] * 12
RENAMED = {"VanillaRNN": "LSTM", "LSTM forget bias 1": "LSTM, attention", "LSTM chrono": "LSTM, source reversed"}
WRONG = {"LSTM": 2, "LSTM, attention": 9, "LSTM, source reversed": 3}  # words from which on a sentence is wrong


@pytest.fixture(scope="module")
def results():
    """The made results as of 48 sentences of 1 to 4 words, of which an arm gets those right that are short enough."""
    found = made(seeds=2)
    names = relabelled(found, RENAMED, "Translation")
    for trial in found["trials"]:
        label = trial["arm"].split("/")[1]
        rows = [[4] * n + [END] if n < WRONG[label] else [6, END] for n in LENGTHS]
        rows = [row + [0] * (6 - len(row)) for row in rows]
        source = {"h": {"lag": [0, 1, 2], "log10": [0.0, -1.0, -2.0]}}
        weights = {} if label != "LSTM, attention" else {"attention": {"thousandths": np.full((2, 6, 4), 250).tolist()}}
        probe = {"translations": {"greedy": rows, "beam": rows}, "source": source} | weights
        trial["probes"] = [{"step": step} | probe for step in (0, 9)]
    sentences = [" ".join(["uno"] * n) for n in LENGTHS]
    baselines = {
        "sources": ["<i>one</i>"] * 48, "references": sentences, "lengths": LENGTHS, "target tokens": TOKENS,
        "source words": [["$one"] * n for n in LENGTHS], "target words": [["uno"] * n for n in LENGTHS],
        "units": "words", "models": {"a copy of the source": ["one"] * 48,
                                     "a dictionary (IBM model 1)": ["uno"] * 48},
    }  # fmt: skip
    found["baselines"] = [{"arms": names, "found": baselines}]
    return read(found)


def test_scores_are_of_sentences(results):
    [each] = translated(results)
    assert [label for label, _ in each.groups()] == ["1 to 2", "3", "4"]
    assert each.mean("LSTM").estimate == 25 and each.mean("LSTM, source reversed").estimate == 50
    best = each.mean("LSTM, attention")
    assert best.estimate == 100 and 92 < best.low < 93 and best.high == 100  # Wilson: 48 of 48
    assert each.mean("a dictionary (IBM model 1)").estimate == 25
    found = each.difference("LSTM, attention", "LSTM")
    assert found.estimate == 75 and 0 < found.low < 75 < found.high
    assert math.isclose(each.scores("LSTM, attention")[0].chrf, 100)


def test_claims_and_the_answer_say_what_length_does(results):
    told = {claim.says.split(": ", 1)[1]: claim.met for claim in claims(results)}
    assert told["LSTM translates better with attention than without, by exact match"] is True
    assert told["LSTM without attention translates better from a reversed source, by exact match"] is True
    falls = next(met for says, met in told.items() if says.startswith("without attention LSTM is right less often"))
    assert falls is True
    said = answer(results)
    assert "with attention 100 % and 100 %" in said and "0.0 times that at the last" in said


def test_a_network_that_translates_nothing_does_not_hold_on_with_length(results):
    """0 % of the shortest and of the longest sentences is no small loss."""
    for arm in results.arms.values():
        for trial in arm.trials:
            for probe in trial.probes:
                probe["translations"] = {s: [[6, END, 0]] * 48 for s in ("greedy", "beam")}
    told = {claim.says.split(": ", 1)[1]: claim for claim in claims(results)}
    held = told["with attention LSTM hardly loses with length (less than 5 points)"]
    assert held.met is None and held.why == "the shortest sentences leave nothing to lose"


def test_where_nothing_says_what_is_learned_quality_is_chrf(results):
    arms = {name: dataclasses.replace(arm, rule=None) for name, arm in results.arms.items()}
    results = dataclasses.replace(results, arms=arms)
    [each] = translated(results)
    assert each.quality == "each_chrf" and "reaches a chrF of" in answer(results)
    assert tables(results)[0].caption.startswith("ChrF of a sentence, 0 to 100, by the tokens of the source")
    assert by_length(results).axes[0].get_ylabel() == "chrF of a sentence"


def test_tables_figures_and_text_that_looks_like_markup(results):
    assert len(models_table(results).rows) == 5 and len(tables(results)) == 2
    [html] = parts(results).values()
    assert "&lt;i&gt;one&lt;/i&gt;" in html and "&lt;b&gt;" in html and "<i>" not in html
    for draw in (by_length, attention):
        figure = draw(results)
        figure.canvas.draw()
        assert figure.get_label()


def test_models_that_agree_everywhere_are_not_known_to_be_equal(results):
    """Wilson's interval of none in 48 sentences reaches 7.4 %."""
    [each] = translated(results)
    found = each.difference("LSTM", "LSTM")
    assert found.estimate == 0 and -7.5 < found.low < -7.3 and found.high == -found.low
