"""An LSTM layer in compiled C++ (lstm.cc) in place of the plain form, on a CPU in float32; equal to rounding.

Under `jax.vmap` it runs once for each entry. A derivative of its gradient is that of the plain form.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Bool, Float, PyTree

from rnnlab.scan import compiler
from rnnlab.scan.adjoints import with_carry_addition
from rnnlab.scan.presence import Presence
from rnnlab.scan.product import WIDE
from rnnlab.scan.segments import norm, scan_segments, varying

SOURCE = "lstm.cc"
GATES = 4  # i, f, g, o
# Bytes of weights above which XLA's products are as fast, and sequences below which its threads are faster where
# weights are WIDE. Measured by scripts/bench --only=forms: docs/measured.md.
WIDEST, FEWEST = 16 * 2**20, 16
EACH = 4  # sequences that a thread gets at least
PARTS = {False: 2**25, True: 2**22}  # bytes of outputs a call, by whether it keeps carries for a gradient


def runs_compiled(cell, carry: PyTree, xs: Array, when: Presence) -> bool:
    """Whether `unroll_compiled` is to run this: a cell that names the kernel, in float32, on a CPU, with a compiler."""
    if vars(type(cell)).get("kernel") != SOURCE or when.resets is not None or jax.default_backend() != "cpu":
        return False
    w_x, w_h, b = cell.projection()
    inputs, units = len(w_x), len(w_h)
    shapes = [part.shape for part in (w_x, w_h, b, *carry, xs)]
    batch, columns = xs.shape[1:-1], GATES * units
    expected = [(inputs, columns), (units, columns), (columns,), *[(*batch, units)] * 2, (len(xs), *batch, inputs)]
    if type(carry) is not tuple or shapes != expected:  # the plain form tells what is wrong
        return False
    usual = all(a.dtype == jnp.float32 and a.size and not varying(a) for a in (w_x, w_h, b, *carry, xs))
    weights, sequences = w_x.nbytes + w_h.nbytes, math.prod(xs.shape[1:-1])
    fast = weights < WIDE or (weights <= WIDEST and sequences // _threads(sequences) >= FEWEST)
    return usual and fast and _registered()


def unroll_compiled(
    update: Callable,
    projection: tuple[Array, Array, Array],
    carry: tuple[Array, Array],
    xs: Float[Array, "T *B D"],
    taps: tuple[Array, Array] | None,
    segment: int,
    present: Bool[Array, "T *B"] | None,
) -> tuple[tuple[Array, Array], Float[Array, "T *B H"]]:
    """See `rnnlab.scan.unroll.unroll`; `update(carry, z)` is the cell's, for derivatives of the gradient."""
    tapped, dtypes = taps is not None, [tap.dtype for tap in taps or ()]

    def forward(keep, *args):
        fast = functools.partial(_forward, segment, keep)

        def plain(projection, carry, xs, present):
            kept = jax.eval_shape(fast, projection, carry, xs, present)[1]  # the plain gradient below reads none of it
            return _scan(update, present, projection, carry, xs), jax.tree.map(jnp.zeros_like, kept)

        return _differentiated_as(plain, fast)(*args)

    def backward(with_d_xs, *args):
        def plain(projection, carry, xs, present, kept, d_carry, d_ys):
            del kept
            zeros = jnp.zeros((*xs.shape[:-1], carry[1].shape[-1]), xs.dtype)
            _, pull = jax.vjp(functools.partial(_scan, update, present), projection, carry, xs, (zeros, zeros))
            d_projection, d_first, d_xs, adjoints = pull((d_carry, zeros if d_ys is None else d_ys))
            norms = jax.tree.map(norm, Presence(present).only_present(adjoints)) if tapped else None
            return d_projection, d_first, d_xs if with_d_xs else None, norms

        return _differentiated_as(plain, functools.partial(_backward, segment, with_d_xs, tapped))(*args)

    @jax.custom_vjp
    def run(projection, carry, xs, taps, present):
        del taps
        return forward(False, projection, carry, xs, present)[0]

    def run_forward(*primals):
        with_d_xs = () if primals[2].perturbed else None
        projection, carry, xs, _, present = jax.tree.map(lambda primal: primal.value, primals)
        out, kept = forward(True, projection, carry, xs, present)
        return out, (with_d_xs, (projection, carry, xs, present, kept))

    def run_backward(residuals, cotangents):
        with_d_xs, given = residuals
        d_carry, d_ys = jax.tree.map(_instantiated, cotangents, is_leaf=_is_zero)
        d_ys = None if _is_zero(cotangents[1]) else d_ys  # no [T, B, H] of zeros is made
        d_projection, d_first, d_xs, norms = backward(with_d_xs is not None, *given, d_carry, d_ys)
        norms = tuple(norm.astype(dtype) for norm, dtype in zip(norms, dtypes, strict=True)) if tapped else None
        return d_projection, d_first, jnp.zeros_like(given[2]) if d_xs is None else d_xs, norms, None

    run.defvjp(run_forward, run_backward, symbolic_zeros=True)
    return run(projection, carry, xs, taps, present)


def _scan(update, present, projection, carry, xs, additions=None):
    """The layer by `jax.lax.scan`, with additions [T, *B, H] to each step's carry, whose gradients are its adjoints."""
    w_x, w_h, b = projection

    def step(before, inputs):
        x, more, now = inputs
        z = x @ w_x + before[1] @ w_h + b
        after, y = update(before, z) if more is None else with_carry_addition(update)(before, z, more)
        return now.keep(after, before), now.only_present(y)

    return jax.lax.scan(step, carry, (xs, additions, Presence(present)))


def _differentiated_as(plain: Callable, fast: Callable) -> Callable:
    """`fast`, with the derivative of its equal `plain`."""
    run = jax.custom_jvp(fast)
    run.defjvp(lambda primals, tangents: (run(*primals), jax.jvp(plain, primals, tangents)[1]))
    return run


class Kept(NamedTuple):
    """What the backward pass reads: of every step, or the carry before each segment alone."""

    cells: Float[Array, "N B H"]  # c before it
    hiddens: Float[Array, "N B H"]  # h before a segment; of every step its output
    gates: Float[Array, "T B Z"] | None  # of every step; None: they are computed again


def _forward(segment, keep, projection, carry, xs, present):
    """((carry, ys), what is kept)."""
    weights, whole = _forward_weights(projection), keep and segment == len(xs)

    def run(carry, inputs, _=None):
        xs, present = inputs
        steps, (c, h) = xs.shape[:2], carry
        (length, batch), units = steps, c.shape[1]
        firsts = (math.ceil(length / segment), batch, units) if keep and not whole else (0,)
        cells, gates = ((*steps, units), (*steps, GATES * units)) if whole else (firsts, (0,))
        given = [xs, *weights, c, h, jnp.zeros(0, bool) if present is None else present]
        out = [(*steps, units), c.shape, h.shape, cells, gates, firsts]
        ys, c, h, cells, gates, hiddens = _call("lstm_forward", segment, given, out)
        kept = Kept(cells, ys if whole else hiddens, gates if whole else None) if keep else None
        return (c, h), (ys, kept), None

    rows, inputs = tuple(map(_rows, carry)), (_flat(xs), _flags(present))
    part = max(1, PARTS[keep] // (segment * rows[0].nbytes)) * segment
    if whole or part >= len(xs):
        last, (ys, kept), _ = run(rows, inputs)
    else:  # ys that nobody reads are kept for a part alone
        last, (ys, kept), _ = scan_segments(run, rows, inputs, part)
    last = tuple(part.reshape(like.shape) for part, like in zip(last, carry, strict=True))
    return (last, ys.reshape(*xs.shape[:-1], -1)), kept


def _backward(segment, with_d_xs, tapped, projection, carry, xs, present, kept, d_carry, d_ys):
    """Gradients of the projection, the first carry and, if asked for, xs and taps; else None."""
    w_x, w_h, b = projection
    shape, x, h, nothing = xs.shape, _flat(xs), _rows(carry[1]), jnp.zeros(0, jnp.float32)
    if kept.gates is None:
        read = [nothing, nothing, *_forward_weights(projection)]
        kept = [kept.cells, nothing, kept.hiddens]
    else:
        read = [kept.hiddens, h, nothing, nothing]
        kept = [kept.cells, kept.gates, nothing]
    given = [x, *read, _packed_back(w_h, w_x if with_d_xs else w_x[:0]), *kept]
    given += [jnp.zeros(0, bool) if present is None else _flags(present), nothing if d_ys is None else _flat(d_ys)]
    norms = [x.shape[:2] if tapped else (0,)] * 2
    out = [w_x.shape, w_h.shape, b.shape, x.shape if with_d_xs else (0,), h.shape, h.shape, *norms]
    found = _call("lstm_backward", segment, given + [_rows(d) for d in d_carry], out)
    *d_projection, d_xs, d_c, d_h, norm_c, norm_h = found
    d_first = tuple(d.reshape(part.shape) for d, part in zip((d_c, d_h), carry, strict=True))
    norms = tuple(norm.reshape(shape[:-1]) for norm in (norm_c, norm_h)) if tapped else None
    return tuple(d_projection), d_first, d_xs.reshape(shape) if with_d_xs else None, norms


def _flat(x: Float[Array, "T *B N"]) -> Float[Array, "T B N"]:
    return x.reshape(len(x), -1, x.shape[-1])


def _rows(x: Float[Array, "*B N"]) -> Float[Array, "B N"]:
    return x.reshape(-1, x.shape[-1])


def _flags(present: Bool[Array, "T *B"] | None) -> Bool[Array, "T B"] | None:
    return None if present is None else present.reshape(len(present), -1)


def _forward_weights(projection: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    """Those of [x, h] and of 1, packed."""
    w_x, w_h, b = projection
    return _packed(jnp.concatenate([w_x, w_h])), _packed(b[None])


def _packed(w: Float[Array, "K N"]) -> Float[Array, "P 4 K width"]:
    """Weights as panels of so many units, those of all gates side by side, zeros beyond the last unit."""
    width, units = _width(), w.shape[1] // GATES
    w = jnp.pad(w.reshape(len(w), GATES, units), ((0, 0), (0, 0), (0, -units % width)))
    return w.reshape(len(w), GATES, -1, width).transpose(2, 1, 0, 3)


def _packed_back(w_h: Float[Array, "H N"], w_x: Float[Array, "D N"]) -> Float[Array, "P N width"]:
    """The transposed weights as panels of so many of their rows, of h and then of x, zeros beyond the last of each."""
    width = _width()
    padded = [jnp.pad(w, ((0, -len(w) % width), (0, 0))) for w in (w_h, w_x)]
    return jnp.concatenate(padded).reshape(-1, width, w_h.shape[1]).transpose(0, 2, 1)


def _call(name: str, segment: int, given: list[Array], out: list[tuple[int, ...]]) -> list[Array]:
    threads = _threads(given[0].shape[1])
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in out]
    run = jax.ffi.ffi_call(f"{name}_{compiler.library(SOURCE).key}", shapes, vmap_method="sequential")
    return run(*given, segment=np.int64(segment), threads=np.int64(threads))


def _threads(sequences: int) -> int:
    """Over how many threads a call spreads its batch."""
    return max(1, min(compiler.threads(), sequences // EACH))


def _is_zero(leaf) -> bool:
    return isinstance(leaf, SymbolicZero)


def _instantiated(leaf):
    return jnp.zeros(leaf.shape, leaf.dtype) if _is_zero(leaf) else leaf


def _width() -> int:
    return compiler.library(SOURCE).loaded.width()


@functools.cache
def _registered() -> bool:
    """Whether XLA can call the kernel, by names that tell one build of it from another in a cache of programs."""
    library = compiler.library(SOURCE)
    if library:
        for name in ("lstm_forward", "lstm_backward"):
            handler = jax.ffi.pycapsule(getattr(library.loaded, name))
            jax.ffi.register_ffi_target(f"{name}_{library.key}", handler, platform="cpu")
    return library is not None
