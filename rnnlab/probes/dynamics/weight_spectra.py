"""Spectra of recurrent matrices: how their powers grow in one step and asymptotically."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg
from flax import nnx
from jaxtyping import Float

from rnnlab.probes.gradients.paths import block_owners
from rnnlab.specs.errors import Undefined


class Spectrum(NamedTuple):
    """Of one square matrix W."""

    radius: float  # the largest |eigenvalue|: the growth of W^k a step as k grows
    norm: float  # the largest singular value: the most that one step stretches anything
    departure: float  # from normality, sqrt(||W||_F^2 - sum |eigenvalue|^2), 0 for a normal matrix
    relative: float  # departure / ||W||_F, in [0, 1]; 0 for W = 0


def spectrum(w: Float[np.ndarray, "H H"]) -> Spectrum:
    """Spectral radius, spectral norm and departure from normality, in float64 on the host.

    Henrici 1962, Bounds for iterates, inverses, spectral variation and fields of values of non-normal matrices,
    Numerische Mathematik 4. It is taken as the norm of the strictly upper part of W's Schur form, which it equals: the
    difference of squares would leave the square root of the rounding, 1e-8, where the departure is 0.

    A matrix that is not finite has nan throughout.
    """
    matrix = np.asarray(w, np.float64)
    if not np.isfinite(matrix).all():
        return Spectrum(*[float("nan")] * 4)
    triangle, _ = scipy.linalg.schur(matrix, output="complex")
    departure = float(np.linalg.norm(np.triu(triangle, 1)))
    size = float(np.linalg.norm(matrix))
    radius = float(np.abs(np.diag(triangle)).max())
    return Spectrum(radius, float(np.linalg.norm(matrix, 2)), departure, departure / size if size else 0.0)


def recurrent_spectra(cell: nnx.RNNCellBase) -> dict[str, Spectrum]:
    """The spectrum of every block [H, H] of a cell's w_h, by the gates it feeds (i, f, g, o for an LSTM), or `h`.

    Raises:
      Undefined: a cell without a projection, as Flax's own, since it is not known which of its weights is w_h, one
        without w_h, or one whose blocks are not square (gates shared by several cells, a projected output): use
        `spectrum` on a matrix.
    """
    if not hasattr(cell, "projection"):
        raise Undefined(f"{type(cell).__name__} has no projection(), so its w_h is not known: give spectrum() a matrix")
    if getattr(cell, "w_h", cell) is None:
        raise Undefined(f"{type(cell).__name__} has no w_h")
    w_h = np.asarray(cell.projection()[1], np.float64)
    features, width = w_h.shape
    owners = block_owners(cell) if width != features else ("h",)
    if width != len(owners) * features:
        kind = type(cell).__name__
        raise Undefined(f"{kind}: w_h [{features}, {width}] is not one square block a gate: give spectrum() a matrix")
    blocks = np.split(w_h, len(owners), axis=1)
    found: dict[str, Spectrum] = {}
    for owner, block in zip(owners, blocks, strict=True):
        if owner not in found or block.any():  # a GRU's candidate has one block of zeros
            found[owner] = spectrum(block)
    return found
