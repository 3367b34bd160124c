"""The table of fits: how a profile decays over lags, with bootstrap intervals, and whether one rate describes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rnnlab.reports.tables import Table, format_interval
from rnnlab.stats.estimates import Interval


def fit_table(results: Mapping[str, Any], name: str = "h", when: str = "init") -> Table:
    """A row an arm: decay rate, half-life and horizon of the profile averaged over trials."""
    rows = []
    for arm, fits in results["fits"].items():
        fit = fits.get(when, {}).get(name)
        if fit is None:
            continue
        rate, life, lags = (Interval(**fit[key]) for key in ("decay_rate", "half_life", "horizon"))
        line = fit["line"]
        shape = "yes" if line["exponential"] else f"no: {line['early']:.2g}, then {line['late']:.2g}"
        cut = ">= " if fit["censored"] else ""
        rows.append([arm, format_interval(rate, 2), format_interval(life, 2), cut + _whole(lags), shape])
    columns = ["arm", "decay rate (nats/step)", "half-life (steps)", "horizon (steps)", "one rate for all lags?"]
    state = "at initialisation" if when == "init" else "after training"
    caption = (
        f"dL/d{name} {state}, the mean profile over trials: least-squares line, in brackets 95 % bootstrap intervals "
        "over seeds (over examples where there is one seed). Where one rate does not describe the decay, the "
        "slopes of the first and second half of the lags stand beside it."
    )
    return Table(caption, columns, rows)


def _whole(lags: Interval) -> str:
    ends = "" if math.isnan(lags.low) else f" [{lags.low:g}, {lags.high:g}]"
    return f"{lags.estimate:g}{ends}"
