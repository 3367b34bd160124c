"""Optimisers of optax by name: one step against the closed form, what weight decay acts on, what is refused."""

import chz
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from tiny_training import SPEC, TRAIN

from rnnlab.cells import LSTM
from rnnlab.model import SequenceModel
from rnnlab.settings.errors import SettingError
from rnnlab.settings.experiments import load_experiment
from rnnlab.settings.resolve import flat, from_flat, parse_overrides, resolve
from rnnlab.training.spec import TrainSpec
from rnnlab.training.updates import program_key


@pytest.fixture(scope="module")
def model():
    cell = LSTM(features=3, dtype="float64", param_dtype="float64")
    return SequenceModel(cell, 2, 1, layers=2, layer_norm=True, rngs=nnx.Rngs(0))


def gradients(model, seed=0):
    leaves, treedef = jax.tree.flatten(model)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    return treedef.unflatten([jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)])


def once(train, model, gradient, decay=None):
    rule = train.optimiser(jnp.asarray(train.learning_rate), decay)
    return rule.update(gradient, rule.init(model), model)[0]


def test_a_step_of_adamw_is_the_closed_form(model):
    """The first one: g / (|g| + eps), since both averages are corrected for their zeros; then the decay, of matrices
    alone (Loshchilov & Hutter 2019, algorithm 2)."""
    train = TrainSpec(optimizer="adamw", options="b1=.8, eps=1e-3", learning_rate=0.1)
    gradient = gradients(model)
    leaves = map(jax.tree.leaves, (once(train, model, gradient, jnp.asarray(0.3)), gradient, model))
    seen = set()
    for update, g, w in zip(*leaves, strict=True):
        g, w = np.asarray(g), np.asarray(w)
        want = -0.1 * (g / (np.abs(g) + 1e-3) + 0.3 * w * (w.ndim > 1))
        np.testing.assert_allclose(update, want, rtol=1e-10, atol=1e-12)
        seen.add(w.ndim)
    assert seen == {1, 2}


@pytest.mark.parametrize("name", ["adam", "sgd", "lion", "adagrad", "nadamw", "muon"])
def test_without_a_gradient_only_matrices_shrink_by_rate_times_decay(model, name):
    """Whether optax's optimiser decays by itself (lion, nadamw, muon) or is helped."""
    train = TrainSpec(optimizer=name, learning_rate=0.1, schedule="cosine", steps=10)
    rule = train.optimiser(jnp.asarray(0.1), jnp.asarray(0.3))
    nothing, state = jax.tree.map(jnp.zeros_like, model), rule.init(model)
    for rate in (0.1, 0.1 * (1 + np.cos(np.pi / 10)) / 2):
        update, state = rule.update(nothing, state, model)
        for got, w in zip(jax.tree.leaves(update), jax.tree.leaves(model), strict=True):
            np.testing.assert_allclose(got, -rate * 0.3 * w * (w.ndim > 1), rtol=1e-9, atol=1e-15)


def test_adam_with_weight_decay_is_adamw_and_none_is_the_optimisers_own_default(model):
    gradient, decay = gradients(model), jnp.asarray(1e-4)
    adam, adamw = TrainSpec(), TrainSpec(optimizer="adamw")
    by_default = once(adamw, model, gradient)
    for other in (once(adam, model, gradient, decay), once(adamw, model, gradient, decay)):
        for a, b in zip(jax.tree.leaves(by_default), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("name", ["adam", "rmsprop", "sgd", "momentum"])
def test_the_first_three_have_the_bits_and_the_state_that_they_had(model, name):
    """Checkpoints hold the leaves of that state in order."""
    rule = {
        "adam": optax.scale_by_adam(), "rmsprop": optax.scale_by_rms(decay=0.95), "sgd": optax.identity(),
        "momentum": optax.trace(0.9),
    }[name]  # fmt: skip
    chosen = {"optimizer": "sgd", "momentum": 0.9} if name == "momentum" else {"optimizer": name}
    decay = {"decay": 0.95} if name == "rmsprop" else {}
    train = TrainSpec(**chosen, **decay, warmup=2, schedule="cosine", steps=5)
    shape = optax.join_schedules([optax.linear_schedule(0.0, 1.0, 2), optax.cosine_decay_schedule(1.0, 3)], [2])
    before = optax.chain(rule, optax.scale_by_schedule(lambda step: -jnp.float32(0.03) * shape(step)))
    now = train.optimiser(jnp.float32(0.03))
    states = before.init(model), now.init(model)
    for step in range(3):
        found = [r.update(gradients(model, step), s, model) for r, s in zip((before, now), states, strict=True)]
        states = [state for _, state in found]
        one, other = map(jax.tree.leaves, found)
        assert len(one) == len(other) and all(map(np.array_equal, one, other))


@pytest.mark.parametrize("name", ["lars", "lamb", "adafactor", "nadam"])
def test_no_number_of_a_program_changes_the_type_of_a_state(name):
    """A learning rate or decay in float64 beside float32 weights: a loop's carry must keep its types."""
    train = TrainSpec(optimizer=name, weight_decay=0.1)
    weights = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((2, 3), (3,))]
    number = jax.ShapeDtypeStruct((), jnp.float64)
    rule = train.optimiser
    state = jax.eval_shape(lambda w, n: rule(n, n).init(w), weights, number)
    after = jax.eval_shape(lambda w, n, s: rule(n, n).update(w, s, w)[1], weights, number, state)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(lambda x: (x.shape, x.dtype), after)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "adamx"}, "^optimizer=adamx: no such choice; the nearest is adam"),
        ({"optimizer": "lbfgs"}, "^optimizer=lbfgs: training cannot use it .*missing 3 required"),
        ({"optimizer": "sm3"}, "^optimizer=sm3: training cannot use it"),
        ({"options": "b3=.9"}, "^options=b3=.9: adam has no option b3; the nearest is b"),
        ({"options": "b1"}, "^options=b1: options are written name=value"),
        ({"options": "b1=x"}, "^options=b1=x: b1=x is no number, True, False or None"),
        ({"options": "b1=None"}, "^optimizer=adam: training cannot use it with b1=None"),
        ({"options": "learning_rate=1"}, "write train.learning_rate=1"),
        ({"optimizer": "sgd", "options": "momentum=.9"}, "write train.momentum=.9"),
        ({"optimizer": "adamw", "options": "mask=None"}, "adamw has no option mask"),
        ({"optimizer": "rmsprop", "momentum": 0.9}, "^momentum=0.9: is of train.optimizer=sgd, and rmsprop is chosen"),
        ({"decay": 0.5}, "^decay=0.5: is of train.optimizer=rmsprop, and adam is chosen"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0: must be at least 0"),
    ],
)
def test_what_is_wrong_is_one_line(settings, message):
    with pytest.raises(ValueError, match=message) as error:
        TrainSpec(**settings)
    assert "\n" not in str(error.value)


def test_options_are_written_alike_on_a_command_line_in_a_sweep_and_in_an_experiment():
    words = ["train.optimizer=adamw", "train.weight_decay=.01", "train.options=b1=.8,nesterov=True,mu_dtype=bfloat16"]
    module = load_experiment("long_memory")
    [spec] = resolve(module, "smoke", parse_overrides(words), "Adding*/LSTM").values()
    assert (spec.train.optimizer, spec.train.weight_decay) == ("adamw", 0.01)
    assert spec.train.options == "b1=.8,nesterov=True,mu_dtype=bfloat16" and from_flat(flat(spec)) == spec
    from rnnlab.settings.language import parse_sweep

    arms = parse_sweep("train.options=(b1=.8,b2=.9),b1=.7")
    assert [arm["train.options"] for arm in arms.values()] == ["b1=.8,b2=.9", "b1=.7"]
    with pytest.raises(SettingError, match=r"^train\.options=b9=1: adam has no option b9; the nearest is b"):
        resolve(module, "smoke", {"train.options": "b9=1"})


def test_trials_that_differ_in_their_weight_decay_share_a_program():
    one, two, none = (
        program_key(chz.replace(SPEC, train=chz.replace(TRAIN, weight_decay=decay))) for decay in (0.1, 0.2, None)
    )
    assert one == two != none
