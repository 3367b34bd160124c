"""How costs grow with their size: the tables and the picture of the section `growth`."""

from __future__ import annotations

import math
from pathlib import Path

from rich.console import Console
from rich.table import Table

SIZES = {  # what is told of each kind of growth: of which size, and unit, factor and decimals of what was measured
    "length": ("steps T", {"seconds": ("ms", 1e3), "MiB": ("MiB", 1)}),
    "trials": ("trials in one program", {"seconds": ("ms for 10 updates", 1e3)}),
    "ended": ("trials that have ended", {"start": ("s to start", 1), "report": ("s to report", 1),
                                         "files": ("files a trial", 1), "KiB": ("KiB a trial", 1)}),
}  # fmt: skip


def show(console: Console, growth: dict[str, dict[int, dict[str, float]]]) -> None:
    for what, sizes in growth.items():
        title, units = SIZES[what]
        table = Table(title, title="Growth", title_justify="left")
        for unit, _ in units.values():
            table.add_column(unit, justify="right")
            table.add_column("grows as size to the", justify="right")
        before: tuple[int, dict[str, float]] | None = None
        for size, found in sizes.items():
            cells = []
            for name, (_, factor) in units.items():
                power = ""
                if before is not None:
                    power = f"{math.log(found[name] / before[1][name]) / math.log(size / before[0]):.2f}"
                cells += [f"{factor * found[name]:.3g}", power]
            table.add_row(f"{size:,}", *cells)
            before = size, found
        console.print(table)


def draw(growth: dict[str, dict[int, dict[str, float]]], file: Path) -> None:
    """Seconds by size, on logarithmic axes, beside a line that grows as the size does."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(growth), figsize=(3.4 * len(growth), 3), layout="constrained")
    for panel, (what, sizes) in zip(panels, growth.items(), strict=True):
        at = list(sizes)
        for name, mark in (("seconds", "o"), ("start", "o"), ("report", "s")):
            if name in sizes[at[0]]:
                panel.plot(at, [sizes[size][name] for size in at], marker=mark, ms=4, label=name)
        last = max(sizes[at[-1]].get(name, 0) for name in ("seconds", "start", "report"))
        panel.plot(at, [last * size / at[-1] for size in at], color="0.7", lw=0.8, ls="--", label="as the size")
        panel.set(xscale="log", yscale="log", xlabel=SIZES[what][0], ylabel="seconds")
        panel.legend(fontsize=8, frameon=False)
    figure.savefig(file, dpi=150)
