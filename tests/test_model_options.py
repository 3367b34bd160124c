"""What a model has besides its cells: embedding, second direction, residuals, layer norm, and unequal sequences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.cells import GRU, LSTM, LSTM1997, MGU, SLSTM, GRUResetBefore, IndRNN, MinGRU
from rnnlab.model import Dropout, SequenceModel
from rnnlab.probes.gradients.flow import gradient_flow
from rnnlab.probes.gradients.paths import gradient_paths

pytestmark = pytest.mark.slow

FLOAT64 = {"dtype": "float64", "param_dtype": "float64"}
T, B, D, H, K = 6, 3, 2, 4, 2
OPTIONS = {
    "plain": {"layers": 2},
    "embedding": {"embedding": 3},
    "stack": {"layers": 3, "residual": True, "layer_norm": True},
    "both ways": {"layers": 2, "bidirectional": True, "residual": True, "layer_norm": True},
}
XS = jnp.asarray(np.random.default_rng(0).normal(size=(T, B, D)))
LENGTHS = jnp.array([T, 0, 4])


def model_of(cell=LSTM, **options):
    return SequenceModel(cell(features=H, **FLOAT64), D, K, rngs=nnx.Rngs(0), **options)


def behind_ends():
    return jnp.where((np.arange(T)[:, None] >= LENGTHS)[..., None], jnp.nan, XS)


def loss_of(outputs, rows=slice(None)):
    weights = np.random.default_rng(1).normal(size=(T, B, K))[:, rows]
    return jnp.sum(jnp.sin(outputs) * weights[: len(outputs)], axis=(0, 2))


@pytest.mark.parametrize("answers", [1, 2, None])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_padded_batch_gives_each_sequences_own_outputs_and_gradient(options, answers):
    """In float64 to 1e-11, NaN behind the ends; a sequence of no steps has no answer and no gradient."""
    model = model_of(**options)

    @jax.jit
    def together(model, xs, lengths):
        outputs = model(xs, lengths=lengths, answers=answers)
        return jnp.sum(loss_of(outputs)), outputs

    (_, outputs), gradient = jax.value_and_grad(together, has_aux=True)(model, behind_ends(), LENGTHS)
    alone = jax.tree.map(jnp.zeros_like, model)
    for row, length in ((0, T), (2, 4)):
        steps = min(answers or length, length)
        one = jax.jit(lambda model, xs, steps=steps: model(xs, answers=steps))
        xs, part = XS[:length, row : row + 1], slice(row, row + 1)
        at = slice(None, steps) if answers is None else slice(len(outputs) - steps, None)
        np.testing.assert_allclose(outputs[at, part], one(model, xs), rtol=1e-11)
        np.testing.assert_array_equal(outputs[length if answers is None else len(outputs) :, row], 0)
        own = jax.grad(lambda model, xs=xs, part=part, one=one: jnp.sum(loss_of(one(model, xs), part)))(model)
        alone = jax.tree.map(jnp.add, alone, own)
    np.testing.assert_array_equal(outputs[:, 1], 0)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("options", [OPTIONS["plain"], OPTIONS["stack"]], ids=["plain", "stack"])
def test_chunks_with_their_carry_handed_on_are_the_whole(options):
    model = model_of(**options)
    first, carry = model(XS[:4], return_carry=True)
    second = model(XS[4:], carry=carry)
    np.testing.assert_allclose(jnp.concatenate([first, second]), model(XS), rtol=1e-11)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_reset_is_a_new_sequence(options):
    """Both directions: neither sees over it."""
    model, resets = model_of(**options), jnp.zeros((T, B), bool).at[4].set(True)
    want = jnp.concatenate([model(XS[:4]), model(XS[4:])])
    np.testing.assert_allclose(model(XS, resets=resets), want, rtol=1e-11)
    np.testing.assert_allclose(model.intermediates(XS, resets=resets)["outputs"], want, rtol=1e-11)
    if not model.bidirectional:
        carries, ys = model.initial_carry(B), []
        for x in XS:
            carries, y = model.step(carries, jnp.asarray(x))
            ys.append(model.outputs(y))
        np.testing.assert_allclose(jnp.stack(ys), model(XS), rtol=1e-11)


def test_one_answer_of_two_directions_reads_what_each_has_read_last():
    """The forward cell's last h and the backward cell's after the first step, as a plain scan gives them."""
    model = model_of(bidirectional=True)
    (_, h), _ = jax.lax.scan(model.cells[0], model.initial_carry(B)[0][0], XS)
    (_, back), _ = jax.lax.scan(model.backward_cells[0], model.initial_carry(B)[0][1], XS[::-1])
    want = model.readout(jnp.concatenate([h, back], axis=-1))[None]
    np.testing.assert_allclose(model(XS, answers=1), want, rtol=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
def test_one_answer_of_two_directions_is_that_of_the_rows_last_sequence(layers):
    """Also where a length ends it early: a reset behind the end begins nothing."""
    model = model_of(bidirectional=True, layers=layers)
    resets = jnp.zeros((T, B), bool).at[3].set(True).at[T - 1].set(True)
    lengths = jnp.array([T - 1, T - 1, 2])
    found = model(XS, answers=1, resets=resets, lengths=lengths)
    np.testing.assert_allclose(found[:, :2], model(XS[3 : T - 1, :2], answers=1), rtol=1e-11)
    np.testing.assert_allclose(found[:, 2:], model(XS[:2, 2:], answers=1), rtol=1e-11)


def test_noise_begins_anew_at_a_reset_from_the_cells_own_carry():
    """SLSTM's first carry is not zeros: from those its normaliser would be 0/0."""
    model = model_of(SLSTM, dropout=Dropout(recurrent=1e-12))
    model.cells[0].b[...] = model.cells[0].b[...].at[:4].set(-2000.0)
    resets = jnp.zeros((T, B), bool).at[3].set(True)
    noisy = model(XS, resets=resets, key=jax.random.key(0))
    np.testing.assert_allclose(noisy, model(XS, resets=resets), rtol=1e-6)


@pytest.mark.parametrize("cell", [GRUResetBefore, MGU])
def test_zoneout_of_a_cell_without_a_projection(cell):
    model = model_of(cell, dropout=Dropout(zoneout_h=0.5))
    carry = [0.5 + c for c in model.initial_carry(B)]
    _, [h] = model(XS[:1], carry=carry, return_carry=True)
    _, [new] = model_of(cell)(XS[:1], carry=carry, return_carry=True)
    np.testing.assert_allclose(h, 0.5 * carry[0] + 0.5 * new, rtol=1e-12)
    assert gradient_flow(model, XS, lambda outputs: outputs[-1, :, 0])["layer0/h"].log10().shape == (T, B)


def test_a_token_is_its_one_hot_vector():
    tokens = jnp.array([[0, 1, 1], [1, 0, 1]])
    for options in ({}, {"embedding": 3}):
        model = model_of(**options)
        np.testing.assert_allclose(model(tokens), model(jax.nn.one_hot(tokens, D, dtype=jnp.float64)), rtol=1e-12)


@pytest.mark.parametrize(("options", "answers"), [("plain", 1), ("stack", 2), ("embedding", T), ("both ways", 1)])
def test_flow_of_unequal_sequences_counts_lags_from_their_own_ends(options, answers):
    model = model_of(**OPTIONS[options])
    whole = jax.jit(lambda model, xs, lengths: gradient_flow(model, xs, loss_of, answers, lengths=lengths))
    found = whole(model, behind_ends(), LENGTHS)
    steps = min(answers, 4)
    weights = np.random.default_rng(1).normal(size=(T, B, K))[:answers, 2:]
    weights = weights[:steps] if answers == T else weights[answers - steps :]

    def losses(outputs):
        return jnp.sum(jnp.sin(outputs) * weights, axis=(0, 2))

    alone = jax.jit(lambda model, xs: gradient_flow(model, xs, losses, steps))(model, (XS[:4, 2:]))
    for name, norm in found.items():
        log10 = norm.log10()
        np.testing.assert_allclose(log10[:4, 2:], alone[name].log10(), rtol=1e-9, atol=1e-9)
        assert (log10[4:, 2] == -np.inf).all() and (log10[:, 1] == -np.inf).all()


@pytest.mark.parametrize("options", [OPTIONS["stack"], {"layers": 2, "embedding": 3}], ids=["stack", "embedding"])
def test_flow_through_residuals_layer_norm_and_embedding_is_that_of_the_backward_pass(options):
    """The reverse scan against the norms that the training's own backward pass gives, every layer, float64."""
    model = model_of(**options)
    flow = jax.jit(lambda model, xs: gradient_flow(model, xs, loss_of, 2))(model, (XS))
    taps = jax.grad(lambda taps: jnp.sum(loss_of(model((XS), answers=2, taps=taps))))(model.tap_zeros(T, B))
    for name, norms in zip(jax.tree.leaves(model.names()), jax.tree.leaves(taps), strict=True):
        np.testing.assert_allclose(10 ** flow[name].log10()[::-1], norms, rtol=1e-9)


def test_no_path_of_a_gradient_crosses_a_reset():
    model, resets = model_of(), jnp.zeros((T, B), bool).at[3].set(True)
    found = gradient_paths(model, (XS), loss_of, resets=resets)["layer0/c"].norms
    for norm in found.values():
        assert np.isfinite(norm.log10()[:3]).all() and (norm.log10()[3:] == -np.inf).all()


def test_residual_and_layer_norm_are_their_equations():
    """y_2 = y_1 + cell(LN(y_1)), outputs = readout(LN(y_2)), LN with mean 0 and variance 1 over units."""
    model = model_of(layers=2, residual=True, layer_norm=True)

    def normalised(y):
        return (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-6)

    one, two = model.initial_carry(B)
    _, y = jax.lax.scan(model.cells[0], one, XS)
    _, more = jax.lax.scan(model.cells[1], two, normalised(np.asarray(y)))
    want = model.readout(normalised(np.asarray(y + more)))
    np.testing.assert_allclose(model(XS), want, rtol=1e-6)


def test_variational_dropout_drops_the_same_units_at_all_steps_and_keeps_the_mean():
    """Through a GRU that copies its input: rows of zeros are whole sequences' units."""
    many = 400
    model = SequenceModel(GRU(features=many, **FLOAT64), many, 1, dropout=Dropout(variational=0.25), rngs=nnx.Rngs(0))
    cell = model.cells[0]
    cell.w_h[...] = 0 * cell.w_h[...]
    cell.w_x[...] = 0 * cell.w_x[...] + jnp.concatenate([jnp.zeros((many, 2 * many)), jnp.eye(many)], axis=1)
    cell.b[...] = cell.b[...].at[many : 2 * many].set(-50.0)  # u = 0: h = tanh(x)
    _, carry = model(0.1 * jnp.ones((3, 2, many)), key=jax.random.key(0), return_carry=True)
    dropped = np.asarray(carry[0]) == 0
    assert abs(dropped.mean() - 0.25) < 0.05 and (dropped[0] != dropped[1]).any()
    np.testing.assert_allclose(np.asarray(carry[0])[~dropped], np.tanh(0.1 / 0.75), rtol=1e-12)
    np.testing.assert_array_equal(model(XS[..., :1] * np.ones(many)), model(XS[..., :1] * np.ones(many)))


def test_recurrent_dropout_is_a_mask_on_h_in_its_product_alone():
    model = model_of(dropout=Dropout(recurrent=0.5))
    found = model((XS), key=jax.random.key(3))
    masks = np.array(np.meshgrid(*[[0.0, 2.0]] * H)).T.reshape(-1, 1, H)  # all that there are

    def run(mask):
        def step(carry, x):
            return model.cells[0].update(carry, model.cells[0].project(carry[1] * mask, x))

        return model.readout(jax.lax.scan(step, model.initial_carry(B)[0], (XS))[1])

    every = jax.vmap(run)(masks)
    for row in range(B):
        assert np.abs(every[:, :, row] - found[:, row]).max(axis=(1, 2)).min() < 1e-12


def test_zoneout_keeps_units_in_training_and_their_expectation_in_evaluation():
    """Krueger et al. 2017: each unit of c is the old or the new one; without noise zoneout c + (1 - zoneout) c_new."""
    model, plain = model_of(dropout=Dropout(zoneout_c=0.3, zoneout_h=0.6)), model_of()
    carry = jax.tree.map(lambda c: c + 0.5, plain.initial_carry(B))
    (new, _), (old, _) = plain.cells[0](carry[0], XS[0])[0], carry[0]
    _, [(c, _)] = model(XS[:1], carry=carry, return_carry=True)
    np.testing.assert_allclose(c, 0.3 * old + 0.7 * new, rtol=1e-12)
    draws = [model(XS[:1], carry=carry, return_carry=True, key=jax.random.key(k))[1][0] for k in range(40)]
    kept = np.array([np.isclose(c, old) for c, _ in draws])
    assert (kept | np.array([np.isclose(c, new) for c, _ in draws])).all()
    assert abs(kept.mean() - 0.3) < 0.08
    assert abs(np.mean([np.isclose(h, carry[0][1]) for _, h in draws]) - 0.6) < 0.08


def test_noise_of_a_cell_that_cannot_be_taken_apart_is_refused():
    with pytest.raises(ValueError, match=r"dropout.zoneout_h=0.1: LSTM1997 is not a projection and an update"):
        SequenceModel(
            LSTM1997(features=4, gradient="truncated"), D, K, dropout=Dropout(zoneout_h=0.1), rngs=nnx.Rngs(0)
        )
    with pytest.raises(ValueError, match=r"dropout.zoneout_c=0.1: SLSTM has a carry of which no mean of two is one"):
        SequenceModel(SLSTM(features=4), D, K, dropout=Dropout(zoneout_c=0.1), rngs=nnx.Rngs(0))
    for cell, noise, why in (
        (MinGRU, {"recurrent": 0.1}, "MinGRU has no w_h"),
        (IndRNN, {"recurrent": 0.1}, "IndRNN has no w_h"),
        (GRU, {"zoneout_c": 0.1}, "GRU has h alone: write dropout.zoneout_h"),
    ):
        with pytest.raises(ValueError, match=why):
            SequenceModel(cell(features=4), D, K, dropout=Dropout(**noise), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"between=1\.5: must be at least 0 and at most 0\.99"):
        Dropout(between=1.5)


def test_a_bidirectional_model_has_no_step():
    with pytest.raises(ValueError, match="a bidirectional model has no step"):
        model_of(bidirectional=True).step([], XS[0])
