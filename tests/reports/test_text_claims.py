"""Networks on text beside what has none: where they lose is said, and what memory buys is of the same trial."""

import dataclasses

import pytest
from made_results import made, read

from rnnlab.data.card import DataCard
from rnnlab.reports import text_answer, text_figures, text_tables, text_units
from rnnlab.reports.text_claims import claims

UNIT = {f"{name}{of}": value for name in text_tables.UNITS for of, value in ((" unit", 0), (" values", [0, 50]))}


def on_text(seeds=4, far=0.01):
    """The made results as of text: the LSTMs read better than the vanilla RNN, chrono better than an n-gram model."""
    found = made(seeds=seeds)
    found["trials"] = [t for t in found["trials"] if t["arm"].startswith("Adding") and t["status"] != "diverged"]
    names = [name for name in found["settings"] if name.startswith("Adding")]
    for name in names:
        found["settings"][name]["task"] = "Text"
    found["baselines"] = [{"arms": names, "found": {"n-grams": [4.0, 2.0], "gzip": 2.2, "xz": 1.7}}]
    level = {"VanillaRNN": 2.3, "LSTM forget bias 1": 2.1, "LSTM chrono": 1.8}
    for trial in found["trials"]:
        label, noise = trial["arm"].split("/")[1], trial["seed"] / 1000
        bits = level[label] + noise
        gain = far if label == "LSTM chrono" else 0.0
        memory = {"characters": [1, 100, 1000], "bits": [4.0, bits + gain + noise * gain, bits]}
        sides = [UNIT | {"passage": [97, 60]} | {name: fit for name in text_tables.UNITS} for fit in (0.2, 0.3)]
        sides[1]["line"] = -0.1
        trial["probes"] = [{"step": step, "test": {"bits": bits}, "memory": memory, "units": units}
                           for step, units in zip((0, 9), sides, strict=True)]  # fmt: skip
    results, card = read(found), DataCard("a book", "", "", 9, {}, "")
    return dataclasses.replace(results, arms={n: dataclasses.replace(a, card=card) for n, a in results.arms.items()})


def test_the_answer_names_every_cell_that_loses_and_what_memory_buys():
    said = text_answer.answer(on_text())
    assert "VanillaRNN 2.30: VanillaRNN and LSTM forget bias 1 more than the best n-gram model (order 2: 2.00)" in said
    assert "all more than xz (1.70)." in said
    assert "1,000 characters read instead of 100 save LSTM chrono 0.0100 [" in said
    assert "VanillaRNN and LSTM forget bias 1 nothing that can be told from 0" in said
    assert "save VanillaRNN, LSTM forget bias 1 and LSTM chrono nothing that can" in text_answer.answer(
        on_text(far=0.0)
    )


@pytest.mark.parametrize(("seeds", "far", "met"), [(4, 0.01, True), (4, 0.0, None), (4, -0.01, False), (3, 0.01, None)])
def test_bits_are_judged_by_what_each_trial_saves(seeds, far, met):
    found = {claim.says: claim for claim in claims(on_text(seeds, far))}
    far_off = "LSTM chrono: 1,000 characters read instead of 100 make the same characters cheaper"
    assert found[far_off].met is met and found[far_off].expected == "above 0 bits saved"
    if seeds == 4:
        best = "needs fewer bits a character than the best n-gram model (order 2)"
        assert found[f"LSTM chrono {best}"].met and found[f"LSTM forget bias 1 {best}"].met is False
    assert not any(says.startswith("VanillaRNN") or "xz" in says for says in found)


def test_memory_is_drawn_twice_the_second_around_the_lowest_values():
    figure = text_figures.memory(on_text())
    low, high = figure.axes[1].get_ylim()
    assert low == pytest.approx(1.7 - 0.1) and high == pytest.approx(2.0 + 0.6)
    assert "zero carry" in figure.get_label()


def test_units_that_training_adds_nothing_to_are_named_and_not_drawn():
    drawn = next(iter(text_units.parts(on_text()).values()))
    assert drawn.count("<h3>") == 3 and "(before training the best unit&#x27;s size was 0.20)" in drawn.replace(
        "'", "&#x27;"
    )
    assert "Not drawn, since training adds nothing: position in the line." in drawn
