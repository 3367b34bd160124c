"""Omega of linear networks in closed form, and its gradient against finite differences of the frozen formula."""

import functools

import chz
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.model import SequenceModel
from rnnlab.probes.training import omega as probe
from rnnlab.tasks import Adding
from rnnlab.training.layout import BATCH, layout, local_batch, map_trials
from rnnlab.training.spec import TrainSpec, TrialSpec
from rnnlab.training.state import initial_state
from rnnlab.training.updates import train_step, window

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
omega = jax.jit(probe.omega, static_argnums=(2, 3))
regulariser = jax.jit(probe.regulariser, static_argnums=(2, 3))
with_gradient = jax.jit(jax.value_and_grad(probe.regulariser), static_argnums=(2, 3))


def linear(a, dtype="float64"):
    spec = VanillaRNN(
        features=4, activation="linear", recurrent="identity", spectral_radius=a, dtype=dtype, param_dtype=dtype
    )
    return SequenceModel(spec, 2, 1, rngs=nnx.Rngs(0))


def stacked(a, between):
    """Three linear layers in float32 with w_h = aI, and w_x = between I between them."""
    spec = VanillaRNN(features=4, activation="linear", recurrent="identity", spectral_radius=a)
    model = SequenceModel(spec, 2, 1, layers=3, rngs=nnx.Rngs(0))
    for cell in model.cells[1:]:
        cell.w_x[...] = between * jnp.eye(4, dtype=jnp.float32)
    return model


def model_of(spec, layers=1):
    return SequenceModel(spec(features=3, **FLOAT64), 2, 1, layers=layers, rngs=nnx.Rngs(0))


def loss_of(outputs):
    return jnp.sum(jnp.square(outputs), axis=(0, 2))


def last_output(outputs):
    return outputs[-1, :, 0]


def inputs(length=7, batch=2):
    return jax.random.normal(jax.random.key(0), (length, batch, 2))


@pytest.mark.parametrize("a", [0.25, 1.0, 2.0])
def test_a_linear_network_with_w_equal_a_i_has_a_minus_1_squared(a):
    """Every step scales every gradient by a; the powers of two are exact, and 300 of them no underflow."""
    found = omega(linear(a, "float32"), jnp.zeros((300, 2, 2), jnp.float32), last_output)["layer0"]
    np.testing.assert_allclose(found, np.full((299, 2), (a - 1) ** 2), rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(regulariser(linear(a), inputs(), loss_of), (a - 1) ** 2)


@pytest.mark.parametrize("between", [1e-30, 1e30])
def test_a_layer_60_decades_from_the_top_has_its_terms_too(between):
    """dE/dx of layer 0 is between^2 of the top layer's, far beyond float32; every layer's steps scale theirs by a."""
    model, xs = stacked(0.5, between), jnp.zeros((40, 2, 2), jnp.float32)
    for terms in omega(model, xs, last_output).values():
        np.testing.assert_allclose(terms, np.full((39, 2), 0.25), rtol=1e-5)
    value, gradient = with_gradient(model, xs, last_output)
    np.testing.assert_allclose(value, 3 * 0.25, rtol=1e-5)
    u = np.asarray(model.readout.kernel[...])[:, 0]
    u = u / np.linalg.norm(u)  # the direction of dE/dx in all layers
    for cell in gradient.cells:
        np.testing.assert_allclose(cell.w_h[...], -np.outer(u, u), atol=1e-5)


def test_the_gradient_at_w_equal_a_i_in_closed_form():
    """With u the direction of dE/dx, d/dW mean (||W u|| - 1)^2 at aI is 2 (a - 1) u u^T."""
    a, model = 0.5, linear(0.5)
    u = np.asarray(model.readout.kernel[...])[:, 0]
    u = u / np.linalg.norm(u)
    _, gradient = with_gradient(model, inputs(), loss_of)
    np.testing.assert_allclose(gradient.cells[0].w_h[...], 2 * (a - 1) * np.outer(u, u), atol=1e-12)


def by_hand(model, xs, w):
    """Equation 9's mean over one layer by the Jacobians of every step; `w` moves in them, all else is frozen."""
    cell, carries = model.cells[0], [model.initial_carry(xs.shape[1])[0]]
    for x in xs:
        carries.append(cell(carries[-1], x)[0])
    sizes = [leaf.shape[-1] for leaf in jax.tree.leaves(carries[0])]

    def state(carry):
        return jnp.concatenate(jax.tree.leaves(carry))

    def carry_of(vector):
        parts = jnp.split(vector, np.cumsum(sizes)[:-1])
        return tuple(parts) if len(parts) > 1 else parts[0]

    total, count = 0.0, 0
    for b in range(xs.shape[1]):
        at = [state(jax.tree.map(lambda c, b=b: c[b], carry)) for carry in carries]
        loss = jax.grad(lambda s: loss_of(model.readout(s[-sizes[-1] :])[None, None])[0])
        v = loss(at[-1])
        for t in range(len(xs) - 1, 0, -1):
            z = cell.project(at[t][-sizes[-1] :], xs[t, b])
            through_carry = jax.jacobian(lambda s, z=z: state(cell.update(carry_of(s), z)[0]))(at[t])
            through_z = jax.jacobian(lambda z, s=at[t]: state(cell.update(carry_of(s), z)[0]))(z)

            def back(w, v=v, a=through_carry, c=through_z):
                return (v @ a).at[-sizes[-1] :].add(v @ c @ w.T)

            total += (jnp.linalg.norm(back(w)) / jnp.linalg.norm(v) - 1) ** 2
            count += 1
            v = back(cell.w_h[...])
    return total / count


@pytest.mark.parametrize("spec", [VanillaRNN, LSTM])
def test_value_and_gradient_equal_the_formula_with_everything_else_frozen(spec):
    """Only w_h within dx_{k+1}/dx_k moves: finite differences of the explicit formula, and zero elsewhere."""
    model, xs = model_of(spec), inputs(5)
    value, gradient = with_gradient(model, xs, loss_of)
    w = model.cells[0].w_h[...]
    direction = jax.random.normal(jax.random.key(1), w.shape)
    frozen = jax.jit(lambda w: by_hand(model, xs, w))
    np.testing.assert_allclose(value, frozen(w), rtol=1e-10)
    numeric = (frozen(w + 1e-6 * direction) - frozen(w - 1e-6 * direction)) / 2e-6
    np.testing.assert_allclose(jnp.sum(gradient.cells[0].w_h[...] * direction), numeric, rtol=1e-7)
    others = [gradient.cells[0].w_x, gradient.cells[0].b, gradient.readout.kernel, gradient.readout.bias]
    assert all((np.asarray(other[...]) == 0).all() for other in others)
    terms = omega(model, xs, loss_of)["layer0"]
    np.testing.assert_allclose(jnp.mean(terms), value, rtol=1e-12)


def test_losses_at_many_steps_and_layers():
    """Every layer has its terms; a loss at every step enters the adjoints, whose scale does not matter."""
    model, xs = model_of(LSTM, layers=2), inputs(6)
    found = omega(model, xs, loss_of, 6)
    assert {name: terms.shape for name, terms in found.items()} == {"layer0": (5, 2), "layer1": (5, 2)}
    larger = omega(model, xs, lambda outputs: 1e6 * loss_of(outputs), 6)
    np.testing.assert_allclose(found["layer0"], larger["layer0"], rtol=1e-9)
    assert not np.allclose(found["layer1"], omega(model, xs, loss_of, 1)["layer1"])
    np.testing.assert_allclose(regulariser(model, xs, loss_of, 6), sum(jnp.mean(terms) for terms in found.values()))


def test_flaxs_own_cell_is_measured_and_not_regularised():
    """The same weights give the same terms; which of them is w_h is not known of it."""
    ours = model_of(VanillaRNN)
    foreign = model_of(VanillaRNN)
    cell = nnx.SimpleCell(2, 3, rngs=nnx.Rngs(0), dtype=jnp.float64, param_dtype=jnp.float64)
    cell.dense_i.kernel[...], cell.dense_h.kernel[...] = ours.cells[0].w_x[...], ours.cells[0].w_h[...]
    foreign.cells[0] = cell
    want = omega(ours, inputs(), loss_of)["layer0"]
    np.testing.assert_allclose(omega(foreign, inputs(), loss_of)["layer0"], want, rtol=1e-9)
    with pytest.raises(ValueError, match="SimpleCell has no projection"):
        regulariser(foreign, inputs(), loss_of)


def test_one_step_no_gradient_and_nan():
    model = model_of(LSTM)
    assert omega(model, inputs(1), loss_of)["layer0"].shape == (0, 2) and regulariser(model, inputs(1), loss_of) == 0

    def nothing(outputs):
        return 0 * loss_of(outputs)

    value, gradient = with_gradient(model, inputs(), nothing)
    assert value == 0 and all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(gradient))
    assert np.isnan(omega(model, inputs(), nothing)["layer0"]).all()
    dead = linear(1.0)
    dead.cells[0].w_h[...] = jnp.zeros((4, 4))  # nothing passes the first transition back, and none arrives at others
    value, gradient = with_gradient(dead, inputs(), loss_of)
    assert value == 1 and (np.asarray(gradient.cells[0].w_h[...]) == 0).all()
    broken = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), model)
    assert np.isnan(omega(broken, inputs(), loss_of)["layer0"]).all()


@pytest.mark.slow
def test_numerators_and_counts_make_it_the_same_however_the_batch_is_split():
    """Examples whose loss is 0 leave two devices with 2 and 1 that count: a mean of their means is another number."""
    model, xs = model_of(LSTM), inputs(5, batch=4)
    weights = jnp.array([1.0, 1.0, 1.0, 0.0])

    def losses(weights):
        return lambda outputs: weights * loss_of(outputs)

    def part(model):
        """One device's value and gradient, with its own count and with the mean of all."""
        here, alive = local_batch(xs, axis=1), local_batch(weights, axis=0)

        def own(model):
            return probe.regulariser(model, here, losses(alive))

        def shared(model):
            sums = probe.regulariser_sums(model, here, losses(alive))
            return sums._replace(count=jax.lax.pmean(sums.count, BATCH)).mean()

        return jax.lax.pmean((jax.value_and_grad(shared)(model), jax.value_and_grad(own)(model)), BATCH)

    (value, gradient), (naive, _) = map_trials(part, layout(1, 4))(jax.tree.map(lambda x: x[None], model))
    want, want_gradient = jax.value_and_grad(probe.regulariser)(model, xs, losses(weights))
    np.testing.assert_allclose(value[0], want, rtol=1e-12)
    np.testing.assert_allclose(gradient.cells[0].w_h[...][0], want_gradient.cells[0].w_h[...], rtol=1e-10, atol=1e-15)
    if jax.device_count() > 1:
        assert abs(naive[0] - want) > 1e-3 * want


TRAIN = TrainSpec(steps=4, window=2, batch_size=4, eval_size=8, optimizer="sgd", clip_norm=None, learning_rate=0.1)


@pytest.mark.slow
def test_training_adds_it_to_w_h_alone_and_reports_it():
    """An sgd update with weight 4 differs from one without by -rate 4 dOmega/dW; loss is the task's in both."""
    plain = TrialSpec(cell=VanillaRNN(features=4), task=Adding(length=6), train=TRAIN)
    spec = chz.replace(plain, train=chz.replace(TRAIN, omega=4.0))
    state = initial_state(plain, 0)
    stacked = jax.tree.map(lambda x: x[None], state)
    (without, old), (after, new) = (
        map_trials(functools.partial(train_step, s), layout(1, TRAIN.batch_size))(stacked) for s in (plain, spec)
    )
    assert "omega" not in old and new["omega"] > 0
    np.testing.assert_allclose(new["loss"], old["loss"])
    moved = jax.tree.map(lambda a, b: np.abs(np.asarray(a - b)).max(), after.model, without.model)
    assert moved.cells[0].w_h[...] > 1e-4
    assert max(moved.cells[0].w_x[...], moved.cells[0].b[...], moved.readout.kernel[...]) < 1e-7
    _, record = jax.eval_shape(map_trials(functools.partial(window, spec), layout(1, TRAIN.batch_size)), stacked)
    assert record["train/omega"].shape == (1,)
    with pytest.raises(ValueError, match="omega=-1"):
        TrainSpec(omega=-1.0)
