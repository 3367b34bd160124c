"""Figures of what theory says, with no run in them."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from rnnlab.reports.style import Width, panels, styled
from rnnlab.runs.results import Results
from rnnlab.theory.error_surface import steepness_at_wall, two_parameter_surface, wall


@styled
def error_surface(results: Results | None = None, *, width: Width = "page") -> Figure:
    """The error of a network with two parameters and its steepness, with the wall of Pascanu et al. 2013, figure 6."""
    del results  # no run is in it
    figure, ((left, right),) = panels(1, 2, 2.4, width)
    w, b = np.linspace(3.5, 7, 241), np.linspace(-4, -1, 241)
    found = two_parameter_surface(w, b[:, None])
    steep = LogNorm(found.steepness.min(), found.steepness.max())
    drawn = ((left, found.error, None, "error E"), (right, found.steepness, steep, "norm of dE/d(w, b)"))
    for axes, values, norm, name in drawn:
        mesh = axes.pcolormesh(w, b, values, norm=norm, cmap="cividis", rasterized=True)
        figure.colorbar(mesh, ax=axes, label=name)
        axes.plot(w, wall(w), ":", color="w", lw=1)
        axes.set(xlabel="w", ylabel="b", ylim=(b[0], b[-1]))
    line = wall(5.5) + np.linspace(-0.2, 0.2, 4001)
    found = two_parameter_surface(5.5, line)
    peak = line[np.argmax(found.steepness)]
    figure.set_label(
        "Error surface of x_t = w s(x_{t-1}) + b after 50 steps; dotted: its wall, b = x_0 - w s(x_0). At w = 5.5 it "
        f"is steepest at b = {peak:.3f} (closed form {wall(5.5):.3f}), where |dE/db| is {abs(found.d_b[2000]):.4g} "
        f"(closed form {steepness_at_wall(5.5):.4g})."
    )
    return figure
