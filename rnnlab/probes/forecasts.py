"""A network's forecasts of its series, as quantiles in the series' own unit."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rnnlab.forecasting.paths import sample_paths
from rnnlab.forecasting.scaling import QUANTILES, Scaling
from rnnlab.model import SequenceModel
from rnnlab.tasks.series import Series

PATHS = 200  # of a network that forecasts one step at a time


@functools.cache
def forecasts(task: Series) -> Callable[..., Mapping[str, Array]]:
    """A probe: quantiles [O, h, Q] at the test part's origins, each from the T values before it.

    Weights and scaling stay those of the training part: at later origins a network reads later values and is not
    trained again.
    """

    def probe(model, inputs, losses, answers, **steps):
        windows, origin = windows_at(task, task.origins("test"))
        found = quantiles(model, windows, origin, task, task.prepared().scaling, task.horizon, jax.random.key(0), PATHS)
        return {"quantiles": found}

    return probe


def windows_at(task: Series, origins: np.ndarray) -> tuple[Float[Array, "T O D"], Float[Array, " O"]]:
    """The scaled windows that end at these rows, and the series' values there."""
    series, *_, inputs, _ = task.prepared()
    rows = origins - task.length + 1 + np.arange(task.length)[:, None]
    return jnp.asarray(inputs[rows]), jnp.asarray(series.values[origins].astype(np.float32))


def quantiles(
    model: SequenceModel,
    windows: Float[Array, "T O D"],
    origin: Float[Array, " O"],
    task: Series,
    scaling: Scaling,
    steps: int,
    key: Array,
    paths: int,
) -> Float[Array, "O h Q"]:
    """Of the `steps` values after each window, rising (Chernozhukov, Fernandez-Val & Galichon 2010).

    Args:
      model: trained on the task.
      windows: scaled.
      origin: the series' values at the windows' ends.
      task: whose mode, length and horizon they are.
      scaling: of its training part.
      steps: h; of a network that forecasts directly at most its horizon.
      key: of paths; a direct forecast draws nothing.
      paths: how many.
    """
    if not task.autoregressive:
        outputs = model(windows, answers=1)[0]
        scaled = outputs.reshape(len(origin), task.horizon, len(QUANTILES))[:, :steps]
        return jnp.sort(scaling.unscaled(scaled, origin), axis=-1)
    moved = sample_paths(model, windows, scaling, steps, key, paths)
    found = jnp.moveaxis(jnp.quantile(moved, jnp.array(QUANTILES, moved.dtype), axis=-1), 0, -1)
    return jnp.sort(scaling.after(found, origin), axis=-1)
