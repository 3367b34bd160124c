"""Which settings matter: how the variance of an outcome over a design splits into main effects and interactions.

Hutter, Hoos & Leyton-Brown 2014, An efficient approach for assessing hyperparameter importance. A random forest is
fitted to the trials; each of its trees is constant on boxes, so that its mean over all other axes, at fixed values of
one or two, is a sum over leaves: exact, with no sampling. The variance of that marginal over the tree's whole variance
is the effect's share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float

Scale = Literal["linear", "log", "levels"]
FEW = 20  # trials, or trees: with fewer some trial may be in every tree's sample, so that R^2 is not known


class Effect(NamedTuple):
    """The share of the variance that one axis makes alone, or two together beyond what each makes alone."""

    axes: tuple[str, ...]
    share: float  # the mean over trees; 1 is the whole variance
    spread: float  # the standard deviation over trees


class Importance(NamedTuple):
    """Effects, the greatest first, and how far the forest that they describe can be trusted."""

    effects: list[Effect]  # all main effects and all pairs; the rest to 1 are interactions of three and more axes
    explained: float  # R^2 of trials that a tree has not seen: near 0 the shares are meaningless; nan for few trials


class _Axis(NamedTuple):
    """How an axis enters the forest, and over which values it is averaged."""

    columns: Float[np.ndarray, "N C"]  # one, or an indicator for each category
    continuous: bool


def importance(
    design: Mapping[str, Sequence[Any]],
    outcome: Sequence[float | int],
    scales: Mapping[str, Scale] | None = None,
    trees: int = 64,
    seed: int = 0,
) -> Importance:
    """Main effects and pairwise interactions of the axes of a design on an outcome.

    Axes are taken as free of each other, so an axis that always changes with another shares the effect with it by
    chance: leave one of the two out. It takes 8 seconds on one core for 600 trials of 8 axes.

    Args:
      design: {axis: its value in each trial}. Numbers are averaged over uniformly from the least to the greatest;
        anything else is a category, and categories count alike.
      outcome: one finite number a trial. A loss is better given as its logarithm, or the worst trials are all there is.
      scales: "log" for an axis that is uniform in the logarithm (a learning rate), "levels" for numbers of a grid,
        which count alike whatever lies between them. Left out: "linear".
      trees: of the forest. `Effect.spread` is how far single trees, each fitted to its own resample of the trials,
        differ: it is no interval of the share, which is their mean.
      seed: of the forest.

    Returns:
      Shares of the variance of the fitted forest, each 0 to 1; an axis with one value has 0.

    Raises:
      ValueError: lists of different lengths, fewer than two trials, an outcome that is not finite or does not vary, a
        scale that an axis does not have.
    """
    ys = np.asarray(outcome, np.float64)
    _check(design, ys, scales or {})
    axes = {name: _axis(name, values, (scales or {}).get(name)) for name, values in design.items()}
    from sklearn.ensemble import RandomForestRegressor  # here: it takes a third of a second to import

    forest = RandomForestRegressor(trees, oob_score=len(ys) >= FEW and trees >= FEW, random_state=seed)
    forest.fit(np.hstack([axis.columns for axis in axes.values()]), ys)
    shares = [found for tree in forest.estimators_ if (found := _shares(tree.tree_, list(axes.values())))]
    effects = []
    for which in shares[0] if shares else ():
        of_trees = np.array([found[which] for found in shares])
        effects.append(Effect(tuple(list(axes)[i] for i in which), float(of_trees.mean()), float(of_trees.std())))
    effects.sort(key=lambda effect: -effect.share)
    return Importance(effects, float(getattr(forest, "oob_score_", math.nan)))


def logs(losses: Sequence[float | int]) -> list[float]:
    """Natural logarithms; a loss of exactly 0 counts as the least that is above 0, so that the best stay the best.

    Raises:
      ValueError: a loss that is negative or not finite.
    """
    x = np.asarray(losses, np.float64)
    wrong = x[~(np.isfinite(x) & (x >= 0))]
    if len(wrong):
        raise ValueError(f"losses hold {wrong[0]}: each must be finite, and >= 0, to have a logarithm")
    return np.log(np.maximum(x, min(x[x > 0], default=1.0))).tolist()


def _check(design, ys, scales) -> None:
    lengths = {name: len(values) for name, values in design.items()}
    if set(lengths.values()) - {len(ys)} or not lengths:
        raise ValueError(
            f"design has {lengths or 'no axes'} for {len(ys)} outcomes: needs a value of each axis a trial"
        )
    if not np.isfinite(ys).all():
        raise ValueError(
            f"outcome[{np.flatnonzero(~np.isfinite(ys))[0]}] is not finite: leave the trial out, or cap it"
        )
    if len(ys) < 2 or np.ptp(ys) == 0:
        raise ValueError(f"{len(ys)} outcomes with no variance between them: there is nothing to divide")
    for name, scale in scales.items():
        if scale not in get_args(Scale):
            raise ValueError(f"scales[{name!r}]={scale}: there is {', '.join(get_args(Scale))}")
    unknown = [name for name in scales if name not in design]
    if unknown:
        raise ValueError(f"scales[{unknown[0]!r}]: no such axis; there is {', '.join(design)}")


def _axis(name: str, values: Sequence[Any], scale: Scale | None) -> _Axis:
    number = all(isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in values)
    if number and scale != "levels":
        x = np.asarray(values, np.float64)
        if not np.isfinite(x).all() or (scale == "log" and (x <= 0).any()):
            raise ValueError(f"{name}={x.min():g}: an axis is finite, and above 0 on a logarithmic scale")
        return _Axis((np.log(x) if scale == "log" else x)[:, None], True)
    if scale in ("linear", "log"):
        raise ValueError(f"{name} is on a {scale} scale, and not all of its values are numbers")
    levels, codes = np.unique(np.asarray(values if number else [str(v) for v in values]), return_inverse=True)
    return _Axis(codes[:, None].astype(np.float64) if number else np.eye(len(levels))[codes], False)


def _shares(tree: Any, axes: Sequence[_Axis]) -> dict[tuple[int, ...], float]:
    """Shares of one tree's variance by axes; none for a tree that is a constant."""
    low, high, values = _leaves(tree)
    first = np.cumsum([0] + [axis.columns.shape[1] for axis in axes])
    inside, weights = [], []
    for axis, start, stop in zip(axes, first, first[1:], strict=False):
        at, weight = _cells(axis, tree.threshold[tree.feature == start])
        # The cells are where the tree's boxes begin and end, so a box holds a cell or does not touch it.
        within = (low[:, None, start:stop] < at) & (at <= high[:, None, start:stop])
        inside.append(within.all(axis=2).astype(np.float64))
        weights.append(weight)
    parts = np.stack([within @ weight for within, weight in zip(inside, weights, strict=True)])  # of each axis [A, L]
    values = values - parts.prod(axis=0) @ values  # around the tree's mean
    whole = parts.prod(axis=0) @ values**2
    if whole <= 0:
        return {}

    def rest(*which: int) -> np.ndarray:
        return values * np.delete(parts, which, axis=0).prod(axis=0)

    found = {}
    for a in range(len(axes)):
        found[a,] = weights[a] @ (rest(a) @ inside[a]) ** 2
    for a, b in combinations(range(len(axes)), 2):
        both = (inside[a].T * rest(a, b)) @ inside[b]
        found[a, b] = weights[a] @ both**2 @ weights[b] - found[a,] - found[b,]
    return {which: float(variance / whole) for which, variance in found.items()}


def _cells(axis: _Axis, thresholds: np.ndarray) -> tuple[Float[np.ndarray, "G C"], Float[np.ndarray, " G"]]:
    """A point in each cell of an axis and the cell's weight: between thresholds by width, else every value alike."""
    if not axis.continuous:
        points = np.unique(axis.columns, axis=0)
        return points, np.full(len(points), 1 / len(points))
    x = axis.columns
    if np.ptp(x) == 0:
        return x[:1], np.ones(1)
    edges = np.unique([x.min(), *thresholds, x.max()])
    return (edges[:-1, None] + edges[1:, None]) / 2, np.diff(edges) / np.ptp(x)


def _leaves(tree: Any) -> tuple[Float[np.ndarray, "L C"], Float[np.ndarray, "L C"], Float[np.ndarray, " L"]]:
    """The boxes low < x <= high of a tree's leaves, and its value on each."""
    low = np.full((tree.node_count, tree.n_features), -np.inf)
    high = -low
    for node in range(tree.node_count):  # a parent has the lower number
        left, right, column = tree.children_left[node], tree.children_right[node], tree.feature[node]
        if left == right:
            continue
        for child in (left, right):
            low[child], high[child] = low[node], high[node]
        high[left, column] = low[right, column] = tree.threshold[node]
    leaf: Bool[np.ndarray, " nodes"] = tree.children_left == tree.children_right
    return low[leaf], high[leaf], tree.value[leaf, 0, 0]
