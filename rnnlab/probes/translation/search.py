"""The most likely targets of sources: greedy, and by beam search."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rnnlab.data.pairs import BEGIN, END, PADDING
from rnnlab.model import EncoderDecoder
from rnnlab.model.attention import Source
from rnnlab.translation.writable import writable

ALPHA = 0.6  # Wu et al. 2016, section 7, write that 0.6 to 0.7 was best


def greedy(model: EncoderDecoder, source: Int[Array, "S B"], steps: int) -> Int[Array, "N B"]:
    """The most likely token at each of N = `steps`, given those before; padding behind the sign to end."""
    encoded = model.encode(source)

    def step(carry, _):
        state, token, done = carry
        state, outputs, _ = model.decode(state, token[None], encoded.source)
        token = jnp.where(done, PADDING, jnp.argmax(writable(outputs[0]), axis=-1)).astype(jnp.int32)
        return (state, token, done | (token == END)), token

    begin = jnp.full(source.shape[1], BEGIN, jnp.int32)
    return jax.lax.scan(step, (encoded.carry, begin, begin == END), length=steps)[1]


def beam(
    model: EncoderDecoder, source: Int[Array, "S B"], steps: int, width: int, alpha: float = ALPHA
) -> tuple[Int[Array, "N B"], Float[Array, " B"]]:
    """The target of the highest log p / lp among the last `width` hypotheses, and that score.

    lp = ((5 + |Y|) / 6)^alpha with |Y| tokens, the sign to end counted: Wu et al. 2016, eq. 14, without its coverage
    penalty. At every step the `width` hypotheses of the highest log p stay; one that has ended stays as it is while
    no others push it out. One that has not ended is taken only where none has. A width of 1 is greedy search.
    """
    batch = source.shape[1]
    encoded = model.encode(source)
    rows = jnp.repeat(jnp.arange(batch), width)
    state = jax.tree.map(lambda leaf: leaf[rows], encoded.carry)
    to = None if encoded.source is None else Source(*(part[:, rows] for part in encoded.source))

    def step(carry, at):
        state, token, log_p, length, done, written = carry
        state, outputs, _ = model.decode(state, token.reshape(1, -1), to)
        steps_log_p = jax.nn.log_softmax(writable(outputs[0].astype(jnp.float32))).reshape(batch, width, -1)
        kinds = steps_log_p.shape[-1]
        resting = jnp.where(jnp.arange(kinds) == PADDING, 0.0, -jnp.inf)  # an ended one has one way to go on
        candidates = log_p[..., None] + jnp.where(done[..., None], resting, steps_log_p)
        log_p, best = jax.lax.top_k(candidates.reshape(batch, -1), width)
        parent, token = best // kinds, (best % kinds).astype(jnp.int32)

        def of_parent(x):
            return jnp.take_along_axis(x, parent, axis=1)

        flat = (parent + width * jnp.arange(batch)[:, None]).reshape(-1)
        state = jax.tree.map(lambda leaf: leaf[flat], state)
        written = jnp.take_along_axis(written, parent[None], axis=2).at[at].set(token)
        done, length = of_parent(done), of_parent(length)
        length = jnp.where(done, length, length + 1)
        return (state, token, log_p, length, done | (token == END), written), None

    shape = (batch, width)
    first = jnp.where(jnp.arange(width) == 0, 0.0, -jnp.inf) * jnp.ones(shape, jnp.float32)
    start = (state, jnp.full(shape, BEGIN, jnp.int32), first, jnp.zeros(shape, jnp.int32), jnp.zeros(shape, bool),
             jnp.full((steps, *shape), PADDING, jnp.int32))  # fmt: skip
    (_, _, log_p, length, done, written), _ = jax.lax.scan(step, start, jnp.arange(steps))
    score = log_p / length_penalty(length, alpha)
    score = jnp.where(done | ~jnp.any(done, axis=1, keepdims=True), score, -jnp.inf)
    chosen = jnp.argmax(score, axis=1)
    target = jnp.take_along_axis(written, chosen[None, :, None], axis=2)[..., 0]
    return target, jnp.take_along_axis(score, chosen[:, None], axis=1)[:, 0]


def length_penalty(length: Int[Array, "*B"], alpha: float) -> Float[Array, "*B"]:
    """Wu et al. 2016, eq. 14."""
    return ((5.0 + length) / 6.0) ** alpha
