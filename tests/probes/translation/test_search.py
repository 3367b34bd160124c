"""Beam search beside all targets there are, and greedy search beside the loss's own answers."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import LSTM
from rnnlab.data.pairs import BEGIN, END, PADDING
from rnnlab.model import EncoderDecoder
from rnnlab.probes.translation.search import beam, greedy, length_penalty
from rnnlab.tasks import Translation
from rnnlab.tasks.translation import batch_of
from rnnlab.training.spec import TrialSpec

pytestmark = pytest.mark.slow

KINDS, STEPS = 7, 4
WRITABLE = [END, 4, 5, 6]  # 4^4 = 256 sequences of so many steps
SOURCE = jnp.asarray([[5, 6, 7], [6, 5, 0], [7, 0, 0]], jnp.int32).T


def model_of(attention="dot", seed=0):
    """With a readout large enough that steps differ."""
    model = EncoderDecoder(
        LSTM(features=6), 8, KINDS, source_steps=3, attention=attention, embedding=4, rngs=nnx.Rngs(seed)
    )
    model.readout.kernel[...] *= 4
    return model


def log_probabilities(outputs):
    """Of what may be written, the others at -inf."""
    others = [kind for kind in range(KINDS) if kind not in WRITABLE]
    return np.asarray(jax.nn.log_softmax(outputs.at[..., others].set(-np.inf)))


def log_p(model, source, target):
    """log p of a target up to its end, by the whole forward pass."""
    tokens = jnp.asarray([BEGIN, *target[:-1]], jnp.int32)[:, None]
    encoded = model.encode(source[:, None])
    outputs = model.decode(encoded.carry, tokens, encoded.source)[1]
    found = log_probabilities(outputs[:, 0])
    return float(sum(found[step, token] for step, token in enumerate(target)))


@pytest.mark.parametrize("attention", ["none", "dot", "additive"])
def test_a_beam_as_wide_as_everything_finds_the_best_target(attention):
    model = model_of(attention)
    sequences = np.array(list(itertools.product([PADDING, *WRITABLE], repeat=STEPS))).T  # [N, 625]
    ended = (sequences == END).cumsum(axis=0)
    valid = (ended == 0) | ((sequences == END) & (ended == 1)) | ((ended >= 1) & (sequences == PADDING))
    valid &= (sequences != PADDING) | (ended >= 1)
    sequences = sequences[:, valid.all(axis=0) & (sequences == END).any(axis=0)]
    lengths = np.argmax(sequences == END, axis=0) + 1
    width = len(WRITABLE) ** STEPS
    for alpha in (0.0, 0.6, 3.0):
        found, score = jax.jit(beam, static_argnums=(2, 3, 4))(model, SOURCE, STEPS, width, alpha)
        for b in range(SOURCE.shape[1]):
            every = jnp.repeat(SOURCE[:, b : b + 1], sequences.shape[1], axis=1)
            encoded = model.encode(every)
            read = np.concatenate([np.full((1, sequences.shape[1]), BEGIN), sequences[:-1]])
            p = log_probabilities(model.decode(encoded.carry, jnp.asarray(read), encoded.source)[1])
            each = np.take_along_axis(p, sequences[..., None], axis=-1)[..., 0]
            total = np.where(np.arange(STEPS)[:, None] < lengths, each, 0).sum(axis=0)
            ranked = total / ((5 + lengths) / 6) ** alpha
            np.testing.assert_array_equal(found[:, b], sequences[:, ranked.argmax()])
            np.testing.assert_allclose(score[b], ranked.max(), rtol=1e-5)


def test_the_penalty_is_that_of_wu_et_al():
    """Equation 14: (5 + |Y|)^alpha / (5 + 1)^alpha, which is 1 of one token."""
    assert float(length_penalty(jnp.asarray(1), 0.6)) == 1
    np.testing.assert_allclose(length_penalty(jnp.asarray(7), 0.5), 2**0.5, rtol=1e-6)


@pytest.mark.parametrize("attention", ["none", "dot", "additive"])
def test_a_width_of_one_is_greedy_search_and_greedy_search_is_a_loop(attention):
    model = model_of(attention, seed=2)
    found = np.asarray(greedy(model, SOURCE, 6))
    np.testing.assert_array_equal(found, beam(model, SOURCE, 6, 1)[0])
    for b in range(SOURCE.shape[1]):
        written = []
        while len(written) < 6 and END not in written:
            encoded = model.encode(SOURCE[:, b : b + 1])
            read = jnp.asarray([BEGIN, *written], jnp.int32)[:, None]
            outputs = model.decode(encoded.carry, read, encoded.source)[1]
            written.append(int(np.argmax(log_probabilities(outputs[-1, 0]))))
        assert found[: len(written), b].tolist() == written and not found[len(written) :, b].any()


def test_a_wider_beam_finds_no_less_likely_targets():
    model = model_of(seed=5)
    scores = [np.asarray(beam(model, SOURCE, 5, width, 0.0)[1]) for width in (1, 3, 30, 300)]
    assert (scores[-1] >= scores[0] - 1e-6).all()
    for b in range(3):
        target = [int(t) for t in beam(model, SOURCE, 5, 300, 0.0)[0][:, b] if t != PADDING]
        np.testing.assert_allclose(log_p(model, SOURCE[:, b], target), scores[-1][b], rtol=1e-5)


def test_what_is_no_word_is_never_written():
    model = model_of(seed=1)
    bias = np.zeros(KINDS)
    bias[[kind for kind in range(KINDS) if kind not in WRITABLE]] = 100
    model.readout.bias[...] = jnp.asarray(bias, model.readout.bias[...].dtype)
    for written in (greedy(model, SOURCE, 6), beam(model, SOURCE, 6, 3)[0]):
        for target in np.asarray(written).T:
            ends = list(target).index(END) if END in target else len(target)
            assert set(target[:ends]) <= set(WRITABLE) and not target[ends + 1 :].any()


def test_a_sentence_is_right_where_its_greedy_translation_is_its_target():
    """By induction over steps: an untrained network is asked for its own translations, some of them changed."""
    task = Translation(size=200, numbers=1000, length=24, source_length=12)
    model = TrialSpec(cell=LSTM(features=8), task=task, attention="dot").build(0)
    model.readout.kernel[...] *= 4
    source = jnp.asarray(task.data.parts["training"].source[:40].T).astype(jnp.int32)
    written = np.array(greedy(model, source, task.answers))
    written[-1] = np.where((written == END).any(axis=0), written[-1], END)  # a target has an end
    rng = np.random.default_rng(0)
    for b in range(0, 40, 2):
        length = int(np.sum(written[:, b] != PADDING))
        at = rng.integers(length)
        if written[at, b] != END:
            written[at, b] = 4 + (written[at, b] - 3) % (task.out_features - 4)
    batch = batch_of(source, jnp.asarray(written))
    right = np.asarray(task.right(model(batch.inputs, answers=task.answers), batch))
    exact = (np.array(greedy(model, source, task.answers)) == written).all(axis=0)
    np.testing.assert_array_equal(right == 1, exact)
    assert 0 < exact.sum() < 40
