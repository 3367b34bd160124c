"""An encoder with a decoder equals its equations, written step by step; attention sees no padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import rnnlab
from rnnlab.cells import GRU, LSTM, VanillaRNN
from rnnlab.model import EncoderDecoder
from rnnlab.model.attention import AdditiveScore, Source, contexts, dot_scores, weights
from rnnlab.probes.gradients.flow import gradient_flow
from rnnlab.specs.errors import UserError
from rnnlab.tasks import Adding
from rnnlab.training.spec import TrialSpec

pytestmark = pytest.mark.slow
S, N, H, VOCABULARY, OUTPUTS = 6, 5, 7, 11, 8
LENGTHS = ((6, 5), (4, 3), (2, 5))  # of the source, and of what the decoder reads
KINDS = ("none", "dot", "additive")


def tokens(seed=0, source=S, target=N):
    """Source [S, B] and target [N, B], padding behind their ends."""
    rng = np.random.default_rng(seed)
    found = [np.zeros((steps, len(LENGTHS)), np.int32) for steps in (source, target)]
    for b, lengths in enumerate(LENGTHS):
        for part, length in zip(found, lengths, strict=True):
            part[:length, b] = rng.integers(4, VOCABULARY, length)
    return found


def model_of(attention, spec=None, *, steps=S, dtype="float64", **options):
    spec = spec or LSTM(features=H, dtype=dtype, param_dtype=dtype)
    return EncoderDecoder(
        spec, VOCABULARY, OUTPUTS, source_steps=steps, attention=attention, embedding=5, rngs=nnx.Rngs(1), **options
    )


def float64(test):
    """Within, JAX has float64."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        with jax.enable_x64(True):
            test(*args, **kwargs)

    return run


def by_hand(model, source, target, shift=None):
    """One sentence [S] and [N] through the equations, in Python's own loop; `shift` is added to each h of the encoder's
    top layer before anything reads it."""
    cells, table = model.encoder, np.asarray(model.embedding.embedding[...])
    shift = jnp.zeros((len(source), H)) if shift is None else shift

    def forward(cells, order):
        carries = [c.initialize_carry((1, 1), nnx.Rngs(0)) for c in cells]
        found = {}
        for at in order:
            below = jnp.asarray(table[source[at]])[None]
            for layer, cell in enumerate(cells):
                carries[layer], below = cell(carries[layer], below)
                if layer == len(cells) - 1:
                    below = below + shift[at]
                    carries[layer] = (*carries[layer][:-1], carries[layer][-1] + shift[at])
            found[at] = below[0]
        return carries, jnp.stack([found[at] for at in range(len(source))])

    order = list(range(len(source)))
    carries, values = forward(list(cells.cells), order[::-1] if model.reverse_source else order)
    keys = values if cells.readout is None else values @ cells.readout.kernel[...] + cells.readout.bias[...]
    found = []
    for token in target:
        below = jnp.asarray(table[token])
        if model.attention == "additive":
            scores = jnp.tanh(carries[-1][-1][0] @ model.score.w.kernel[...] + keys) @ model.score.v.kernel[...][:, 0]
            context = jax.nn.softmax(scores) @ values
            below = jnp.concatenate([below, context])
        below = below[None]
        for layer, cell in enumerate(model.cells):
            carries[layer], below = cell(carries[layer], below)
        if model.attention == "dot":
            context = jax.nn.softmax(keys @ below[0]) @ values
        h = below[0]
        if model.attention != "none":
            h = jnp.tanh(jnp.concatenate([context, h]) @ model.mixture.linear.kernel[...])
        found.append(h @ model.readout.kernel[...] + model.readout.bias[...])
    return jnp.stack(found)


@float64
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("attention", KINDS)
def test_it_is_its_equations_step_by_step(attention, reverse):
    model = model_of(attention, layers=2, reverse_source=reverse)
    source, target = tokens()
    outputs = np.asarray(model(jnp.concatenate([source, target]), answers=N))
    for b, (read, written) in enumerate(LENGTHS):
        expected = by_hand(model, source[:read, b], target[:written, b])
        np.testing.assert_allclose(outputs[:written, b], expected, rtol=1e-11)


@float64
def test_attention_is_numpys_own():
    """Scores, softmax and mean of Luong et al. 2015, section 3.1, and Bahdanau et al. 2015, appendix A.1.2."""
    rng = np.random.default_rng(3)
    keys, values, ys = rng.normal(size=(S, 2, H)), rng.normal(size=(S, 2, 9)), rng.normal(size=(N, 2, H))
    present = np.arange(S)[:, None] < np.array([6, 3])
    source = Source(*map(jnp.asarray, (keys, values, present)))
    additive = AdditiveScore(H, rngs=nnx.Rngs(0), dtype=jnp.float64, param_dtype=jnp.float64)
    w, v = np.asarray(additive.w.kernel[...]), np.asarray(additive.v.kernel[...])
    for b, length in enumerate((6, 3)):
        for n in range(N):
            for scores, ours in (
                (keys[:length, b] @ ys[n, b], dot_scores(jnp.asarray(ys), source)[n]),
                (np.tanh(ys[n, b] @ w + keys[:length, b]) @ v[:, 0], additive(jnp.asarray(ys[n]), source)),
            ):
                share = np.exp(scores - scores.max())
                share /= share.sum()
                found = np.asarray(weights(ours, source.present))
                np.testing.assert_allclose(found[:length, b], share, rtol=1e-12)
                assert not found[length:, b].any()
                context = contexts(jnp.asarray(found), source)[b]
                np.testing.assert_allclose(context, share @ values[:length, b], rtol=1e-11)


@float64
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("attention", KINDS)
def test_longer_padding_changes_nothing(attention, bidirectional):
    short = model_of(attention, bidirectional=bidirectional)
    long = model_of(attention, bidirectional=bidirectional, steps=S + 3)
    source, target = tokens()
    there = jnp.asarray(target != 0)[..., None]

    def loss(model, source):
        outputs = model(jnp.concatenate([source, target]), answers=N)
        return jnp.sum(jnp.where(there, outputs, 0) ** 2)

    one, of_one = jax.value_and_grad(loss)(short, source)
    two, of_two = jax.value_and_grad(loss)(long, jnp.pad(source, ((0, 3), (0, 0))))
    np.testing.assert_allclose(one, two, rtol=1e-12)
    for a, b in zip(jax.tree.leaves(of_one), jax.tree.leaves(of_two), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@float64
@pytest.mark.parametrize("attention", KINDS)
def test_taps_are_the_norms_of_the_encoders_adjoints_by_lag(attention):
    """Against the gradient of the loop by hand with something added to each h; lags count the decoder's steps too."""
    model = model_of(attention)
    source, target = tokens()
    there = jnp.asarray(target != 0)[..., None]

    def losses(outputs):
        return jnp.sum(jnp.where(there, outputs, 0) ** 2, axis=(0, 2))

    found = gradient_flow(model, jnp.concatenate([source, target]), losses, N)["layer0/h"].log10()
    for b, (read, written) in enumerate(LENGTHS):

        def total(shift, read=read, written=written, b=b):
            return jnp.sum(by_hand(model, source[:read, b], target[:written, b], shift) ** 2)

        expected = np.linalg.norm(jax.grad(total)(jnp.zeros((read, H))), axis=-1)
        np.testing.assert_allclose(10 ** np.asarray(found)[written : written + read, b], expected[::-1], rtol=1e-5)
        assert (np.asarray(found)[written + read :, b] == -np.inf).all()


@pytest.mark.parametrize("spec", [LSTM(features=H), GRU(features=H), VanillaRNN(features=H)])
@pytest.mark.parametrize("attention", KINDS)
def test_every_adjoint_and_gradient_is_there(attention, spec):
    model = model_of(attention, spec, bidirectional=True)
    source, target = tokens()
    inputs = jnp.concatenate([source, target])
    gradient, norms = jax.grad(lambda model, taps: jnp.sum(model(inputs, answers=N, taps=taps) ** 2), argnums=(0, 1))(
        model, model.tap_zeros(S + N, 3)
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert jax.tree.structure(norms) == jax.tree.structure(model.names())
    assert all(np.asarray(leaf).any() for leaf in jax.tree.leaves(norms)[len(jax.tree.leaves(norms)) // 2 :])
    found = model.intermediates(inputs)
    assert found["layer0/h"].shape == (S + N, 3, H) and found["layer0 backward/h"].shape == (S, 3, H)
    np.testing.assert_allclose(found["outputs"], model(inputs, answers=N), rtol=1e-5, atol=1e-6)


def test_weights_of_a_reversed_source_are_told_in_its_own_order():
    source, target = tokens()
    plain, reverse = (model_of("dot", dtype="float32", reverse_source=on) for on in (False, True))
    turned = source.copy()
    for b, (read, _) in enumerate(LENGTHS):
        turned[:read, b] = source[:read, b][::-1]
    one = np.asarray(plain.attend(jnp.concatenate([turned, target])))
    two = np.asarray(reverse.attend(jnp.concatenate([source, target])))
    for b, (read, _) in enumerate(LENGTHS):
        np.testing.assert_allclose(one[:, :read, b], two[:, :read, b][:, ::-1], rtol=1e-5)
    np.testing.assert_allclose(two.sum(axis=1), 1, rtol=1e-5)


def test_what_does_not_fit_is_one_line(tmp_path):
    model = model_of("dot", dtype="float32")
    with pytest.raises(UserError, match="an encoder with a decoder is no program of one input"):
        rnnlab.export(model, tmp_path / "model")
    with pytest.raises(UserError, match="has no counterpart in"):
        rnnlab.interop.to_torch(model, tmp_path / "model")
    with pytest.raises(ValueError, match="has no step of one input"):
        model.step(model.initial_carry(1), jnp.zeros(1, jnp.int32))
    with pytest.raises(UserError, match="answers=2: an encoder-decoder answers at all 5 steps"):
        model_of("none", dtype="float32")(jnp.concatenate(tokens()), answers=2)
    with pytest.raises(UserError, match="there are no weights of attention"):
        model_of("none", dtype="float32").attend(jnp.concatenate(tokens()))
    for options, told in (({"attention": "dot"}, "attention=dot: Adding has no source"),
                          ({"reverse_source": True}, "reverse_source=True: Adding has no source")):  # fmt: skip
        with pytest.raises(ValueError, match=told):
            TrialSpec(task=Adding(), **options)
