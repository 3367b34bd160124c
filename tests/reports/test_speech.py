"""Transcripts of made trials: errors counted by hand, paired by seed, and real recordings apart from the test part."""

import io

import pytest
from made_results import made, read, relabelled

from rnnlab.reports import speech_claims, speech_tables
from rnnlab.reports.speech_answer import answer
from rnnlab.reports.speech_figures import by_length, confusion_table, confusions, posteriors

RENAMED = {"VanillaRNN": "VanillaRNN", "LSTM forget bias 1": "LSTM, both ways", "LSTM chrono": "LSTM"}
SAID = [[1], [2, 1], [1, 2], [2, 2]]
HEARD = {  # edits: 1 (of 7 tokens), 2 and 4
    "LSTM, both ways": [[1], [2, 1], [1, 2], [2]],
    "LSTM": [[1], [2], [1, 2], [2]],
    "VanillaRNN": [[], [2], [], [2, 2, 1]],
}
BEGINS = {"LSTM, both ways": 3, "LSTM": 5, "VanillaRNN": 9}  # step of the first token; the next is 4 later
SEEDS = 5


def filled(rows, width):
    return [row + [0] * (width - len(row)) for row in rows]


@pytest.fixture(scope="module")
def results():
    found = made(seeds=SEEDS)
    names = relabelled(found, RENAMED, "SpokenDigits")
    for trial in found["trials"]:
        label = trial["arm"].split("/")[1]
        heard = HEARD[label]
        steps = [[BEGINS[label] + 4 * n for n in range(len(row))] for row in heard]
        real = {"real said": filled(SAID, 2), "real heard": filled([[2]] * 4, 3),
                "real steps": filled([[0]] * 4, 3), "real beam": filled([[1]] * 4, 3)}  # fmt: skip
        probe = {"beam": filled([*SAID[:3], []], 3), "heard": filled(heard, 3), "steps": filled(steps, 3)} | real
        shown = {"p": [[900, 50, 50], [100, 800, 100], [0, 0, 1000]], "features": [[0.0] * 78] * 3, "number": 1}
        trial["probes"] = [{"step": 9, "heard": probe} | ({} if label == "VanillaRNN" else {"posteriors": shown})]
    baselines = {"said": SAID, "tokens": ["_one", "$^^$"], "between": " ", "answers": {"nothing": 1.0}}
    found["baselines"] = [{"arms": names, "found": baselines}]
    return read(found)


def heard_by(results, label):
    arm = speech_tables.of_task(results, "SpokenDigits")[label]
    return arm, arm.trials[-1], speech_tables.heard(arm, arm.trials[-1])


def test_errors_are_counted_over_tokens(results):
    for label, wrong, exact in (("LSTM, both ways", 1, 75), ("LSTM", 2, 50), ("VanillaRNN", 5, 0)):
        found = heard_by(results, label)[2]
        assert found.error_rate == pytest.approx(100 * wrong / 7) and found.exact == exact
        assert found.by_beam == pytest.approx(100 * 2 / 7)
    assert speech_tables.by_length(heard_by(results, "LSTM")[2]) == pytest.approx({1: 0.0, 2: 100 * 2 / 6})
    assert speech_tables.first_and_last(heard_by(results, "LSTM")[2]) == pytest.approx((0.0, 100 / 3))


def test_many_lengths_are_grouped():
    said = [[1] * n for n in range(1, 41)]
    found = speech_tables.Heard(said, [each[:-1] for each in said], [], [])
    rates = speech_tables.by_length(found)
    assert len(rates) == 8 and max(rates) == 40
    [last] = [rate for n, rate in rates.items() if n == 40]
    assert last == pytest.approx(100 * 4 / sum(range(37, 41)))


def test_real_recordings_are_apart_from_the_test_part(results):
    found = speech_tables.real(heard_by(results, "LSTM")[1])
    assert found.heard == [[2]] * 4 and found.beam == [[1]] * 4 and found.steps == [[0]] * 4
    assert found.error_rate == pytest.approx(100 * 4 / 7) and found.by_beam == pytest.approx(100 * 4 / 7)


def test_a_delay_is_of_recordings_that_both_have_right(results):
    """Recordings 0 and 2: every token two steps of 30 ms later. None where no recording is right in both."""
    arm, trial, _ = heard_by(results, "LSTM")
    assert speech_tables.delay(results, arm, trial) == 60
    assert speech_tables.delay(results, *heard_by(results, "VanillaRNN")[:2]) is None


def test_tables_claims_and_the_answer_say_so(results):
    table = speech_tables.main(results)
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert rows["SpokenDigits/LSTM"]["token error rate, %"].startswith("28.6")
    assert rows["SpokenDigits/answer: nothing"]["token error rate, %"] == "100"
    [lengths] = speech_tables.tables(results)
    assert lengths.columns == ["model", "1", "2"]
    claims = {claim.says: claim for claim in speech_claims.claims(results)}
    first = claims["LSTM, both ways has fewer digits wrong than LSTM of the same seed"]
    assert first.met and first.measured.startswith("14.3")
    assert claims["LSTM says a digit later than the LSTM of both directions"].met
    told = answer(results)
    assert "14.3 % with bidirectional LSTM, 28.6 % with LSTM and 71.4 % with VanillaRNN" in told
    assert "a token is said 60 ms later by LSTM" in told


def test_figures_are_drawn_of_what_there_is(results):
    assert by_length(results) and confusions(results)
    figure = posteriors(results)  # of tokens that matplotlib would read as mathematics, or hide
    figure.savefig(io.BytesIO())
    assert figure.axes[0].get_title().endswith("_one") and len(figure.axes) == 3
    arm = heard_by(results, "LSTM")[0]
    table = confusion_table(arm) / SEEDS
    assert table[2, 0] + table[1, 0] == 2 and table[1, 1] == 2 and table.sum() == 7
