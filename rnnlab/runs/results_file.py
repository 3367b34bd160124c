"""From results.json, of this schema or of the first one, to the objects of `rnnlab.runs.results`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.data.card import DataCard
from rnnlab.probes.gradients.horizon import ExponentialFit, HorizonIntervals, MemoryHorizon
from rnnlab.runs.files import Damaged, read_json
from rnnlab.runs.folder import check_run
from rnnlab.runs.results import Arm, Claim, Guesses, Map, NotFinite, Profile, Results, Trial
from rnnlab.settings.errors import SettingError
from rnnlab.stats.estimates import Interval

SCHEMA = 2


def open_results(folder: Path) -> Results:
    """The results in a run's folder. Raises SettingError where there is no run, or one that has not ended; Damaged."""
    check_run(folder)
    file = folder / "results.json"
    if not file.exists():
        raise SettingError(f"{folder}: has not ended (it has no results.json); its own command resumes it")
    return read_results(file)


def read_results(file: Path) -> Results:
    """The results of a finished run. Raises FileNotFoundError, or Damaged for a file that holds none."""
    found = read_json(file)
    try:
        return results_from(found)
    except Damaged as error:
        raise Damaged(f"{file}: {error}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        why = " ".join(str(error).split())[:80]
        raise Damaged(f"{file}: damaged (no results of rnnlab: {type(error).__name__} {why})") from error


def results_from(found: Mapping[str, Any]) -> Results:
    """The objects of a results.json's content, of this schema or of the first one."""
    schema = found.get("schema", 1)
    if schema > SCHEMA:
        raise Damaged(f"schema {schema} is newer than this rnnlab's, {SCHEMA}: update it")
    described = found["arms"] if schema > 1 else _first_layout(found)
    longest = max([1, *(trial["sequences"] for trial in found["trials"])])  # the budget of files that hold none
    by_arm: dict[str, list[Mapping[str, Any]]] = {}
    for trial in found["trials"]:
        by_arm.setdefault(trial["arm"], []).append(trial)
    baselines = {arm: each["found"] for each in found.get("baselines", ()) for arm in each["arms"]}
    arms = {
        name: _arm(name, parts, by_arm[name], longest, baselines.get(name, {}))
        for name, parts in described.items()
        if name in by_arm
    }
    kept = ("experiment", "question", "tier", "command", "fraction", "environment", "seconds")
    claims = tuple(Claim(**claim) for claim in found.get("claims", ()))
    told = {"claims": claims, "verdict": found.get("verdict", ""), "swept": found.get("swept", False)}
    told["changed_since"] = tuple(found.get("changed_since", ()))
    told["labels"] = tuple(dict.fromkeys(arm.label for arm in arms.values()))
    return Results(**{name: found[name] for name in kept}, arms=arms, **told)


def _first_layout(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The arms of schema 1, which held each of their parts by itself, some by task."""
    arms = {}
    for name, settings in found["settings"].items():
        task, label = split_name(name, settings)
        prefix = name.rpartition("/")[0]
        arms[name] = {
            "task": task,
            "label": label,
            "settings": settings,
            "chance": found["chance"].get(name, math.nan),
            "needed_lag": found["needed_lag"].get(prefix),
            "rule": found.get("rule", {}).get(prefix, ""),
            "fit": found.get("fits", {}).get(name, {}).get("init", {}).get("h"),
        }
    return arms


def split_name(name: str, settings: Mapping[str, str]) -> tuple[str, str]:
    """(task, label) of an arm `TASK/LABEL`; a name of one part is the label of the task that its settings tell."""
    task, _, label = name.rpartition("/")
    return task or f"{settings.get('task', '')} {settings.get('task.length', '')}".strip(), label


def _arm(
    name: str,
    parts: Mapping[str, Any],
    trials: Sequence[Mapping[str, Any]],
    longest: int,
    baselines: Mapping[str, Any],
) -> Arm:
    read = tuple(read_trial({"budget": longest} | dict(trial)) for trial in trials)
    kept = ("task", "label", "settings", "needed_lag", "rule")
    fit = _fit(parts.get("fit"))
    told = {part: parts[part] for part in kept} | {"chance": float(parts["chance"]), "fit": fit}
    card = DataCard(**parts["card"]) if parts.get("card") else None
    return Arm(name, **told, trials=read, card=card, baselines=baselines)


def _fit(found: Mapping[str, Any] | None) -> HorizonIntervals | None:
    if found is None:
        return None
    intervals = (Interval(**found[name]) for name in ("decay_rate", "half_life", "horizon"))
    return HorizonIntervals(*intervals, found["censored"], ExponentialFit(**found["line"]))


def read_trial(found: Mapping[str, Any]) -> Trial:
    """A trial's own result as an object."""
    kept = ("arm", "seed", "status", "steps", "learned_at", "sequences", "budget", "reason")
    profiles = {
        when: {
            name: Profile(np.asarray(curves["lag"]), np.asarray(log10, np.float64))
            for name, log10 in curves.items()
            if name != "lag"
        }
        for when, curves in found.get("profiles", {}).items()
    }
    drawn, seen = found.get("guessing"), found.get("map")
    return Trial(
        **{name: found[name] for name in kept},
        held_out=found["eval"],
        curve={name: np.asarray(values, np.float64) for name, values in found["curve"].items()},
        horizons={when: {n: MemoryHorizon(**r) for n, r in of.items()} for when, of in found["reach"].items()},
        profiles=profiles,
        probes=tuple(found.get("probes", ())),
        guesses=Guesses(**drawn) if drawn else None,
        not_finite={
            when: {name: NotFinite(**where) for name, where in of.items()}
            for when, of in found.get("not_finite", {}).items()
        },
        map=Map(*(np.asarray(seen[name], np.float64) for name in Map._fields)) if seen else None,
    )
