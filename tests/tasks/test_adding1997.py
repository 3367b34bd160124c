"""The adding problem of 1997, sequence by sequence as section 5.4 of the paper describes it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.tasks import Adding1997

TASK = Adding1997(length=55)


def sequences(task, count, seed=0):
    found = jax.jit(jax.vmap(task.sequence))(jax.random.split(jax.random.key(seed), count))
    starts = np.asarray(found.start)
    return [np.asarray(x)[start:] for x, start in zip(found.inputs, starts, strict=True)], found


def test_lengths_run_from_t_to_a_tenth_more():
    assert (TASK.shortest, Adding1997().shortest, Adding1997(length=1100).shortest) == (50, 100, 1000)
    found, _ = sequences(TASK, 500)
    assert {len(x) for x in found} == set(range(50, 56))
    alike, _ = sequences(Adding1997(length=50, varied=0.0), 20)
    assert {len(x) for x in alike} == {50}


def test_two_pairs_are_marked_and_the_first_and_the_last_bear_a_sentinel():
    found, _ = sequences(TASK, 3000)
    ones, twos, first = set(), set(), 0
    for x in found:
        values, markers = x.T
        at = np.flatnonzero(markers == 1)
        assert len(at) == 2 and at[0] < 10 and at[1] < 24
        assert markers[-1] == -1 and set(markers) <= {-1, 0, 1}
        if at[0] == 0:
            first += 1
            assert values[0] == 0 and (markers == -1).sum() == 1
        else:
            assert markers[0] == -1 and (markers == -1).sum() == 2
        ones, twos = ones | {at[0]}, twos | {at[1]}
    assert ones == set(range(10)) and twos == set(range(1, 24))
    np.testing.assert_allclose(first / 3000, 0.1 + 0.9 / 23, atol=0.02)
    assert min(x[:, 0].min() for x in found) < -0.99 and max(x[:, 0].max() for x in found) > 0.99


def test_the_target_is_the_scaled_sum_of_the_marked_values():
    found, raw = sequences(TASK, 500)
    sums = [x[x[:, 1] == 1, 0].sum() for x in found]
    np.testing.assert_allclose(raw.targets[:, 0, 0], 0.5 + np.array(sums) / 4, atol=1e-6)
    assert raw.targets.min() >= 0 and raw.targets.max() <= 1


@pytest.mark.slow
def test_a_batch_holds_the_same_sequences_padded_in_front_with_blank_pairs():
    batch = TASK.sample(jax.random.key(0), 200)
    found, raw = sequences(TASK, 200)
    np.testing.assert_array_equal(batch.targets[0], raw.targets[:, 0])
    for column, x in enumerate(found):
        np.testing.assert_array_equal(batch.inputs[55 - len(x) :, column], x)
        assert not np.any(batch.inputs[: 55 - len(x), column])


def test_chance_is_the_loss_of_answering_one_half():
    batch = TASK.sample(jax.random.key(0), 40_000)
    half = {"linear": 0.5, "logistic": 0.0}
    for output, value in half.items():
        task = Adding1997(length=55, output=output)
        loss = task.metrics(jnp.full((1, 40_000, 1), value), batch)["loss"]
        np.testing.assert_allclose(loss, task.chance, rtol=0.03)


def test_an_answer_is_right_within_four_hundredths():
    task = Adding1997(length=55, output="linear")
    batch = task.sample(jax.random.key(0), 3)
    outputs = batch.targets + jnp.array([0.039, -0.041, 0.0])[None, :, None]
    np.testing.assert_array_equal(task.right(outputs, batch), [1, 0, 1])
    metrics = task.metrics(outputs, batch)
    np.testing.assert_allclose(metrics["absolute_error"], 0.08 / 3, rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], (0.039**2 + 0.041**2) / 6, rtol=1e-5)


def test_a_length_that_leaves_the_markers_no_room_is_refused_with_the_least_that_does():
    with pytest.raises(ValueError, match="length=20: T = 18 leaves the markers no room; at least 24"):
        Adding1997(length=20)
    assert Adding1997(length=24).shortest == 22
