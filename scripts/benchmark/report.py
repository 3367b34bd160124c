"""Tables of what was measured, and the verdicts in words."""

from __future__ import annotations

from typing import Any

import growth_report
import judge
from judge import Shape, geometric_mean, shape_name
from rich.console import Console
from rich.table import Table
from turns import BUSY, Spread, Timed, ratio


def show_environment(console: Console, environment: dict[str, Any]) -> None:
    console.print(
        f"{environment['cpu']}, {environment['cores']} cores, {environment['system']}, Python {environment['python']}"
    )
    for name, about in environment["workers"].items():
        console.print(f"  {name}: " + ", ".join(f"{key} {value}" for key, value in about.items()))
    jaxlib = environment["jaxlib"]
    word = "allowed" if jaxlib["is_allowed"] else "EXCLUDED"
    console.print(
        f"  jaxlib {jaxlib['version']} is {word} by setup.cfg ({jaxlib['allowed']}); canary: {environment['canary']}"
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("B, T, D, H", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _spread(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f}-{spread.high:.2f})"


def _milliseconds(timed: Timed) -> str:
    return f"{timed.typical * 1e3:.3g}"


def show_speed(console: Console, speed: dict[Shape, Any]) -> None:
    for kind, title in {"forward": "Forward", "gradient": "Forward + backward (gradient of the weights)"}.items():
        names = list(next(iter(speed.values()))[kind])
        rivals = [name for name in names if name != "rnnlab"]
        columns = [*(f"{name} ms" for name in names), *(f"{name} / rnnlab" for name in rivals), "disturbed"]
        table = _table(f"{title}: median ms; paired ratios with quartiles, above 1 rnnlab is faster", *columns)
        ratios: dict[str, list[float]] = {name: [] for name in rivals}
        for shape, measured in speed.items():
            times = measured[kind]
            spreads = {name: ratio(times[name], times["rnnlab"]) for name in rivals if name in times}
            for name, spread in spreads.items():
                ratios[name].append(spread.median)
            cells = [_milliseconds(times[name]) if name in times else "" for name in names]
            told = [_spread(spreads[name]) if name in spreads else "" for name in rivals]
            table.add_row(shape_name(shape), *cells, *told, _noise(times))
        means = [f"{geometric_mean(values):.2f}" for values in ratios.values()]
        table.add_section()
        table.add_row("geometric mean", *[""] * len(names), *means, "")
        console.print(table)
    plain = any("lax.scan" in times for measured in speed.values() for times in measured.values())
    console.print(
        f"disturbed: turns in which other programs took over {BUSY:.0%} of the cores; ratios leave these out "
        "where three or more rounds remain." + " lax.scan: rnnlab's cell and layout without the engine." * plain
    )


def _noise(times: dict[Any, Timed]) -> str:
    others = [share for timed in times.values() for share in timed.others]
    return f"{sum(share > BUSY for share in others)} of {len(others)}"


def show_taps(console: Console, taps: dict[Shape, Any]) -> None:
    table = _table(
        "Taps: every adjoint's norm from the same backward pass", "without ms", "with ms", "with / without", "disturbed"
    )
    for shape, times in taps.items():
        cost = ratio(times["with"], times["without"])
        table.add_row(shape_name(shape), *map(_milliseconds, times.values()), _spread(cost), _noise(times))
    console.print(table)


def show_flow(console: Console, flow: dict[Shape, Any]) -> None:
    title = (
        "A flow profile: every log-norm of dL/dh_t and dL/dc_t, in full and along the cell path, loss at the last step"
    )
    table = _table(title, "gradient ms", "flow ms", "flow / gradient", "disturbed")
    for shape, times in flow.items():
        cost = ratio(times["flow"], times["gradient"])
        table.add_row(shape_name(shape), *map(_milliseconds, times.values()), _spread(cost), _noise(times))
    console.print(table)


def show_segments(console: Console, segments: dict[Shape, Any]) -> None:
    table = _table(
        "Segments: time of a gradient step over that with rnnlab's own segment", "own", "others", "disturbed"
    )
    for shape, measured in segments.items():
        own, times = measured["own"], measured["times"]
        cells = []
        for n, timed in times.items():
            if n != own:
                cells.append(f"{'all' if n == shape[1] else n}: {_spread(ratio(timed, times[own]))}")
        table.add_row(shape_name(shape), "all" if own == shape[1] else str(own), "\n".join(cells), _noise(times))
    console.print(table)


def show_layouts(console: Console, times: dict[str, Timed]) -> None:
    base = judge.BASE_LAYOUT
    console.print(f"Eight trials of an LSTM (B=32, T=200, H=64), ten updates each, and how often as fast as {base}:")
    for name, timed in times.items():
        console.print(f"  {name}: {_milliseconds(timed)} ms, {_spread(ratio(times[base], timed))}")
    console.print(f"  disturbed: {_noise(times)}")


def show_online(console: Console, online: dict[int, dict[str, Timed]]) -> None:
    console.print("The adding net of 1997, an update a sequence: sequences a second of ten trials at once (torch: one)")
    for length, times in online.items():
        rates = judge.rates(length, times)
        ratios = f", {rates['ratio']:.0f} times torch" if "ratio" in rates else ""
        shown = ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items() if name != "ratio")
        console.print(f"  T={length}: {shown}{ratios}; disturbed: {_noise(times)}")


def show_memory(console: Console, measured: dict[str, Any]) -> None:
    memory = measured["gradient"]
    console.print("Temporary memory of a gradient, loss at the last step, B, T, D, H = 8, 16384, 2, 64, one device:")
    for name, mebibytes in memory.items():
        less = f", {memory['jax.lax.scan'] / mebibytes:.0f} times less" if name != "jax.lax.scan" else ""
        console.print(f"  {name}: {mebibytes:.1f} MiB{less}")
    console.print(
        f"Memory of a flow profile, B, T, D, H = 1, 1000000, 2, 64, results included: {measured['flow']:.0f} MiB"
    )


def show_limit(console: Console, limits: dict[Shape, Any]) -> None:
    columns = ("P_small", "P_large", "BW", "L_sync", "update f, f+b", "binds", "forward", "forward + backward")
    table = _table("Fraction of the limit (a device's GFLOP/s, a core's GB/s, microseconds)", *columns)
    for shape, measured in limits.items():
        found = measured["limit"]
        rates = found["rates"]
        table.add_row(
            shape_name(shape),
            *(f"{rates[name] / 1e9:.0f}" for name in ("P_small", "P_large", "BW")),
            f"{rates['L_sync'] * 1e6:.2f}",
            f"{rates['update'] * 1e6:.1f}, {rates['update both'] * 1e6:.1f}",
            found["binds"],
            *(_spread(found["fractions"][kind]) for kind in ("forward", "gradient")),
        )
    console.print(table)


def show_linear(console: Console, measured: dict[str, Any]) -> None:
    title = "Linear recurrences, one device: median ms; paired ratios with quartiles"
    table = Table("numbers", "T", "B N", "gradient", title=title, title_justify="left")
    for column in ("sequential ms", "associative ms", "associative / sequential", "disturbed"):
        table.add_column(column, justify="right")
    for key, times in measured["recurrences"].items():
        gain = ratio(times["associative"], times["sequential"])
        table.add_row(*map(str, key), *map(_milliseconds, times.values()), _spread(gain), _noise(times))
    console.print(table)
    title = "Their cells, gradient of the weights, one device: median ms; at once: one matmul, one recurrence"
    table = Table("cell", "B, T, D, H", title=title, title_justify="left")
    for column in (
        "lax.scan",
        "by step",
        "at once",
        "associative",
        "lax.scan / at once",
        "by step / at once",
        "disturbed",
    ):
        table.add_column(column, justify="right")
    for (cell, *shape), times in measured["cells"].items():
        gains = (_spread(ratio(times[name], times["sequential"])) for name in ("lax.scan", "by step"))
        table.add_row(cell, shape_name(tuple(shape)), *map(_milliseconds, times.values()), *gains, _noise(times))
    console.print(table)


def show_forms(console: Console, measured: dict[str, Any]) -> None:
    for kind in ("forward", "gradient"):
        title = f"{kind}: ms with the weights as right factor, on one device, and how many times as fast otherwise"
        base, *others = list(dict.fromkeys(way for found in measured.values() for way in found[kind]))
        names = [f"{form}, {devices} device{'s' * (devices > 1)}" for form, devices in others]
        table = _table(title, "ms", *names, "disturbed")
        for shape, found in measured.items():
            times = found[kind]
            cells = [_spread(ratio(times[base], times[other])) if other in times else "" for other in others]
            table.add_row(shape, _milliseconds(times[base]), *cells, _noise(times))
        console.print(table)


def show_correct(console: Console, errors: dict[str, float]) -> None:
    console.print("Gradients of two masked layers, float32 here against float64 on the CPU, of the largest:")
    for cell, error in errors.items():
        console.print(f"  {cell}: {error:.1e}")


def show_prediction(console: Console, predicted: dict[str, dict[str, float]]) -> None:
    console.print("Seconds a run would take, each program compiled and timed, and roughly, as a dry run says:")
    for name, found in predicted.items():
        console.print(f"  {name}: {found['measured']:.0f}, {found['rough']:.0f}")


SECTIONS = {
    "growth": growth_report.show,
    "prediction": show_prediction,
    "correct": show_correct,
    "forms": show_forms,
    "speed": show_speed,
    "taps": show_taps,
    "flow": show_flow,
    "segments": show_segments,
    "memory": show_memory,
    "limit": show_limit,
    "layouts": show_layouts,
    "online": show_online,
    "linear": show_linear,
}


def show_verdicts(console: Console, verdicts: list[dict[str, Any]]) -> None:
    words = {True: "[green]met[/]", False: "[red]NOT met[/]", None: "not judged"}
    for verdict in verdicts:
        if verdict["measured"] is not None:
            console.print(f"{words[verdict['met']]}: {verdict['target']}: {verdict['measured']:.3g}")
