"""What a network reads and answers in place of a series' values: scaled levels, or scaled changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from rnnlab.specs.errors import UserError

Transform = Literal["levels", "changes", "returns"]
QUANTILES = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)  # of every forecast: the median, and bands of 50, 80 and 95 %
MEDIAN = QUANTILES.index(0.5)
SPREAD = 1.5  # largest over smallest value, from which changes are taken as relative ones


class Scaling(NamedTuple):
    """Fitted on the training part alone.

    With u the values (`returns`: their logarithm), a network reads u_t (`levels`) or u_t - u_{t-1} (else), and answers
    with u_{o+j} (`levels`) or u_{o+j} - u_o, j steps after the origin o; each less its mean and over its standard
    deviation.
    """

    transform: Transform
    input_mean: tuple[float, ...]  # of the series, then of each covariate
    input_scale: tuple[float, ...]
    mean: tuple[float, ...]  # of the answer j = 1 ... h
    scale: tuple[float, ...]

    def inputs(self, values: Float[np.ndarray, " n"], covariates: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "n D"]:
        """What is read at each step; the first change is not known, and is the mean."""
        read = _read(self.transform, values, covariates, self.input_mean[0])
        return (read - np.array(self.input_mean)) / np.array(self.input_scale)

    def targets(self, values: Float[np.ndarray, " n"], observed: Bool[np.ndarray, " n"]) -> Float[np.ndarray, "n h"]:
        """Of each origin the scaled answers; nan where they were not observed, or lie behind the series' end."""
        return (_answers(self.transform, values, observed, len(self.mean)) - np.array(self.mean)) / np.array(self.scale)

    def unscaled(self, scaled: Any, origin: Any) -> Any:
        """Answers [..., h, Q] as values of the series, after origins of these values [...]; numpy or jax."""
        steps = scaled.shape[-2]
        moved = (
            scaled * np.array(self.scale, scaled.dtype)[:steps, None] + np.array(self.mean, scaled.dtype)[:steps, None]
        )
        return self.after(moved, origin)

    def after(self, moved: Any, origin: Any) -> Any:
        """Answers without scale [..., h, Q] as values of the series."""
        if self.transform == "levels":
            return moved
        start = origin[..., None, None]
        if self.transform == "changes":
            return start + moved
        return start * (np.exp(moved) if isinstance(moved, np.ndarray) else _exp(moved))

    def as_json(self) -> dict[str, Any]:
        return self._asdict()

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Scaling:
        return cls(found["transform"], *(tuple(found[name]) for name in cls._fields[1:]))


def fit(
    transform: Transform | Literal["auto"],
    values: Float[np.ndarray, " n"],
    observed: Bool[np.ndarray, " n"],
    covariates: Float[np.ndarray, "n C"],
    horizon: int,
) -> Scaling:
    """The scaling of a training part, of which nothing later is read.

    Raises:
      UserError: the part does not move, or returns are asked of values that are not positive.
    """
    if transform == "auto":
        transform = chosen(values, observed, horizon)
    if transform == "returns" and values.min() <= 0:
        raise UserError(f"transform=returns: a value is {values.min():g}: needs values above 0; the nearest is changes")
    read = _read(transform, values, covariates, np.nan)
    answers = _answers(transform, values, observed, horizon)
    moments = [(np.nanmean(part, axis=0), np.nanstd(part, axis=0)) for part in (read, answers)]
    if not moments[0][1][0] > 0 or not np.all(moments[1][1] > 0):
        raise UserError("the training part of the series is constant: there is nothing to learn; a smaller test part?")
    (input_mean, input_scale), (mean, scale) = moments
    input_scale = np.where(input_scale > 0, input_scale, 1)  # of a covariate that is constant there
    return Scaling(transform, *(tuple(part.tolist()) for part in (input_mean, input_scale, mean, scale)))


def chosen(values: Float[np.ndarray, " n"], observed: Bool[np.ndarray, " n"], horizon: int) -> Transform:
    """`auto`: levels where a training part's mean forecasts its next h steps better than the last value does.

    By the mean absolute error over all its origins and steps 1 to h. Else changes; relative ones, log returns, where
    all values are positive and the largest is at least 1.5 times the smallest, as prices are.
    """
    levels = _answers("levels", values, observed, horizon)
    if np.nanmean(np.abs(levels - values[observed].mean())) < np.nanmean(np.abs(levels - values[:, None])):
        return "levels"
    return "returns" if values.min() > 0 and values.max() >= SPREAD * values.min() else "changes"


def logged(transform: Transform, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """u."""
    return np.log(values) if transform == "returns" else values


def _read(transform, values, covariates, first) -> np.ndarray:
    read = logged(transform, values)
    if transform != "levels":
        read = np.diff(read, prepend=np.nan)
        read[0] = first
    return np.concatenate([read[:, None], covariates], axis=1)


def _answers(transform, values, observed, horizon) -> np.ndarray:
    """[n, h], nan where not observed."""
    u = np.where(observed, logged(transform, values), np.nan)
    padded = np.append(u, np.full(horizon, np.nan))
    later = np.lib.stride_tricks.sliding_window_view(padded[1:], horizon)
    return later if transform == "levels" else later - logged(transform, values)[:, None]


def _exp(moved):
    import jax.numpy as jnp

    return jnp.exp(moved)
