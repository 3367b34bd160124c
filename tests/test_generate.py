"""Text from a trained network: the same for the same seed, the likeliest at temperature 0; one line where it fails."""

import contextlib
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from program import ROOT

import rnnlab
from rnnlab import generate as program
from rnnlab.generate import choose, readable, stream
from rnnlab.runs import check_text
from rnnlab.settings.errors import SettingError

pytestmark = pytest.mark.slow

BOOK = 'The "gate" was shut (so they said).\n' * 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    here = tmp_path_factory.mktemp("generate")
    (here / "book.txt").write_text(BOOK)
    words = {"task.file": str(here / "book.txt"), "cell.features": 4}
    with contextlib.chdir(here):
        return (
            here / rnnlab.run("text", tier="smoke", arms="Text/LSTM", settings={**words, "seeds": 1}, quiet=True).folder
        )


def test_the_same_seed_draws_the_same_text_of_the_texts_characters(folder):
    drawn = [rnnlab.generate(folder, "The gate", characters=60, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2] and len(drawn[0]) == 60 and set(drawn[0]) <= set(BOOK)


def test_temperature_0_is_the_most_likely_character_of_the_whole_sequence(folder):
    """What the stream hands on from step to step is the carry: one pass over all of it gives the same."""
    trained = choose(folder)
    text = trained.task.text
    found = "".join(stream(trained.model, text, "The gate", 10, 0.0, seed=1))
    tokens = jnp.asarray(text.encode("The gate" + found), jnp.int32)[:, None]
    outputs = np.asarray(trained.model(tokens))[:, 0, :-1]  # the last number is no character
    assert text.decode(outputs[len("The gate") - 1 : -1].argmax(axis=1)) == found


def test_a_low_temperature_is_near_the_most_likely_and_a_high_one_is_not(folder):
    cold, coldest, hot = (rnnlab.generate(folder, "The", characters=40, temperature=t) for t in (1e-6, 0, 50.0))
    assert cold == coldest and len(set(hot)) > len(set(cold))


def test_characters_that_training_lacks_are_left_out_and_said(folder, capsys):
    text = choose(folder).task.text
    assert readable(text, "Thé gæte é") == ("Th gte ", "éæ")
    assert program.main(["generate", str(folder), "--prompt=Thé gate", "--characters=5"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Th gate") and len(out) == len("Th gate") + 5 + 1
    assert err == "rnnlab: --prompt: 'é' not in the training text, left out\n"
    assert rnnlab.generate(folder, "漢", characters=5) == rnnlab.generate(folder, "", characters=5)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--arm=Text/LSTN"], "no such arm of Text; the nearest is Text/LSTM"),
        (["--temperature=-1"], "temperature=-1.0: must be a number of at least 0"),
        (["--characters=-1"], "characters"),
        (["--tempo=1"], "--tempo: no such flag; the nearest is --temperature"),
    ],
)
def test_what_is_wrong_is_one_line(folder, capsys, words, told):
    assert program.main(["generate", str(folder), *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("rnnlab: ") and told in err and err.count("\n") == 1
    program.FLAGS.unparse_flags()
    for name in ("arm", "temperature", "characters"):
        program.FLAGS[name].unparse()


def test_a_folder_without_text_is_one_line(tmp_path):
    with pytest.raises(SettingError, match="no run of rnnlab"):
        rnnlab.generate(tmp_path)


def test_whoever_reads_along_may_go_away(folder):
    """`| head -c 10` ends it without a word."""
    command = f"{sys.executable} -m rnnlab.generate {folder} --characters=3000 | head -c 10"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert len(done.stdout) == 10 and not done.stderr


def test_another_text_than_the_one_it_was_trained_on_is_refused(folder):
    """Its characters would have other numbers."""
    book = folder.parents[1] / "book.txt"
    book.write_text(BOOK.replace("shut", "open"))
    with pytest.raises(SettingError, match="another text than the one it was trained on"):
        rnnlab.generate(folder)
    book.write_text(BOOK)
    rnnlab.generate(folder, characters=1)


def test_a_changed_text_is_refused_of_a_run_that_has_not_ended(folder, monkeypatch):
    """Without results.json the digest of the trial's beginning tells; without any, the shapes of its weights."""
    book, results = folder.parents[1] / "book.txt", folder / "results.json"
    results.rename(folder / "aside.json")
    try:
        book.write_text(BOOK.replace("shut", "OPEN"))
        with pytest.raises(SettingError, match="another text than the one it was trained on"):
            rnnlab.generate(folder)
        monkeypatch.setattr(check_text, "data_digests", lambda files: {})
        with pytest.raises(SettingError, match="of other shapes than its task's data asks for"):
            rnnlab.generate(folder)
    finally:
        book.write_text(BOOK)
        (folder / "aside.json").rename(results)
