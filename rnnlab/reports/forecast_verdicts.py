"""Whether networks forecast better than models without one: the answer and the claims."""

from __future__ import annotations

import math

from rnnlab.forecasting.scores import BANDS
from rnnlab.reports.forecasts import Forecasts, forecasts_of
from rnnlab.reports.tables import listed
from rnnlab.runs.results import Claim, Results
from rnnlab.stats.estimates import Interval

M4 = "open: Makridakis, Spiliotis & Assimakopoulos 2018"
EFFICIENT = "Fama 1970: prices close to a martingale"
PREFERRED = "LSTM"
WIDE = 0.2


def network_of(each: Forecasts) -> str | None:
    """The LSTM, where there is one; else the last network."""
    names = list(each.networks)
    return PREFERRED if PREFERRED in names else names[-1] if names else None


def answer(results: Results) -> str:
    """In which series the LSTM forecasts better than the best model without a network, in which worse."""
    better, worse, open_ = [], [], []
    name = PREFERRED
    for each in forecasts_of(results):
        if (network := network_of(each)) is None:
            continue
        name, best = network, each.best_other()
        found = each.difference("CRPS", network, best)
        told = f"{each.series} ({percent(found)} against {best})"
        (better if found.high < 0 else worse if found.low > 0 else open_).append(told)
    if not (better or worse or open_):
        return "No network forecast anything."
    if better:
        said = [f"the {name} forecasts {listed(better)} better than any model without a network"]
        said += [f"it is worse on {listed(worse)}"] if worse else []
    elif worse:
        said = [f"the {name} is worse than the best model without a network on {listed(worse)}"]
    else:
        said = [f"no difference is shown between the {name} and the best model without a network on {listed(open_)}"]
    said += [f"on {listed(open_)} no difference is shown"] if open_ and (better or worse) else []
    walks = [each.series for each in forecasts_of(results) if is_like_a_random_walk(each)]
    expected = [name for name in walks if not any(told.startswith(f"{name} (") for told in better)]
    why = "no better one is expected: no model beats its last value, as of prices that are close to a martingale."
    return f"By CRPS {'; '.join(said)}.{f' On {listed(expected)} {why}' if expected else ''}"


def is_like_a_random_walk(each: Forecasts) -> bool:
    """Whether it is read as relative changes, and no model without a network beats the last value."""
    if each.found["scaling"]["transform"] != "returns" or "naive" not in each.others:
        return False
    found = [each.difference("MAE", name, "naive") for name in each.others if name != "naive"]
    return all(not of.high < 0 for of in found)


def claims(results: Results) -> list[Claim]:
    """Of each series: against the best model without a network, price-like ones against the last value, and whether
    the bands hold what they say.
    """
    return [claim for each in forecasts_of(results) if network_of(each) for claim in _of_series(each)]


def percent(found: Interval) -> str:
    """A relative difference, as in `-4.1 % [-8.0, -0.2]`."""
    if math.isnan(found.estimate):
        return "n/a"
    ends = "" if math.isnan(found.low) else f" [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
    return f"{100 * found.estimate:+.1f} %{ends}"


def _of_series(each: Forecasts) -> list[Claim]:
    network, best = network_of(each), each.best_other()
    told = [_beats(each, network, best)]
    if is_like_a_random_walk(each):
        found = each.difference("MAE", network, "naive")
        says = f"{each.series}: the {network}'s median is no better than the last value, by absolute error"
        told.append(Claim(says, EFFICIENT, "not below 0 %", percent(found), *_equal(found, found.high >= 0)))
    for band in BANDS:
        found = each.coverage(band, network)
        measured = f"{100 * found.estimate:.0f} %"
        measured += "" if math.isnan(found.low) else f" [{100 * max(found.low, 0):.0f}, {100 * min(found.high, 1):.0f}]"
        says = f"{each.series}: the {network}'s {band} band holds {band} of the values"
        level = float(band.split()[0]) / 100
        met = found.low <= level <= found.high
        told.append(
            Claim(says, "calibration: Gneiting, Balabdaoui & Raftery 2007", band, measured, *_equal(found, met))
        )
    return told


def _beats(each: Forecasts, network: str, best: str) -> Claim:
    found = each.difference("CRPS", network, best)
    says = f"{each.series}: the {network} forecasts better than {best}, the best without a network, by CRPS"
    if not math.isnan(found.low) and found.low <= 0 <= found.high:
        return Claim(says, M4, "below 0 %", percent(found), None, "its interval over origins holds 0")
    return Claim(says, M4, "below 0 %", percent(found), *_judged(found, found.high < 0))


def _judged(found: Interval, met: bool) -> tuple[bool | None, str]:
    """The verdict, and why there is none."""
    if math.isnan(found.estimate):
        return None, "the other model makes no error"
    return (None, "fewer than two blocks of origins") if math.isnan(found.low) else (bool(met), "")


def _equal(found: Interval, met: bool) -> tuple[bool | None, str]:
    """`_judged`, of a claim that there is no difference: a wide interval holds any."""
    if met and found.high - found.low > WIDE:
        return None, f"too few origins: the interval is wider than {100 * WIDE:g} points"
    return _judged(found, met)
