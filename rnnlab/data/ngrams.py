"""What predicts characters without a network: n-gram models, and compressors."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Integer

COMPRESSORS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": lambda content: gzip.compress(content, 9, mtime=0),
    "xz": lambda content: lzma.compress(content, preset=9 | lzma.PRESET_EXTREME),
}


def ngram_probabilities(
    training: Integer[np.ndarray, " N"],
    before: Integer[np.ndarray, " K"],
    test: Integer[np.ndarray, " M"],
    size: int,
    order: int,
) -> Float[np.ndarray, "O M"]:
    """The probability of each character of a test part after the characters before it, in orders 1 to `order`.

    Interpolated Witten-Bell smoothing: with n(h) characters seen after a context h, of t(h) kinds,
    p(c | h) = (n(hc) + t(h) p(c | h')) / (n(h) + t(h)), h' being h without its first character; an unseen context is
    left out, and below order 1 every character is as likely. Witten & Bell 1991, method C; interpolated as in Chen &
    Goodman 1998, section 2.6.

    Args:
      training: numbers below `size`.
      before: what stands before the test part, of which the last order - 1 are read.
      test: what is predicted.
      size: how many numbers there are.
      order: of the longest model, which reads order - 1 characters.
    """
    known, between = len(training), before[len(before) - min(order - 1, len(before)) :]
    stream = np.concatenate([training, between, test]).astype(np.int64)
    first = len(stream) - len(test)  # of the test part
    context = np.zeros(len(stream), np.int64)  # which context each character has; equal numbers, equal contexts
    p, found = np.full(len(test), 1 / size), []
    for length in range(order):
        if length:  # one character more, from further back
            further = np.concatenate([np.zeros(length, np.int64), stream[:-length]])
            context = np.unique(context * size + further, return_inverse=True)[1]
        usable = np.arange(len(stream)) >= length
        usable[known : known + length] = False  # contexts that reach over a join
        if len(between) >= length:
            usable[first:] = True
        seen = np.flatnonzero(usable[:known])
        pairs, whole = np.unique(context * size + stream, return_inverse=True)
        counts = np.bincount(whole[seen], minlength=len(pairs))
        after = np.bincount(context[seen], minlength=int(context.max()) + 1)
        kinds = np.bincount(pairs[counts > 0] // size, minlength=len(after))
        n, t = after[context[first:]], kinds[context[first:]]
        read = (n > 0) & usable[first:]
        p = np.where(read, (counts[whole[first:]] + t * p) / np.maximum(n + t, 1), p)
        found.append(p)
    return np.array(found)


def compressed_bits(training: bytes, test: bytes, characters: int) -> dict[str, float]:
    """Bits a character of the test part, by compressor: what it adds to the compressed training part."""
    sizes = {name: len(press(training + test)) - len(press(training)) for name, press in COMPRESSORS.items()}
    return {name: 8 * size / characters for name, size in sizes.items()}
