"""`rnnlab.fit`: a trial is that of an experiment; own arrays are trained on by the same loop, and their errors are one
line each."""

import chz
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny_training import SPEC, TRAIN, assert_same, run

import rnnlab
from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.runs import fit_network
from rnnlab.settings.errors import SettingError
from rnnlab.training.spec import precision_of

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
XS = RNG.normal(size=(5, 24, 2)).astype(np.float32)
SUM = XS[..., 0].sum(axis=0)
CELL = VanillaRNN(features=4)


def test_a_trial_is_trained_as_in_an_experiment():
    """To the bit: the same program from the same seed."""
    trained = rnnlab.fit(SPEC, seed=0, quiet=True)
    with precision_of(SPEC):
        final, records, _ = run(SPEC, [0])
    records = [record for record in records if record["ran"].any()]
    assert_same(trained.end.model, jax.tree.map(lambda x: x[0], final.model))
    assert_same(trained.best.model, jax.tree.map(lambda x: x[0], final.best.model))
    assert trained.history["step"].tolist() == [3, 6] and trained.end.steps == 6
    for name in ("train/loss", "eval/loss", "eval/accuracy", "grad/norm"):
        np.testing.assert_array_equal(trained.history[name], [record[name][0] for record in records])
    assert trained.end.metrics["loss"] == records[-1]["eval/loss"][0]
    model, spec, seed, steps = trained
    assert (spec, seed, steps) == (SPEC, 0, trained.best.steps) and model is trained.model and trained.task is SPEC.task
    assert repr(trained).startswith(f"<Trained LSTM on Adding 6: not learned; after {steps} updates, the best of 6: ")


EASY = RNG.normal(size=(4, 80, 2))
MEAN = EASY[-2:, :, 0].mean(axis=0)  # of the first input at the last two steps
HOW = {"data": (EASY, MEAN), "batch_size": 8, "quiet": True}


@pytest.fixture(scope="module")
def trained():
    return rnnlab.fit(CELL, epochs=40, learning_rate=0.02, **HOW)


def test_a_mean_is_learned_from_arrays(trained):
    """Of 80 sequences 16 are held out; their loss falls far below that of the best constant."""
    assert trained.end.steps == 320 and trained.history["step"].tolist() == list(range(8, 321, 8))  # once an epoch
    assert trained.metrics["loss"] < 0.1 * trained.task.chance
    held = trained.task.held_out(jax.random.key(0), 16)
    outputs = trained.model(held.inputs, answers=1)
    np.testing.assert_allclose(jnp.mean((outputs - held.targets) ** 2), trained.metrics["loss"], rtol=1e-4)
    assert trained.outcome == "ended" and trained.spec.cell == CELL and trained.best.steps <= trained.end.steps
    carries, y = trained.model.step(trained.model.initial_carry(80), jnp.asarray(EASY[0], jnp.float32))
    assert y.shape == carries[0].shape == (80, 4)


def test_a_model_of_ones_own_is_left_as_it_is_and_goes_on_from_there(trained):
    before = jax.device_get(trained.model)
    again = rnnlab.fit(trained.model, steps=3, learning_rate=1e-3, seed=1, **HOW)
    assert_same(before, jax.device_get(trained.model))
    assert again.spec is None and again.end.steps == 3
    assert again.metrics["loss"] < 0.3 * again.task.chance  # which three updates would not do from the start


def test_what_lies_behind_a_sequences_end_counts_for_nothing(monkeypatch):
    """Garbage there changes no bit: neither inputs nor targets are read."""
    lengths = RNG.integers(1, 6, 24)
    behind = np.arange(5)[:, None] >= lengths
    classes = (XS[..., 0] > 0).astype(int)
    found = []
    for x, y in ((0.0, 0), (np.nan, -7)):
        xs, ys = np.where(behind[..., None], x, XS), np.where(behind, y, classes)
        found.append(rnnlab.fit(CELL, data=(xs, ys), lengths=lengths, steps=6, batch_size=8, quiet=True))
    assert_same(found[0].end.model, found[1].end.model)
    assert found[0].metrics == found[1].metrics and found[0].task.out_features == 2
    assert np.isfinite(found[0].history["train/loss"]).all()


def test_tokens_and_other_data_to_validate_on():
    """A token's sign is named at each of the last 3 steps; the validation's own sequences are those held out."""
    tokens = RNG.integers(0, 6, (5, 24))
    spec = rnnlab.TrialSpec(cell=CELL, embedding=3)
    data, other = (tokens, tokens[-3:] % 2), (tokens[:, :4], tokens[-3:, :4] % 2)
    trained = rnnlab.fit(spec, data=data, validation=other, steps=4, batch_size=8, quiet=True)
    assert (trained.task.in_features, trained.task.out_features, trained.task.answers) == (6, 2, 3)
    assert trained.task.validation.inputs.shape == (5, 4) and trained.task.training.inputs.shape == (5, 24)
    assert {"loss", "accuracy"} == set(trained.metrics)


def test_tokens_behind_an_end_may_be_anything_and_a_specs_own_settings_stay():
    tokens = np.where(np.arange(5)[:, None] < 3, RNG.integers(0, 4, (5, 24)), -1)
    train = rnnlab.TrainSpec(window=2, steps=4, eval_size=2, batch_size=16)
    spec = rnnlab.TrialSpec(cell=CELL, train=train)
    trained = rnnlab.fit(spec, data=(tokens, tokens[0] % 2), lengths=np.full(24, 3), quiet=True)
    assert trained.task.in_features == 4 and trained.train == train and trained.history["step"].tolist() == [2, 4]


def test_epochs_count_sequences_also_where_each_is_several_updates():
    """Truncated: two windows of two steps are two updates of a batch, and a carry goes from one to the next."""
    how = {"epochs": 2, "truncation": 2, "batch_size": 32, "quiet": True}
    trained = rnnlab.fit(CELL, data=(EASY, EASY[..., :1]), **how)
    assert trained.end.steps == 2 * 2 * 2 and trained.history["step"].tolist() == [4, 8]  # 64 sequences
    with pytest.raises(SettingError, match=r"truncation=3: windows divide the length T = 4; the nearest"):
        rnnlab.fit(CELL, data=(EASY, EASY[..., :1]), **how | {"truncation": 3})


def test_an_interrupt_returns_what_was_trained_so_far(monkeypatch):
    shown = []

    def window(self, updates, losses):
        shown.append(updates)
        if len(shown) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(fit_network.Progress, "window", window)
    spec = chz.replace(SPEC, train=chz.replace(TRAIN, steps=12))
    trained = rnnlab.fit(spec, quiet=True)
    assert trained.outcome == "interrupted" and trained.end.steps == 6
    assert_same(trained.end.model, rnnlab.fit(SPEC, quiet=True).end.model)
    shown[:] = [0]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fit_network, "wait", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        rnnlab.fit(spec, quiet=True)  # before anything was trained


BATCH_MAJOR = XS.swapaxes(0, 1)
INTEGERS = np.arange(24) % 3
MODEL = rnnlab.SequenceModel(CELL, 2, 1, rngs=nnx.Rngs(0))
BROKEN = np.where(np.arange(24)[:, None] == 7, np.nan, XS)


@pytest.mark.parametrize(
    ("what", "options", "message"),
    [
        (CELL, {}, "VanillaRNN: what is it trained on"),
        (VanillaRNN, {"data": (XS, SUM)}, r"VanillaRNN is a class; write VanillaRNN\(\)"),
        ("LSTM", {}, "fit: str, where a TrialSpec"),
        (SPEC, {"epochs": 3}, "epochs=3: goes with data"),
        (SPEC, {"lr": 1.0}, "lr=1.0: no such setting; the nearest is learning_rate"),
        (SPEC, {"optimizer": "adamx"}, "optimizer=adamx: no such choice; the nearest is adam"),
        (SPEC, {"steps": 0}, "steps=0: nothing is trained"),
        (SPEC, {"seed": -1}, "seed=-1: a whole number from 0 is needed"),
        (CELL, {"data": (XS, SUM), "epochs": -3}, "epochs=-3: a number from 0 is needed"),
        (SPEC, {"learning_rate": "3"}, "learning_rate='3': "),
        (CELL, {"data": (np.zeros((0, 5), int), np.zeros(5, int))}, "T = 0 steps of B = 5 sequences"),
        (CELL, {"data": XS}, r"data: write data=\(xs, ys\)"),
        (CELL, {"data": (XS, SUM), "epochs": 2, "steps": 5}, "epochs=2: .* no steps"),
        (CELL, {"data": (XS, SUM), "streak": 5}, "streak=5: goes with a task that draws"),
        (CELL, {"data": (XS, SUM), "eval_size": 9}, "eval_size=9: 5 sequences are held out"),
        (CELL, {"data": (BATCH_MAJOR, SUM)}, r"xs is \[24, 5, 2\] and there are 24 sequences.*xs.swapaxes\(0, 1\)$"),
        (CELL, {"data": (BATCH_MAJOR, BATCH_MAJOR[:, 2:])}, r"xs.swapaxes\(0, 1\) and ys.swapaxes\(0, 1\)"),
        (CELL, {"data": (XS[..., 0], SUM)}, r"xs is float32\[5, 24\].*one number a step is xs\[..., None\]"),
        (CELL, {"data": (XS, SUM[:-1])}, r"ys is float32\[23\] with xs of T = 5, B = 24, where numbers are \[B\]"),
        (CELL, {"data": (XS, XS[..., 0])}, r"ys is float32\[5, 24\] with xs .* numbers are \[B\] or \[B, K\]"),
        (CELL, {"data": (XS, INTEGERS[:, None])}, r"ys is int64\[24, 1\].* classes \(integers\) are \[B\]"),
        (CELL, {"data": (XS, INTEGERS - 1)}, "ys: classes are counted from 0; there is -1"),
        (CELL, {"data": (XS, [[1.0], [1.0, 2.0]])}, "ys: no array .*pad sequences"),
        (CELL, {"data": (XS, ["a"] * 24)}, "ys has type <U1, where numbers are needed"),
        (CELL, {"data": (BROKEN, SUM)}, "xs is nan or infinite in 1 of 24 sequences, first at step 0 of sequence 7"),
        (CELL, {"data": (XS, BROKEN[0, :, 0])}, "ys is nan or infinite in 1 of 24 sequences"),
        (CELL, {"data": (XS[:, :0], SUM[:0])}, "T = 5 steps of B = 0 sequences"),
        (CELL, {"data": (XS, SUM), "validation": 0.01}, "validation=0.01: holds out 0 of 24"),
        (CELL, {"data": (XS, SUM), "validation": 5}, "validation=5: holds out 0 of 24"),
        (CELL, {"data": (XS, SUM), "validation": (XS[1:], SUM)}, r"xs is float32\[4, 24, 2\], where float32\[5,"),
        (CELL, {"data": (XS, SUM), "lengths": [5] * 23}, r"lengths is int64\[23\], where integers \[B\] = \[24\]"),
        (CELL, {"data": (XS, SUM), "lengths": [0] * 24}, "lengths: sequence 0 has 0 steps, where 1 to T = 5"),
        (MODEL, {"data": (XS[..., :1], SUM)}, "has D = 1, the model reads in_features=2"),
        (MODEL, {"data": (XS, INTEGERS)}, "ys has classes up to 2, the model gives out_features=1"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_one_line(what, options, message):
    with pytest.raises(SettingError, match=message) as error:
        rnnlab.fit(what, quiet=True, **options)
    assert "\n" not in str(error.value)


def test_float64_stays_float64_and_progress_is_said(capsys):
    cell = LSTM(features=2, dtype="float64", param_dtype="float64")
    trained = rnnlab.fit(cell, data=(XS.astype(float), SUM.astype(float)), steps=2, batch_size=8)
    assert {leaf.dtype for leaf in jax.tree.leaves(trained.model)} == {jnp.dtype("float64")}
    said = capsys.readouterr().out
    assert "LSTM on Arrays 5: 1 trial of at most 2 updates" in said and "LSTM on Arrays 5: ended; after 2 up" in said
