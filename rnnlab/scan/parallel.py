"""Run a nonlinear recurrent cell in parallel over time: Newton's method on the whole trajectory at once.

The states are the root of r_t = s_t - f(s_{t-1}, x_t). A Newton step linearises every f at the present guess and
solves the affine recurrence d_t = J_t d_{t-1} - r_t, a prefix sum of depth log T; so a solution costs as many such
sums as it needs iterations, and not T steps.

    deer        Newton with the full Jacobian [T, B, N, N]. Lim, Zhu, Selfridge & Kasim 2024, section 3.
    quasi-deer  with its diagonal [T, B, N]. Gonzalez, Warrington, Smith & Linderman 2024, section 4.
    elk         Newton's step damped as by Levenberg & Marquardt, by a Kalman smoother. The same.
    quasi-elk   the same with the diagonal.

Undamped, s_1 is right after one iteration, s_2 after two: T are always enough (the same, proposition 1), and worth
nothing. How many are needed is told by the top Lyapunov exponent: `rnnlab.probes.dynamics.parallelizability`.
"""

from __future__ import annotations

import functools
from typing import NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from rnnlab.scan.affine import Full, affine_recurrence
from rnnlab.scan.newton import Map, Method, Settings, Trajectory, iterate, shifted
from rnnlab.scan.segments import varying_alike, zeros_like
from rnnlab.scan.state_vectors import flatten, join
from rnnlab.scan.stateful import has_state
from rnnlab.scan.unroll import Step

PRECISION = "highest"  # of matmuls: states whose products are rounded to TF32 cannot agree to 1e-5


class Solution(NamedTuple):
    """What `solve_in_parallel` found. Of a sequence that has not converged the states are finite and wrong, and carry
    and ys are what the cell makes of them.
    """

    carry: PyTree  # the last one
    ys: PyTree  # [T, B, H]
    iterations: Int[Array, " B"]  # updates of the trajectory until it was found, or given up
    converged: Bool[Array, " B"]  # whether the states are the cell's, to `tolerance`
    residuals: Float[Array, "n B"]  # the largest |r_t| of the guess, and after each iteration; NaN after the last


def solve_in_parallel(
    cell: Step,
    carry: PyTree,
    xs: PyTree,
    *,
    method: Method | str = "deer",
    tolerance: float = 1e-5,
    most: int = 100,
    guess: PyTree | None = None,
    damping: float = 1e-2,
) -> Solution:
    """`jax.lax.scan(cell, carry, xs)` for a nonlinear cell, in parallel over time, or converged=False.

    Args:
      cell: `(carry, x) -> (carry, y)`, of any form; sequences of a batch must not mix.
      carry: the initial carry, leaves [B, ...], N numbers a sequence in all (2H for an LSTM: its state is (c, h)).
      xs: inputs [T, B, D].
      method: see above. Full Jacobians are T B N^2 numbers and cost T B N^3 operations an iteration, the smoother
        of elk some times that. A diagonal costs N steps of the cell to find, and little to solve with.
      tolerance: how far a state may be from the cell's own; where a component of the carry has entries above 1,
        relative to its largest at that step.
      most: iterations after which a sequence is given up. Python's numbers, these two and `damping`: static in jit.
      guess: where the iteration begins, a tree like `carry` of arrays [T, B, ...]; left out, zeros.
      damping: of elk's first step. A step that does not lower sum r^2 is not taken, yet counts as an iteration, and
        the next is damped more; after one that does the next is damped less. It pays where iterates overshoot, and
        not where the exponent nears 0: there sum r^2 is flat, and going down it is slower than Newton's own way
        (measured, `experiments/parallel_in_time.py`).

    Returns:
      A `Solution`; each sequence converges, or not, by itself. It has converged where Newton's next step, which is its
      error to first order, is within `tolerance` (all steps to come, at the rate at which they shrink), and so is what
      rounding alone adds up to. A chaotic network amplifies the rounding of float32 to 1e-5 within some tens of steps;
      no two programs agree on its trajectory, and it is never called converged. An update that is not finite is not
      made, but for s_t = f(s_{t-1}) after states that are all right, so that T iterations suffice all the same. A cell
      with stop_gradient (SLSTM, gradient="truncated") has other derivatives than its Jacobian: it may need up to T
      iterations. Inputs or weights that are NaN give the NaN that they give any cell, not converged.

      Gradients are those of the cell's own trajectory by the implicit function theorem: the backward pass is one
      affine recurrence with the exact Jacobians [T, B, N, N] at the solution, whatever the method. They mean nothing
      where it has not converged. Reverse mode only, as `unroll`; nothing flows to `guess`, nor from `residuals`.

    Raises:
      ValueError: a method of another name, `most`, `tolerance` or `damping` not above 0, a guess of another shape,
        or a Flax module with state of its own, as dropout's counter, which its steps change one after the other.
    """
    settings = _settings(carry, method, tolerance, most, damping)
    if has_state(cell):
        raise ValueError(f"{type(cell).__name__} has state that its steps change one after the other: use unroll")
    cell, carry, xs, guess = varying_alike((cell, carry, xs, guess))
    start, restore = flatten(carry)
    length, batch = jax.tree.leaves(xs)[0].shape[0], len(start)
    if length == 0:
        residuals = jnp.full((most + 1, batch), jnp.nan, start.dtype)
        return Solution(*jax.lax.scan(cell, carry, xs), jnp.zeros(batch, jnp.int32), jnp.ones(batch, bool), residuals)
    first = _first(guess, carry, length, start.dtype)
    with jax.default_matmul_precision(PRECISION):
        step, read = jax.closure_convert(
            lambda v, x: join(cell(restore(v), x)[0], v.dtype), start, jax.tree.map(lambda x: x[0], xs)
        )
        found = _solve((step, _sizes(restore, start.dtype)), settings, read, start, xs, first)
        carries, ys = jax.vmap(lambda v, x: cell(restore(v), x))(shifted(start, found.states), xs)
    return Solution(jax.tree.map(lambda leaf: leaf[-1], carries), ys, *found[1:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _solve(functions, settings, read, start, xs, first) -> Trajectory:
    """The trajectory of step(v, x, *read), whose gradient is that of the solution of its recurrence."""
    step, sizes = functions
    return iterate(lambda before: _all_steps(step, read, before, xs), sizes, start, first, settings)


def _solve_forward(functions, settings, read, start, xs, first):
    found = _solve(functions, settings, read, start, xs, first)  # itself, so that its states have gradients here too
    return found, (found.states, read, start, xs)


def _solve_backward(functions, settings, kept, cotangents):
    """a_t = dL/ds_t + J_{t+1}^T a_{t+1}, and from it the gradient of all that a step reads."""
    del settings
    step, _ = functions
    states, read, start, xs = kept
    kind, before = Full(), shifted(start, states)
    with jax.default_matmul_precision(PRECISION):
        _, tangent = jax.linearize(lambda before: _all_steps(step, read, before, xs), before)
        following = kind.transpose(kind.jacobian(tangent, states).at[0].set(0))
        adjoints = affine_recurrence(kind, jnp.roll(following, -1, axis=0), cotangents.states, reverse=True)
        _, pull = jax.vjp(functools.partial(_all_steps, step), read, before, xs)
        d_read, d_before, d_xs = pull(adjoints)
    return d_read, d_before[0], d_xs, jnp.zeros_like(states)


_solve.defvjp(_solve_forward, _solve_backward)


def _all_steps(step, read, before: Float[Array, "T B N"], xs: PyTree) -> Float[Array, "T B N"]:
    """f(s_{t-1}, x_t) at every t."""
    return jax.vmap(lambda v, x: step(v, x, *read))(before, xs)


def _sizes(restore, dtype) -> Map:
    """Of each entry of a state the largest |entry| of its component at that step: c and h of an LSTM differ."""

    def of_step(v):
        largest = jax.tree.map(lambda leaf: jnp.max(jnp.abs(leaf), axis=range(1, leaf.ndim), keepdims=True), restore(v))
        return join(jax.tree.map(lambda most, leaf: jnp.broadcast_to(most, leaf.shape), largest, restore(v)), dtype)

    return jax.vmap(of_step)


def _first(guess, carry, length, dtype) -> Float[Array, "T B N"]:
    """The trajectory to begin with; what is not finite in it is 0."""
    if guess is None:
        return zeros_like(jnp.broadcast_to(flatten(carry)[0], (length, *flatten(carry)[0].shape)))
    want = [(length, *leaf.shape) for leaf in jax.tree.leaves(carry)]
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(guess)]
    if want != shapes:
        raise ValueError(f"guess: shapes {shapes}, must be [T, B, ...] = {want}")
    vectors = jax.lax.stop_gradient(jax.vmap(lambda leaf: join(leaf, dtype))(guess))
    return jnp.where(jnp.isfinite(vectors), vectors, 0)


def _settings(carry, method, tolerance, most, damping) -> Settings:
    if method not in get_args(Method):
        raise ValueError(f"method={method!r}: must be one of {', '.join(get_args(Method))}")
    for name, value in (("most", most), ("tolerance", tolerance), ("damping", damping)):
        if not value > 0:
            raise ValueError(f"{name}={value}: must be above 0")
    kinds = [leaf.dtype for leaf in jax.tree.leaves(carry) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return Settings(method, tolerance, most, damping, max(float(jnp.finfo(kind).eps) for kind in kinds))
