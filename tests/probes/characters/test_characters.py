"""What is measured of a network that reads text, against numpy over the whole text at once; and what training sees."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny_training import assert_same, every, run

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.model import SequenceModel
from rnnlab.probes.characters import loss, units
from rnnlab.tasks import Text
from rnnlab.training.spec import TrainSpec, TrialSpec

pytestmark = pytest.mark.slow

BOOK = "".join(f'{n} is "odd" (or not),\nso {n + 1} is even.\n\n' for n in range(300))


@pytest.fixture
def task(tmp_path):
    (tmp_path / "book.txt").write_text(BOOK)
    return Text(length=12, file=str(tmp_path / "book.txt"))


def model_of(task, features=5):
    return SequenceModel(LSTM(features=features), task.in_features, task.out_features, rngs=nnx.Rngs(0))


def asked(model, task):
    """A probe's arguments; of these it reads the model alone."""
    return model, task.held_out(jax.random.key(0), 2).inputs, len, task.answers


def nats(model, stream):
    """Cross-entropy of every character of a stream after the first, in numpy's own words."""
    outputs = np.asarray(model(jnp.asarray(stream[:-1], jnp.int32)[:, None])[:, 0], np.float64)
    log_p = outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(outputs)), stream[1:]]


def test_every_test_character_is_predicted_once_with_the_carry_handed_on(task, monkeypatch):
    """One row of several chunks is one pass over the whole part; two rows begin anew in the middle."""
    text, model = task.text, model_of(task)
    stream = np.concatenate([text.validation[-1:], text.test])
    monkeypatch.setattr(loss, "CHUNK", 100)
    found = loss.TestLoss(task)(*asked(model, task))["bits"]
    np.testing.assert_allclose(found, nats(model, stream).mean() / math.log(2), rtol=1e-5)
    monkeypatch.setattr(loss, "ROW", len(text.test) // 2)
    chunks = math.ceil(len(text.test) / 2 / 100)
    row = math.ceil(len(text.test) / 2 / chunks) * chunks
    halves = np.concatenate([nats(model, stream[: row + 1]), nats(model, stream[row:])])
    assert len(halves) == len(text.test)
    np.testing.assert_allclose(loss.TestLoss(task)(*asked(model, task))["bits"], halves.mean() / math.log(2), rtol=1e-5)


def test_loss_by_memory_is_that_of_the_same_characters_after_exactly_so_many(task, monkeypatch):
    monkeypatch.setattr(loss, "LONGEST", 40)
    monkeypatch.setattr(loss, "TARGETS", 30)
    text, model = task.text, model_of(task)
    found = loss.LossByMemory(task)(*asked(model, task))
    assert found["characters"].tolist() == [1, 3, 10, 32, 40]
    stream = np.concatenate([text.validation[-40:], text.test])
    targets = np.linspace(40, len(stream) - 1, 30).round().astype(int)
    assert targets[0] == len(stream) - len(text.test)  # the first of the test part
    for count, bits in zip((1, 3, 10, 32, 40), found["bits"], strict=True):
        wanted = np.mean([nats(model, stream[at - count : at + 1])[-1] for at in targets]) / math.log(2)
        np.testing.assert_allclose(bits, wanted, rtol=1e-5)


def test_what_reads_the_last_character_alone_gains_nothing_from_more(task):
    """A vanilla RNN whose recurrent weights are zero: the same characters at every number, so the same loss."""
    model = SequenceModel(VanillaRNN(features=5), task.in_features, task.out_features, rngs=nnx.Rngs(0))
    cell = model.cells[0]
    cell.w_h[...] = 0 * cell.w_h[...]
    bits = np.asarray(loss.LossByMemory(task)(*asked(model, task))["bits"])
    assert len(bits) == 7 and set(bits) == {bits[0]}


def test_flow_at_the_end_is_the_gradient_of_the_last_characters_loss(task):
    """||dL/dh|| at lag k by plain differentiation, where an addition of zeros to h_t is differentiated."""
    model = model_of(task)
    inputs = task.held_out(jax.random.key(0), 2).inputs
    found = loss.flow_at_the_end(model, inputs, len, task.answers)
    assert {"h", "c", "c cell path"} <= set(found)
    xs = model.embed(inputs)

    def total(zeros):
        carry = model.initial_carry(2)[0]
        for t in range(len(xs) - 1):
            (c, h), _ = model.cells[0](carry, xs[t])
            carry = (c, h + zeros[t])
        log_p = jax.nn.log_softmax(model.outputs(carry[1]))
        return -jnp.sum(jnp.take_along_axis(log_p, inputs[-1][:, None], axis=1))

    adjoints = jax.grad(total)(jnp.zeros((len(xs) - 1, 2, 5)))
    wanted = np.log10(np.linalg.norm(adjoints, axis=-1))[::-1]
    np.testing.assert_allclose(found["h"].log10(), wanted, atol=1e-4)


def test_correlation_and_periodicity_of_known_activations():
    """A sine comes back after a period: from -1 to 1. A ramp and noise do not, and what does not vary is 0."""
    rng, t = np.random.default_rng(0), np.arange(900.0)
    wave, ramp = np.sin(2 * np.pi * t / 25), t / 900
    columns = np.stack([wave, ramp, np.zeros(900), rng.normal(size=900)], axis=-1)
    x = jnp.asarray(np.stack([columns, columns], axis=1))
    of = np.stack([ramp, ramp], axis=1) * -3 + 1
    found = units.correlation(x, jnp.asarray(of))
    wanted = [np.corrcoef(np.tile(c, 2), np.tile(ramp * -3 + 1, 2))[0, 1] if c.any() else 0 for c in columns.T]
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    rise = np.asarray(units.periodicity(x, 100))
    np.testing.assert_allclose(rise[:3], [2, 0, 0], atol=0.05)
    assert rise[3] < 0.3


def test_a_unit_that_counts_the_line_is_found(task, monkeypatch):
    """Activations that a text's own annotations are, among noise: each is the best of its kind."""
    text, model = task.text, model_of(task, features=6)
    monkeypatch.setattr(units, "LENGTH", 400)
    planted = units.annotations(text.decode(text.test))

    def inner(self, tokens):
        starts = np.linspace(0, len(text.test) - 400, units.ROWS).round().astype(int)
        at = starts + np.arange(400)[:, None]
        np.testing.assert_array_equal(tokens, text.test[at])
        noise = np.random.default_rng(0).normal(size=(*at.shape, 6))
        for unit, name in ((1, "quotes"), (3, "brackets"), (4, "line")):
            noise[..., unit] = planted[name][at] / 100 * (-1 if unit == 3 else 1)
        return {"layer0/c": jnp.asarray(noise)}

    monkeypatch.setattr(SequenceModel, "intermediates", inner)
    found = units.Units(task)(*asked(model, task))
    assert [int(found[f"{name} unit"]) for name in ("quotes", "brackets", "line")] == [1, 3, 4]
    assert found["quotes"] > 0.99 and found["brackets"] < -0.99 and found["line"] > 0.99
    passage = "".join(map(chr, found["passage"].tolist()))
    assert passage in BOOK and len(passage) == len(found["line values"]) == 300


def test_no_number_of_the_test_part_reaches_training(tmp_path):
    """Another test part, the same weights to the bit; another validation part changes what is evaluated alone."""
    train = TrainSpec(steps=4, window=2, batch_size=4, eval_size=4, truncation=6, keep="best")
    ends = []
    kept, tail = BOOK[9000:9500], BOOK[9500:10_000]
    for name, rest in (("a", kept + tail), ("b", kept + "zebra Ω!?" * 55 + "12345"), ("c", kept[::-1] + tail)):
        file = tmp_path / f"{name}.txt"
        file.write_text(BOOK[:9000] + rest)
        text = Text(length=12, file=str(file))
        assert [len(part) for part in (text.text.training, text.text.validation, text.text.test)] == [9000, 500, 500]
        spec = TrialSpec(cell=LSTM(features=4), task=text, train=train)
        ends.append(run(spec, [0, 1], where=every(2, train.batch_size)))
    (a, records, _), (b, others, _), (c, third, _) = ends
    assert_same(a, b)
    assert_same(records, others)
    assert_same(a.model, c.model)
    assert not np.array_equal(records[-1]["eval/loss"], third[-1]["eval/loss"])
