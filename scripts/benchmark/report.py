"""What the times say: tables, the limit, and a verdict on each target, all computed from what was measured."""

from __future__ import annotations

import math
import statistics
from typing import Any

from rich.console import Console
from rich.table import Table
from turns import BUSY, Spread, Timed, ratio

AT_LEAST = {"torch": 1.25, "flax": 1.5}  # geometric mean over the shapes, forward + backward
NO_SHAPE_BELOW = 0.95
TAP_AT_MOST = 1.05
FLOW_AT_MOST = 3  # gradient steps that a flow profile costs
MEMORY_AT_LEAST = 50
FLOW_MEMORY_AT_MOST = 2048  # MiB, at T = 1,000,000
Shape = tuple[int, int, int, int]


def calibrations(shape: list[int]) -> dict[str, tuple[str, dict[str, Any]]]:
    """The jobs that the limit of a shape needs: {name: (kind, options)}."""
    here = {"shape": shape}
    jobs = {kind: (kind, here) for kind in ("forward", "gradient", "empty", "products")}
    jobs |= {f"matmul by {blocks}": ("matmul", here | {"blocks": blocks}) for blocks in (1, 4)}
    jobs |= {
        "update": ("pointwise", here | {"backward": False}),
        "update both": ("pointwise", here | {"backward": True}),
    }
    return jobs | {"reads": ("reads", {"numbers": 4 * shape[3] ** 2}), "no reads": ("reads", {"numbers": 1})}


def limit(shape: Shape, constants: dict[str, int], times: dict[str, Timed]) -> dict[str, Any]:
    """performance.md's bound on rnnlab's time, from this machine's best calibrations, and its fraction reached.

    A step >= max(2 B G H^2 / P_small, s G H^2 / BW, L_sync) + pointwise, with B a device's part of the batch;
    backward the same once more; what is not sequential goes at the rate of large matmuls, P_large. FLOPs a
    token: forward 2 G H (D + H); training 6 G H (D + H), less the 2 G H D of input gradients, not asked for.
    """
    batch, length, inputs, features = shape
    best = {name: min(timed.seconds) for name, timed in times.items()}
    steps = constants["steps"]
    tokens = batch // constants["devices"] * length
    block = 4 * features
    sync = best["empty"] / steps
    product = min(best["matmul by 1"], best["matmul by 4"]) / steps - sync
    small = 2 * tokens / length * block * features / max(product, 1e-9)
    large = 2 * constants["rows"] * block * features * constants["products"] / best["products"]
    bandwidth = 4 * block * features / max((best["reads"] - best["no reads"]) / constants["reads"], 1e-9)
    terms = {
        "matmul": 2 * tokens / length * block * features / small,
        "bandwidth": 4 * block * features / bandwidth,
        "latency": sync,
    }
    step = max(terms.values())
    update, both = (max(best[name] / steps - sync, 0.0) for name in ("update", "update both"))
    at_once = tokens * (6 * block * (inputs + features) - 4 * block * features - 2 * block * inputs)
    bounds = {
        "forward": length * (step + update) + tokens * 2 * block * inputs / large,
        "gradient": length * (2 * step + both) + at_once / large,
    }
    fractions = {kind: Spread.of([bounds[kind] / t for t in times[kind].seconds]) for kind in bounds}
    rates = {"P_small": small, "P_large": large, "BW": bandwidth, "L_sync": sync, "update": update, "update both": both}
    return {"bounds": bounds, "fractions": fractions, "binds": max(terms, key=terms.get), "rates": rates}


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


def _name(shape: Shape) -> str:
    return ", ".join(map(str, shape))


def _spread(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f}-{spread.high:.2f})"


def _milliseconds(timed: Timed) -> str:
    return f"{timed.typical * 1e3:.3g}"


def geometric_mean(values: list[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values)))


def show_speed(console: Console, speed: dict[Shape, Any]) -> None:
    for kind, title in {"forward": "Forward", "gradient": "Forward + backward (gradient of the weights)"}.items():
        names = list(next(iter(speed.values()))[kind])
        rivals = [name for name in names if name != "rnnlab"]
        columns = [*(f"{name} ms" for name in names), *(f"{name} / rnnlab" for name in rivals), "disturbed"]
        table = _table(f"{title}: median ms; paired ratios with quartiles, above 1 rnnlab is faster", *columns)
        ratios: dict[str, list[float]] = {name: [] for name in rivals}
        for shape, measured in speed.items():
            times = measured[kind]
            spreads = {name: ratio(times[name], times["rnnlab"]) for name in rivals}
            for name in rivals:
                ratios[name].append(spreads[name].median)
            table.add_row(
                _name(shape), *map(_milliseconds, times.values()), *map(_spread, spreads.values()), _noise(times)
            )
        means = [f"{geometric_mean(values):.2f}" for values in ratios.values()]
        table.add_section()
        table.add_row("geometric mean", *[""] * len(names), *means, "")
        console.print(table)
    console.print(
        f"disturbed: turns in which other programs took over {BUSY:.0%} of the cores; ratios leave these out "
        "where three or more rounds remain. lax.scan: rnnlab's cell and layout without the engine."
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
        table.add_row(_name(shape), *map(_milliseconds, times.values()), _spread(cost), _noise(times))
    console.print(table)


def show_flow(console: Console, flow: dict[Shape, Any]) -> None:
    title = (
        "A flow profile: every log-norm of dL/dh_t and dL/dc_t, in full and along the cell path, loss at the last step"
    )
    table = _table(title, "gradient ms", "flow ms", "flow / gradient", "disturbed")
    for shape, times in flow.items():
        cost = ratio(times["flow"], times["gradient"])
        table.add_row(_name(shape), *map(_milliseconds, times.values()), _spread(cost), _noise(times))
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
        table.add_row(_name(shape), "all" if own == shape[1] else str(own), "\n".join(cells), _noise(times))
    console.print(table)


def show_memory(console: Console, measured: dict[str, Any]) -> None:
    memory = measured["gradient"]
    console.print("Temporary memory of a gradient, loss at the last step, B, T, D, H = 8, 16384, 2, 64, one device:")
    for name, mebibytes in memory.items():
        console.print(
            f"  {name}: {mebibytes:.1f} MiB, {memory['jax.lax.scan'] / mebibytes:.0f} times less than jax.lax.scan"
        )
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
            _name(shape),
            *(f"{rates[name] / 1e9:.0f}" for name in ("P_small", "P_large", "BW")),
            f"{rates['L_sync'] * 1e6:.2f}",
            f"{rates['update'] * 1e6:.1f}, {rates['update both'] * 1e6:.1f}",
            found["binds"],
            *(_spread(found["fractions"][kind]) for kind in ("forward", "gradient")),
        )
    console.print(table)


SECTIONS = {
    "speed": show_speed,
    "taps": show_taps,
    "flow": show_flow,
    "segments": show_segments,
    "memory": show_memory,
    "limit": show_limit,
}


def verdicts(results: dict[str, Any], every_shape: bool) -> list[dict[str, Any]]:
    """Each target, what was measured, and whether it is met: None where not measured, or not at every shape."""
    found = []

    def judge(target: str, value: float | None, met: bool | None) -> None:
        found.append(
            {"target": target, "measured": value, "met": met if every_shape or target.startswith("memory") else None}
        )

    speed = results.get("speed", {})
    for rival, least in AT_LEAST.items():
        measured = [m["gradient"] for m in speed.values() if rival in m["gradient"]]
        ratios = [ratio(times[rival], times["rnnlab"]).median for times in measured]
        mean, lowest = (geometric_mean(ratios), min(ratios)) if ratios else (None, None)
        judge(f"geometric mean at least {least} of {rival}", mean, mean and mean >= least)
        judge(f"no shape below {NO_SHAPE_BELOW} of {rival}", lowest, lowest and lowest >= NO_SHAPE_BELOW)
    costs = [ratio(times["with"], times["without"]).median for times in results.get("taps", {}).values()]
    judge(
        f"taps at most {TAP_AT_MOST} at every shape",
        max(costs, default=None),
        max(costs) <= TAP_AT_MOST if costs else None,
    )
    profiles = [ratio(times["flow"], times["gradient"]).median for times in results.get("flow", {}).values()]
    dearest = max(profiles, default=None)
    judge(
        f"flow profile at most {FLOW_AT_MOST} gradient steps at every shape",
        dearest,
        dearest and dearest <= FLOW_AT_MOST,
    )
    memory = results.get("memory", {}).get("gradient", {})
    own = next((m for name, m in memory.items() if "own" in name), None)
    gain = own and memory["jax.lax.scan"] / own
    judge(f"memory at least {MEMORY_AT_LEAST} times less than jax.lax.scan", gain, gain and gain >= MEMORY_AT_LEAST)
    far = results.get("memory", {}).get("flow")
    judge(
        f"memory of a flow profile at T = 1,000,000 at most {FLOW_MEMORY_AT_MOST} MiB",
        far,
        far and far <= FLOW_MEMORY_AT_MOST,
    )
    return found


def show_verdicts(console: Console, verdicts: list[dict[str, Any]]) -> None:
    words = {True: "[green]met[/]", False: "[red]NOT met[/]", None: "not judged"}
    for verdict in verdicts:
        value = "not measured" if verdict["measured"] is None else f"{verdict['measured']:.2f}"
        console.print(f"{words[verdict['met']]}: {verdict['target']}: {value}")


def plain(value: Any) -> Any:
    """The results as JSON has words for them: a shape that is a key becomes "B, T, D, H"."""
    if isinstance(value, dict):
        return {_name(key) if isinstance(key, tuple) else str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
