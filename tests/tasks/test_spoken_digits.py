"""Spoken digits: the same in every process, voices apart. JapaneseVowels: the published split, and masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny_training import run

from rnnlab.cells import LSTM
from rnnlab.data import spoken_digits
from rnnlab.data.japanese_vowels import japanese_vowels, parsed
from rnnlab.data.speech_synthesis import Utterance, speak
from rnnlab.data.spoken_digits import LONGEST, VOICES, WORDS, utterances
from rnnlab.data.vowel_baselines import means, warped
from rnnlab.model import SequenceModel
from rnnlab.specs.errors import UserError
from rnnlab.tasks import JapaneseVowels, SpokenDigits
from rnnlab.training.spec import TrainSpec, TrialSpec
from rnnlab.training.updates import compile_windows

pytestmark = pytest.mark.slow


def test_voices_of_the_parts_are_disjoint():
    names = [name for part in VOICES.values() for name in part]
    assert len(names) == len(set(names)) == 71
    for part, own in VOICES.items():
        said = utterances(part, 70)
        assert {u.voice.rpartition("+")[2] for _, u in said} <= set(own)
        assert [len(digits) for digits, _ in said[:LONGEST]] == list(range(1, LONGEST + 1))
        assert all(u.text.split() == [WORDS[d] for d in digits] for digits, u in said)


def test_an_utterance_is_the_same_whoever_asks():
    """Each list is spoken by a process of its own: whispers, which are noise, too."""
    asked = [Utterance("one two", "en-us+whisper", 175, 50), Utterance("three", "English (Scotland)+m3", 220, 30)]
    for one, two in zip(speak(asked), speak(asked), strict=True):
        np.testing.assert_array_equal(one, two)
        assert len(one) > 5000 and np.abs(one).max() > 3000


def test_a_voice_that_is_none_is_one_line():
    with pytest.raises(UserError, match=r"^espeak-ng: no voice en-us\+Nobody, Martian$"):
        speak([Utterance("one", "en-us+Nobody, Martian", 175, 50)])


def forget():
    """What was spoken, and programs, which carry their data."""
    for cached in (spoken_digits.spoken, spoken_digits.spoken_digits, compile_windows):
        cached.cache_clear()


def test_what_is_held_out_changes_no_weight_by_a_bit(monkeypatch):
    """Other digits and voices in the validation and test part, spoken anew."""
    train = TrainSpec(steps=4, window=2, batch_size=3, eval_size=4, learning_rate=1e-2)
    spec = TrialSpec(cell=LSTM(features=3), task=SpokenDigits(clips=14, length=90), train=train)
    monkeypatch.setattr(spoken_digits, "HELD_OUT", {"validation": 4, "test": 4})
    found = []
    for seeds in ({"validation": 1, "test": 2}, {"validation": 11, "test": 12}):
        monkeypatch.setattr(spoken_digits, "SEEDS", {"training": 0, **seeds})
        forget()
        corpus, (states, records, _) = spec.task.corpus, run(spec, [0])
        told = {name: np.asarray(value) for name, value in records[-1].items() if name.startswith("eval/")}
        found.append((corpus, corpus.test.sha256, told, jax.tree.leaves(states.model)))
    forget()
    (before, tested, told, weights), (after, tested_anew, told_anew, weights_anew) = found
    assert told["eval/loss"] != told_anew["eval/loss"]
    assert before.validation.sha256 != after.validation.sha256 and tested != tested_anew
    assert before.training.sha256 == after.training.sha256
    for one, two in zip(weights, weights_anew, strict=True):
        np.testing.assert_array_equal(one, two)


def test_japanese_vowels_are_split_as_published():
    data = japanese_vowels()
    assert [len(part.lengths) for part in data[:3]] == [216, 54, 370]
    assert (np.bincount(data.training.speakers) == 24).all() and (np.bincount(data.validation.speakers) == 6).all()
    assert np.bincount(data.test.speakers).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    lengths = np.concatenate([part.lengths for part in data[:3]])
    assert (lengths.min(), lengths.max()) == (7, 29)
    steps = np.concatenate([row[:n] for row, n in zip(data.training.steps, data.training.lengths, strict=True)])
    np.testing.assert_allclose((steps.mean(axis=0), steps.std(axis=0)), (np.zeros(12), np.ones(12)), atol=1e-5)
    found, who = parsed("#note\n@data\n1,2,3:4,5,6:2\n")
    assert found[0].tolist() == [[1, 4], [2, 5], [3, 6]] and who == [1]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_padded_utterance_is_judged_as_it_is_alone(bidirectional):
    """Losses, gradients and accuracy of a batch are those of its utterances without a step behind their ends."""
    task = JapaneseVowels(length=40)
    batch = task.held_out(jax.random.key(0), 5)
    model = SequenceModel(LSTM(features=3, dtype="float64", param_dtype="float64"), 12, 9, bidirectional=bidirectional,
                          rngs=nnx.Rngs(0))  # fmt: skip

    def loss(model, batch):
        return jnp.sum(task.losses(model(batch.inputs.astype(jnp.float64), answers=1, lengths=batch.lengths), batch))

    whole, gradient = jax.value_and_grad(loss)(model, batch)
    noisy = batch._replace(inputs=jnp.where(jnp.arange(40)[:, None, None] < batch.lengths[:, None], batch.inputs, 7.0))
    np.testing.assert_array_equal(loss(model, noisy), whole)
    parts = []
    for b, length in enumerate(np.asarray(batch.lengths)):
        one = batch._replace(inputs=batch.inputs[:length, b : b + 1], targets=batch.targets[:, b : b + 1], lengths=None)
        parts.append(jax.value_and_grad(lambda m, one=one: jnp.sum(
            task.losses(m(one.inputs.astype(jnp.float64), answers=1), one)))(model))  # fmt: skip
    np.testing.assert_allclose(whole, sum(value for value, _ in parts), rtol=1e-10)
    summed = jax.tree.map(lambda *leaves: sum(leaves), *(of for _, of in parts))
    for one, two in zip(jax.tree.leaves(gradient), jax.tree.leaves(summed), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-8, atol=1e-12)


def test_warped_distances_are_those_of_the_recursion():
    data = japanese_vowels()
    one, other = (data.test.steps[k][: data.test.lengths[k]].astype(float) for k in (0, 1))

    def recursion(i, j, seen={}):  # noqa: B006
        if i < 0 or j < 0:
            return 0.0 if i == j == -1 else np.inf
        if (i, j) not in seen:
            least = min(recursion(i - 1, j), recursion(i, j - 1), recursion(i - 1, j - 1))
            seen[i, j] = ((one[i] - other[j]) ** 2).sum() + least
        return seen[i, j]

    found = warped(one, data.test._replace(steps=data.test.steps[:3], lengths=data.test.lengths[:3]))
    assert found[0] == pytest.approx(0, abs=1e-9)
    assert found[1] == pytest.approx(recursion(len(one) - 1, len(other) - 1), rel=1e-5)
    assert means(data.test).shape == (370, 12)
