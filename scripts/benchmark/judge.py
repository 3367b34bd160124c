"""What the times say: the limit of this machine, and a verdict on each target, all computed from what was measured."""

from __future__ import annotations

import math
import statistics
from typing import Any

from turns import Spread, Timed, ratio

# Geometric mean over the shapes, and of no shape below, by what is timed
AT_LEAST = {"gradient": {"torch": 1.5, "flax": 2.0}, "forward": {"torch": 1.3}}
NO_SHAPE_BELOW = {"gradient": 1.0, "forward": 0.95}
SAID = {"gradient": "forward + backward", "forward": "forward alone"}
TAP_AT_MOST = 1.05
FLOW_AT_MOST = 3  # gradient steps that a flow profile costs
MEMORY_AT_LEAST = 50
CORRECT_TO = 1e-5  # of the largest
LAYOUT_AT_LEAST = 1.7  # of trials in one program over the same one after another
ONLINE = {100: {"rnnlab": 1000, "torch": 10}, 1000: {"rnnlab": 200, "torch": 2}}  # T: sequences of a call, a trial
ONLINE_AT_LEAST = {100: 20_000, 1000: 4_000}  # sequences a second, ten trials of the 1997 net
ONLINE_OF_TORCH = 10
BASE_LAYOUT = "one after another, on one device"
FLOW_MEMORY_AT_MOST = 2048  # MiB, at T = 1,000,000
Shape = tuple[int, int, int, int]


def calibrations(shape: list[int], constants: dict[str, int]) -> dict[str, tuple[str, dict[str, Any]]]:
    """The jobs that the limit of a shape needs: {name: (kind, options)}."""
    here = {"shape": shape}
    jobs = {kind: (kind, here) for kind in ("forward", "gradient", "empty", "products")}
    jobs |= {f"matmul by {blocks}": ("matmul", here | {"blocks": blocks}) for blocks in (1, 4)}
    jobs |= {
        "update": ("pointwise", here | {"backward": False}),
        "update both": ("pointwise", here | {"backward": True}),
    }
    rows = {"blas small": constants["small rows"], "blas large": constants["rows"]}
    jobs |= {name: ("blas", here | {"rows": count, "times": constants["products"]}) for name, count in rows.items()}
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
    product = min(product, best["blas small"] / constants["products"])
    small = 2 * tokens / length * block * features / max(product, 1e-9)
    large = 2 * constants["rows"] * block * features * constants["products"]
    large /= min(best["products"], best["blas large"])
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


def geometric_mean(values: list[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values)))


def verdicts(results: dict[str, Any], every_shape: bool) -> list[dict[str, Any]]:
    """Each target, what was measured, and whether it is met: None where not measured, or not at every shape."""
    found = []

    def judge(target: str, value: float | None, met: bool | None) -> None:
        found.append(
            {
                "target": target,
                "measured": value,
                "met": met if every_shape or target.startswith(("memory", "trials", "online", "gradients")) else None,
            }
        )

    speed = results.get("speed", {})
    for kind, rivals in AT_LEAST.items():
        for rival, least in rivals.items():
            measured = [m[kind] for m in speed.values() if rival in m[kind]]
            ratios = [ratio(times[rival], times["rnnlab"]).median for times in measured]
            mean, lowest = (geometric_mean(ratios), min(ratios)) if ratios else (None, None)
            judge(f"{SAID[kind]}: geometric mean at least {least} of {rival}", mean, mean and mean >= least)
            below = NO_SHAPE_BELOW[kind]
            judge(f"{SAID[kind]}: no shape below {below} of {rival}", lowest, lowest and lowest >= below)
    worst = max(results.get("correct", {}).values(), default=None)
    judge(f"gradients within {CORRECT_TO:g} of float64", worst, None if worst is None else worst <= CORRECT_TO)
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
    layouts = results.get("layouts", {})
    gains = [ratio(layouts[BASE_LAYOUT], timed).median for name, timed in layouts.items() if name.startswith("mapped")]
    fastest = max(gains, default=None)
    judge(
        f"trials in one program at least {LAYOUT_AT_LEAST} times as fast as one after another",
        fastest,
        fastest and fastest >= LAYOUT_AT_LEAST,
    )
    for length, least in ONLINE_AT_LEAST.items():
        measured = rates(length, results.get("online", {}).get(length, {}))
        rate, gain = measured.get("rnnlab"), measured.get("ratio")
        judge(f"online: {least:,} sequences a second at T={length}", rate, rate and rate >= least)
        judge(f"online: {ONLINE_OF_TORCH} times torch at T={length}", gain, gain and gain >= ONLINE_OF_TORCH)
    return found


def rates(length: int, times: dict[str, Timed]) -> dict[str, float]:
    """Sequences a second, and how many times torch's; rnnlab's call has ten trials."""
    calls = {"rnnlab": 10 * ONLINE[length]["rnnlab"], "torch": ONLINE[length]["torch"]}
    found = {name: calls[name] / timed.typical for name, timed in times.items()}
    if "torch" in found:
        found["ratio"] = ratio(times["torch"], times["rnnlab"]).median * calls["rnnlab"] / calls["torch"]
    return found


def shape_name(shape: Shape) -> str:
    return ", ".join(map(str, shape))


def plain(value: Any) -> Any:
    """The results as JSON has words for them: a shape that is a key becomes "B, T, D, H"."""
    if isinstance(value, dict):
        return {shape_name(key) if isinstance(key, tuple) else str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
