"""The most likely transcript of recordings, all alignments of each counted: prefix beam search."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

WIDTH = 8  # prefixes


class _Prefixes(NamedTuple):
    """W prefixes of one recording."""

    labels: Int[Array, "W L"]  # 0 behind the end
    length: Int[Array, " W"]
    ended: Float[Array, " W"]  # log p of the alignments that end in a blank
    open: Float[Array, " W"]  # and of those that end in the prefix's last label

    @property
    def log_p(self) -> Float[Array, " W"]:
        return jnp.logaddexp(self.ended, self.open)


@functools.partial(jax.jit, static_argnames=("width", "longest"))
def prefix_beam(
    outputs: Float[Array, "T B K"], lengths: Int[Array, " B"], longest: int, width: int = WIDTH
) -> Int[Array, "L B"]:
    """The most likely transcript among `width` prefixes kept at each step; 0 behind its end.

    Hannun, Maas, Jurafsky & Ng 2014, algorithm 1, without a language model. With as many prefixes as there are
    transcripts the search is exact.

    Args:
      outputs: logits of each class at each step; class 0 is the blank.
      lengths: steps of each recording.
      longest: labels L of a transcript, at most.
    """
    log_p = jax.nn.log_softmax(outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32)))
    return jax.vmap(functools.partial(_of_one, longest=longest, width=width), (1, 0), 1)(log_p, lengths)


def _of_one(log_p: Float[Array, "T K"], steps: Int[Array, ""], longest: int, width: int) -> Int[Array, " L"]:
    nothing = jnp.full(width, -jnp.inf, log_p.dtype)
    start = _Prefixes(
        jnp.zeros((width, longest), jnp.int32), jnp.zeros(width, jnp.int32), nothing.at[0].set(0), nothing
    )

    def step(prefixes, of):
        number, log_p = of
        new = _grown(prefixes, log_p)
        return jax.tree.map(lambda a, b: jnp.where(number < steps, a, b), new, prefixes), None

    found, _ = jax.lax.scan(step, start, (jnp.arange(len(log_p)), log_p))
    return found.labels[jnp.argmax(found.log_p)]


def _grown(prefixes: _Prefixes, log_p: Float[Array, " K"]) -> _Prefixes:
    """The best among all prefixes as they are and with one label more."""
    labels, length, ended, open_ = prefixes
    width, longest = labels.shape
    places = jnp.arange(longest)
    last = jnp.sum(jnp.where(places == length[:, None] - 1, labels, 0), axis=1)  # 0 of the empty one
    whole = prefixes.log_p
    stays_ended = whole + log_p[0]
    stays_open = jnp.where(length > 0, open_ + log_p[last], -jnp.inf)
    kinds = jnp.arange(1, len(log_p))
    grows = jnp.where(kinds == last[:, None], ended[:, None], whole[:, None]) + log_p[1:]
    grows = jnp.where(length[:, None] < longest, grows, -jnp.inf)
    # a prefix that grows into another that is kept is added to it, so that no transcript stands there twice
    without_last = jnp.where(places == length[:, None] - 1, 0, labels)
    into = jnp.all(labels[:, None] == without_last, axis=2) & (length[:, None] + 1 == length) & (whole > -jnp.inf)
    met = into[..., None] & (kinds == last[:, None])  # [W, W, K - 1]: from, into, label
    joined = jax.nn.logsumexp(jnp.where(met, grows[:, None], -jnp.inf), axis=(0, 2))
    stays_open = jnp.logaddexp(stays_open, joined)
    grows = jnp.where(jnp.any(met, axis=1), -jnp.inf, grows)

    score, best = jax.lax.top_k(jnp.concatenate([jnp.logaddexp(stays_ended, stays_open), grows.reshape(-1)]), width)
    stays = best < width
    parent = jnp.where(stays, best, (best - width) // len(kinds))
    label = jnp.where(stays, 0, 1 + (best - width) % len(kinds))
    taken, at = labels[parent], length[parent]
    taken = jnp.where((places == at[:, None]) & ~stays[:, None], label[:, None], taken)
    return _Prefixes(
        taken, at + ~stays,
        jnp.where(stays, stays_ended[parent], -jnp.inf), jnp.where(stays, stays_open[parent], score),
    )  # fmt: skip
