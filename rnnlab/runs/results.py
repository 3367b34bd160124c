"""What a finished run found, as frozen objects: `Results` hold arms, an `Arm` its trials, a `Trial` what was measured.

`rnnlab.runs.results_file` reads them.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Int

from rnnlab.data.card import DataCard
from rnnlab.probes.gradients.horizon import HorizonIntervals, MemoryHorizon
from rnnlab.settings.errors import SettingError, nearest
from rnnlab.stats import estimates
from rnnlab.stats.estimates import Interval
from rnnlab.stats.survival import Times

When = Literal["init", "trained"]  # at initialisation, or after training


class Claim(NamedTuple):
    """One expectation, stated before the run, or one published figure, and what the run says of it."""

    says: str  # what is claimed; of a figure what it is of, with its unit
    source: str  # author, year, and the section, table or figure; or the closed form
    expected: str
    measured: str
    met: bool | None  # None: not judged, since this run cannot tell
    why: str = ""  # why it is not judged


class Profile(NamedTuple):
    """log10 of an adjoint's norm by lag, the mean over examples; -inf is a norm of zero."""

    lag: Int[np.ndarray, " K"]  # steps back from the loss, rising from 0
    log10: Float[np.ndarray, " K"]

    @property
    def relative(self) -> Float[np.ndarray, " K"]:
        """log10 of the norm over that at lag 0."""
        return self.log10 - self.log10[0]


class NotFinite(NamedTuple):
    """Where an adjoint overflowed, or became no number."""

    lag: int  # the first at which an example's did
    examples: int  # of which it did at some lag
    of: int  # examples that were measured


class Guesses(NamedTuple):
    """Networks of a trial's shape with guessed weights (Schmidhuber & Hochreiter 1996)."""

    guesses: int
    solved: int
    best: float  # held-out accuracy


class Map(NamedTuple):
    """log10 of the norm of dL/dh by update and lag, as training found it."""

    step: Int[np.ndarray, " N"]
    lag: Int[np.ndarray, " K"]
    log10: Float[np.ndarray, "N K"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Trial:
    """One arm with one seed, as it ended."""

    arm: str
    seed: int
    status: Literal["learned", "not learned", "diverged"]
    steps: int  # updates made
    learned_at: int  # updates until the stop rule was first met; -1: never
    sequences: int  # training sequences seen
    budget: int  # training sequences that it could have had
    reason: str | None  # what diverged
    held_out: Mapping[str, float]  # loss and accuracy at the end; empty where nothing was evaluated
    curve: Mapping[str, np.ndarray]  # "step" [N], and by update: "eval/loss", "train/loss", "grad/norm", ...
    horizons: Mapping[str, Mapping[str, MemoryHorizon]]  # by when, and component: "h", "c", "c cell path"
    profiles: Mapping[str, Mapping[str, Profile]]  # likewise
    probes: Sequence[Mapping[str, Any]]  # an experiment's own, with their "step": the first before training
    guesses: Guesses | None
    map: Map | None
    not_finite: Mapping[str, Mapping[str, NotFinite]] = dataclasses.field(default_factory=dict)  # by when, component

    def __repr__(self) -> str:
        return f"<Trial {self.arm}, seed {self.seed}: {self.status} after {self.steps} updates>"

    @property
    def learned(self) -> bool:
        return self.status == "learned"

    @property
    def diverged(self) -> bool:
        return self.status == "diverged"

    @property
    def trained(self) -> bool:
        """Whether it had a budget and used it: a trial that diverged at its first update made none, and did."""
        return bool(self.budget and (self.steps or self.diverged))

    @property
    def sequences_to_learn(self) -> float:
        """Training sequences until the stop rule was met; nan where it was not."""
        return self.learned_at * self.sequences / self.steps if self.learned else math.nan

    @property
    def final_loss(self) -> float | None:
        """Held out, at the end: infinite of a trial that diverged, None of one that was not evaluated."""
        return math.inf if self.diverged else self.held_out.get("loss")

    def measured(self, when: When) -> bool:
        """Whether gradients were measured then; what diverged, or made no update, has no state after training."""
        if when not in get_args(When):
            raise SettingError(f"when={when}: no such choice{nearest(when, get_args(When))}")
        return when in self.horizons and (when == "init" or bool(self.steps and not self.diverged))

    def horizon(self, when: When, name: str = "h") -> MemoryHorizon | None:
        """Decay rate, half-life and horizon of a component's adjoint; None where it was not measured."""
        return self.horizons[when].get(name) if self.measured(when) else None

    def profile(self, when: When, name: str = "h") -> Profile | None:
        """A component's adjoint by lag; None where it was not measured, or is not kept in this file."""
        return self.profiles.get(when, {}).get(name) if self.measured(when) else None

    def probe(self, name: str, when: When = "init") -> Any:
        """What the experiment's probe of this name found first or last; None where it was not run."""
        if not self.probes or not self.measured(when):
            return None
        return self.probes[0 if when == "init" else -1].get(name)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Arm:
    """One setting compared in an experiment, with its trials."""

    name: str  # TASK/LABEL
    task: str  # arms of one task are shown in one panel
    label: str  # what tells it from the others of its task
    settings: Mapping[str, str]  # every dotted path
    chance: float  # the loss of a predictor without memory
    needed_lag: int | None  # steps that every answer asks to be bridged
    rule: str | None  # the stop rule in words; None: its task has none
    fit: HorizonIntervals | None  # of dL/dh's mean profile over trials at initialisation; None without one
    trials: Sequence[Trial]
    card: DataCard | None = None  # of its task's data
    baselines: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # what its task's `baselines` found

    def __repr__(self) -> str:
        return f"<Arm {self.name}: {len(self.trials)} trials, {self.learned} learned>"

    def value(self, path: str) -> Any:
        """A setting as a number, None, or text. Raises SettingError for a path that the arm does not have."""
        if path not in self.settings:
            raise SettingError(f"{path}: {self.name} has no such setting{nearest(path, self.settings)}")
        return typed(self.settings[path])

    @property
    def length(self) -> int:
        """T, in steps."""
        return int(self.value("task.length"))

    @property
    def cell_path(self) -> str | None:
        """The name of its cell path, as in `c cell path`: of several components' the one that changes a gradient least.

        A cell without c may have one of h (a GRU's update gates). None where nothing flows along any, as in a vanilla
        RNN, whose h is all new at every step.
        """
        rates: dict[str, list[float]] = {}
        for trial in self.trials:
            for name, found in trial.horizons.get("init", {}).items():
                if name.endswith(" cell path") and found.decay_rate != -math.inf:
                    rates.setdefault(name, []).append(found.decay_rate)
        sizes = {name: np.nan_to_num(np.mean(np.abs(of)), nan=np.inf) for name, of in rates.items()}
        return min(sizes, key=sizes.__getitem__, default=None)

    @property
    def trained(self) -> bool:
        return any(trial.trained for trial in self.trials)

    @property
    def learned(self) -> int:
        """How many trials met the stop rule."""
        return sum(trial.learned for trial in self.trials)

    @property
    def success(self) -> Interval:
        """The share of trials that learned, with Wilson's interval."""
        return estimates.proportion(self.learned, len(self.trials))

    def each(self, quantity: Callable[[Trial], float | int | None]) -> list[float]:
        """A quantity of every trial that has it."""
        return [float(found) for trial in self.trials if (found := quantity(trial)) is not None]

    def decay_rate(self, when: When = "init", name: str = "h") -> Interval:
        """Nats a step: the mean over trials."""
        return estimates.mean(self.each(lambda trial: _part(trial.horizon(when, name), "decay_rate")))

    def half_life(self, when: When = "init", name: str = "h") -> Interval:
        """Steps: the median over trials."""
        return estimates.median(self.each(lambda trial: _part(trial.horizon(when, name), "half_life")))

    def horizon(self, when: When = "init", name: str = "h") -> Interval:
        """Lags: the median over trials."""
        return estimates.median(self.each(lambda trial: _part(trial.horizon(when, name), "horizon")))

    def not_finite(self, when: When = "init", name: str = "h") -> int:
        """How many trials have an adjoint that overflowed, or is no number, at some lag."""
        found = (trial.horizon(when, name) for trial in self.trials)
        return sum(reached is not None and math.isnan(reached.horizon) for reached in found)

    def not_finite_from(self, when: When = "init", name: str = "h") -> NotFinite | None:
        """The first such lag of all trials, and in how many of their examples; None where it was not written down."""
        known = [found for trial in self.trials if (found := trial.not_finite.get(when, {}).get(name))]
        if not known:
            return None
        lags, examples, of = zip(*known, strict=True)
        return NotFinite(min(lags), sum(examples), sum(of))

    def at_end(self, name: str = "h", when: When = "init") -> float:
        """log10 of a component's adjoint at the largest lag over that at lag 0: the mean over trials that have it."""
        profiles = (trial.profile(when, name) for trial in self.trials)
        ends = [profile.relative[-1] for profile in profiles if profile is not None]
        return float(np.mean(ends)) if ends else math.nan

    def held_out(self, name: str) -> Interval:
        """The median held-out loss or accuracy at the end, of trials that did not diverge."""
        return estimates.median(self.each(lambda trial: None if trial.diverged else trial.held_out.get(name)))

    def curves(self, name: str, end: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """A curve of every trial that did not diverge: updates [N], `end` among them, and values there [trials, N].

        A trial that learned keeps its last value. Updates at which another trial has none are left out.
        """
        kept = [trial for trial in self.trials if not trial.diverged and len(trial.curve.get(name, ()))]
        if not kept:
            return np.zeros(0), np.zeros((0, 0))
        steps = np.unique(np.concatenate([trial.curve["step"] for trial in kept] + [[end]] * (end is not None)))
        beyond = {True: None, False: math.nan}  # np.interp's word for the last value
        values = [np.interp(steps, t.curve["step"], t.curve[name], right=beyond[t.learned]) for t in kept]
        known = np.isfinite(values).all(axis=0)
        return steps[known], np.array(values)[:, known]

    def times(self) -> Times:
        """Training sequences until each trial learned its task.

        A trial that did not is censored where it stopped; one that diverged at its budget, for it would not have
        learned with more sequences either. Trials that were not trained are left out. Learning is seen at an
        evaluation, so times are multiples of what lies between two.
        """
        ran = [trial for trial in self.trials if trial.trained]
        solved = [trial.sequences_to_learn for trial in ran if trial.learned]
        return Times(solved, [t.budget if t.diverged else t.sequences for t in ran if not t.learned])


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Results:
    """A run: `results.json`."""

    experiment: str
    question: str
    tier: str
    command: str
    fraction: float  # of lag 0, above which a lag lies within the horizon
    environment: Mapping[str, Any]
    seconds: float | int
    arms: Mapping[str, Arm]  # in the order in which the experiment declares them
    claims: Sequence[Claim] = ()
    verdict: str = ""
    swept: bool = False  # its arms are those of a typed sweep, not the experiment's own
    changed_since: Sequence[str] = ()  # files of code that changed between the trials and their report
    labels: Sequence[str] = ()  # of all arms of the run, in declared order, also where these are some of them

    def __repr__(self) -> str:
        return f"<Results of {self.experiment}, {self.tier} tier: {len(self.arms)} arms>"

    @property
    def trials(self) -> list[Trial]:
        return [trial for arm in self.arms.values() for trial in arm.trials]

    @cached_property
    def tasks(self) -> dict[str, dict[str, Arm]]:
        """Arms by task and label."""
        found: dict[str, dict[str, Arm]] = {}
        for arm in self.arms.values():
            found.setdefault(arm.task, {})[arm.label] = arm
        return found

    @property
    def longest(self) -> dict[str, Arm]:
        """The arms of the task with the longest sequences, by label."""
        return max(self.tasks.values(), key=lambda arms: next(iter(arms.values())).length)

    @property
    def settings(self) -> dict[str, Mapping[str, str]]:
        """Every arm's settings."""
        return {name: arm.settings for name, arm in self.arms.items()}

    @property
    def judged(self) -> bool:
        """Whether claims are judged: the smoke tier is too short to tell anything."""
        return self.tier != "smoke"

    def only(self, arms: str | Iterable[str]) -> Results:
        """The results of some arms: those named, or those whose name matches a shell pattern. Raises SettingError."""
        if isinstance(arms, str):
            chosen = [name for name in self.arms if fnmatch.fnmatchcase(name, arms)]
            if not chosen:
                raise SettingError(f"arms={arms}: matches no arm{nearest(arms, self.arms)}")
        else:
            chosen = list(arms)
            for name in chosen:
                if name not in self.arms:
                    raise SettingError(f"{name}: no such arm{nearest(name, self.arms)}")
        return dataclasses.replace(self, arms={name: arm for name, arm in self.arms.items() if name in chosen})


def typed(text: str) -> Any:
    """A setting's text as an integer, a number, None, or itself."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None if text == "None" else text


def _part(reached: MemoryHorizon | None, name: str) -> float | int | None:
    """A quantity of a trial's adjoint; None without one, as where it is not finite."""
    found = None if reached is None else getattr(reached, name)
    return None if found is None or math.isnan(found) else found
