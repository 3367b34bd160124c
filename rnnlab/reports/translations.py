"""A run's translations as text, their scores, and the tables of all models.

Reads the probe `translations` of `experiments/translation.py` and the baselines of `rnnlab.tasks.Translation`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from rnnlab.data.pairs import END, PADDING
from rnnlab.data.tokens import counted, sentence
from rnnlab.reports.tables import Table, format_interval
from rnnlab.runs.results import Arm, Results, Trial, When
from rnnlab.stats import estimates
from rnnlab.stats.blocks import block_mean
from rnnlab.stats.estimates import Interval
from rnnlab.translation.scores import Scores, scores, signatures

SEARCHES = ("greedy", "beam")
GROUPS = 4  # of sentences by length, about as many in each
EXAMPLES = 6  # sentences that a page shows


class Translated(NamedTuple):
    """What was to be translated in one task, and every model's translations of it."""

    task: str
    found: Mapping[str, Any]  # what `rnnlab.translation.baselines` found
    arms: Mapping[str, Arm]

    @property
    def references(self) -> Sequence[str]:
        return self.found["references"]

    @property
    def lengths(self) -> Int[np.ndarray, " n"]:
        """Tokens of each source."""
        return np.array(self.found["lengths"])

    @property
    def units(self) -> str:
        """What lengths count: words and marks of punctuation, or characters."""
        return counted(self.found["units"])

    @property
    def quality(self) -> str:
        """The score by length: exact match where there is a stop rule of it, else the chrF of each sentence."""
        return "exact" if any(arm.rule for arm in self.arms.values()) else "each_chrf"

    @property
    def measured(self) -> str:
        """The same in words."""
        return "exact match" if self.quality == "exact" else "chrF of a sentence"

    def texts(self, trial: Trial, search: str = "greedy") -> list[str] | None:
        """A trial's translations after training; None where there are none."""
        probed = trial.probe("translations", "trained")
        return None if probed is None else [self.text(row) for row in probed[search]]

    def text(self, numbers: Sequence[float | int]) -> str:
        """A target up to its end."""
        words = []
        for number in map(int, numbers):
            if number in (END, PADDING):
                break
            words.append(self.found["target tokens"][number])
        return sentence(words, self.found["units"])

    def scores(self, model: str, search: str = "greedy") -> list[Scores]:
        """Of each trial of an arm, or of a model without a network."""
        if model in self.arms:
            texts = [found for trial in self.arms[model].trials if (found := self.texts(trial, search))]
        else:
            texts = [self.found["models"][model]]
        return [_scores(tuple(each), tuple(self.references)) for each in texts]

    def each(self, model: str, score: str, search: str = "greedy") -> Float[np.ndarray, " n"] | None:
        """A score of each sentence, 0 to 100, the mean over trials; None without a trial."""
        found = self.scores(model, search)
        scale = 100 if score == "exact" else 1
        return scale * np.mean([getattr(each, score) for each in found], axis=0) if found else None

    def mean(self, model: str, score: str = "exact", search: str = "greedy", which: Any = slice(None)) -> Interval:
        """The mean over sentences, with the bootstrap interval over them."""
        found = self.each(model, score, search)
        return Interval(*[math.nan] * 3, 0) if found is None else _percent(found[which])

    def difference(self, one: str, other: str, score: str = "exact", which: Any = slice(None)) -> Interval:
        """The first model's score less the other's, paired by sentence."""
        a, b = self.each(one, score), self.each(other, score)
        return Interval(*[math.nan] * 3, 0) if a is None or b is None else _points((a - b)[which])

    def groups(self) -> list[tuple[str, Int[np.ndarray, " m"]]]:
        """The sentences by the length of their source, about as many in each group: (`3 to 7`, which)."""
        edges = np.unique(np.quantile(self.lengths, np.linspace(0, 1, GROUPS + 1)).round().astype(int))
        found, low = [], edges[0]
        for high in edges[1:]:
            which = np.flatnonzero((self.lengths >= low) & (self.lengths <= high))
            if len(which):
                found.append((f"{low} to {high}" if low < high else f"{low}", which))
            low = high + 1
        return found or [(f"{edges[0]}", np.arange(len(self.lengths)))]


def _percent(values: Float[np.ndarray, " n"]) -> Interval:
    """The mean of percentages, its interval within 0 and 100: the bootstrap's, or Wilson's where all agree, since a
    bootstrap takes that for certainty.
    """
    if len(values) and (values == values[0]).all() and values[0] in (0, 100):
        found = estimates.proportion(int(len(values) * values[0] / 100), len(values))
        return Interval(*(100 * part for part in found[:3]), found.n)
    found = block_mean(values)
    return found._replace(low=max(found.low, 0.0), high=min(found.high, 100.0)) if len(values) > 1 else found


def _points(differences: Float[np.ndarray, " n"]) -> Interval:
    """Their mean; where all are 0, as far to both sides as Wilson's interval of none in n reaches."""
    if len(differences) and not differences.any():
        high = 100 * estimates.proportion(0, len(differences)).high
        return Interval(0.0, -high, high, len(differences))
    return block_mean(differences)


@functools.lru_cache(maxsize=256)
def _scores(texts: tuple[str, ...], references: tuple[str, ...]) -> Scores:
    return scores(texts, references)


def translated(results: Results) -> list[Translated]:
    """Of every task whose sentences are known, that is, once a run's trials have ended."""
    found = []
    for task, arms in results.tasks.items():
        baselines = next((arm.baselines for arm in arms.values() if arm.baselines.get("references")), None)
        if baselines is not None:
            found.append(Translated(task, baselines, arms))
    return found


def source_profiles(arm: Arm, when: When) -> Float[np.ndarray, "trials S"]:
    """log10 norms relative to the last token read, [trials, S], as far as sentences go."""
    found = [of["h"] for trial in arm.trials if (of := trial.probe("source", when))]
    if not found:
        return np.zeros((0, 0))
    log10 = np.array([of["log10"] for of in found], np.float64)
    there = np.isfinite(log10).all(axis=0)
    return log10[:, : int(np.argmin(there)) if not there.all() else len(there)]


def models_table(results: Results) -> Table | None:
    """A row a model: exact match, BLEU and chrF of greedy search and of a beam."""
    rows, told = [], []
    for each in translated(results):
        told.append(f"{each.task}: {len(each.references):,} sentences")
        for model in (*each.arms, *each.found["models"]):
            row = [f"{each.task}/{model}"]
            for search in SEARCHES if model in each.arms else SEARCHES[:1]:
                found = each.scores(model, search)
                row.append(format_interval(each.mean(model, search=search)) if found else "n/a")
                for score in ("bleu", "chrf"):
                    row.append(
                        format_interval(estimates.median([getattr(s, score) for s in found])) if found else "n/a"
                    )
            rows.append(row + [""] * (7 - len(row)))
    if not rows:
        return None
    caption = (
        "Translations of the test part. Exact: % of sentences that are their reference, the mean over trials and its "
        "interval over sentences (by bootstrap; Wilson's where all are right or all wrong). BLEU and chrF of the "
        "corpus, 0 to 100, medians over trials with their interval (of fewer than six trials their range). "
        f"{'; '.join(told)}. sacrebleu: {'; '.join(signatures())}. Text is in lower case."
    )
    heads = [f"{score}, {search}" for search in ("greedy", "beam of 4") for score in ("exact %", "BLEU", "chrF")]
    return Table(caption, ["model", *heads], rows)


def tables(results: Results) -> list[Table]:
    """Exact match, or chrF, by the length of the source, and differences paired by sentence."""
    found = []
    for each in translated(results):
        groups = each.groups()
        rows = [
            [f"{each.task}/{model}", *(_shown(each.mean(model, each.quality, which=which)) for _, which in groups)]
            for model in (*each.arms, *each.found["models"])
        ]
        what = f"{each.measured[0].upper()}{each.measured[1:]}, 0 to 100"
        by = f"by the {each.units} of the source"
        caption = f"{what}, {by}, greedy search: mean over trials, interval over sentences."
        heads = [f"{name} ({len(which)})" for name, which in groups]
        found.append(Table(caption, ["model", *heads], rows))
        rows = [
            [f"{each.task}/{label}", against, *(_shown(each.difference(label, against, score)) for score in
                                                ("exact", "each_chrf"))]
            for label in each.arms
            if (against := label.split(", ")[0]) != label and against in each.arms
        ]  # fmt: skip
        caption = "Differences paired by sentence, greedy search: mean over trials, interval over sentences, in points."
        found.append(Table(caption, ["arm", "against", "exact", "chrF of a sentence"], rows))
    return [table for table in found if table.rows]


def _shown(found: Interval) -> str:
    return format_interval(found) if found.n else "n/a"


def parts(results: Results) -> dict[str, str]:
    """Some sentences of the test part with every arm's translation: HTML by title."""
    found = {}
    for each in translated(results):
        order = np.argsort(each.lengths, kind="stable")
        chosen = np.unique(order[np.linspace(0, len(order) - 1, EXAMPLES).round().astype(int)])
        blocks = []
        for at in sorted(chosen, key=lambda at: each.lengths[at]):
            lines = [("source", each.found["sources"][at]), ("reference", each.references[at])]
            for label, arm in each.arms.items():
                texts = next((texts for trial in arm.trials if (texts := each.texts(trial))), None)
                if texts:
                    lines.append((label, texts[at]))
            lines += [(name, texts[at]) for name, texts in each.found["models"].items()]
            cells = [(escape(name), _marked(text, name, each.references[at])) for name, text in lines]
            rows = "".join(f'<tr><th scope="row">{name}</th><td class="text">{text}</td></tr>' for name, text in cells)
            blocks.append(f"<table>{rows}</table>")
        found[f"Translations: {each.task}"] = "".join(blocks)
    return found


def _marked(text: str, name: str, reference: str) -> str:
    """Bold where it is the reference."""
    shown = escape(text) or "(nothing)"
    return f"<b>{shown}</b>" if text == reference and name not in ("source", "reference") else shown
