"""Pairs of sentences as tokens: numbered, split by their source sentence, with their card."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Integer

from rnnlab.data.card import DataCard
from rnnlab.data.tokens import UNKNOWN, Units, sentence, tokens
from rnnlab.specs.errors import UserError

PADDING, BEGIN, END, OTHER = range(4)  # numbers that are no word: OTHER is any that training does not have
SIGNS = 4
PARTS = ("training", "validation", "test")
HELD = 20  # in so many: 1 to validation, 1 to test
FEWEST = 50  # pairs
MOST_UNKNOWN = 0.5  # of the target tokens held out, that training does not have
MOST_LONGER = 0.5  # of all pairs


class Sentences(NamedTuple):
    """n pairs as numbers, left-aligned, padding behind their ends."""

    source: Integer[np.ndarray, "n S"]
    target: Integer[np.ndarray, "n N"]  # with the sign to end


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs in three parts; nothing but the training part decides what is a token.

    Numbers: the signs, then the targets' tokens, then the sources': what a decoder answers is below `outputs`.
    """

    name: str
    units: Units
    source_tokens: tuple[str, ...]
    target_tokens: tuple[str, ...]
    parts: Mapping[str, Sentences]
    texts: Mapping[str, Sequence[tuple[str, str]]]  # of validation and test: source and target as `sentence` writes
    card: DataCard

    @property
    def outputs(self) -> int:
        """K, the numbers of targets."""
        return SIGNS + len(self.target_tokens)

    @property
    def size(self) -> int:
        """D, all numbers."""
        return self.outputs + len(self.source_tokens)

    def encode(self, text: str) -> tuple[list[int], list[str]]:
        """A source sentence as numbers, and its tokens that training does not have."""
        found = tokens(text, self.units)
        known = {token: self.outputs + number for number, token in enumerate(self.source_tokens)}
        return [known.get(token, OTHER) for token in found], [t for t in dict.fromkeys(found) if t not in known]

    def target_words(self, numbers: Iterable[Any]) -> list[str]:
        """The tokens of a target up to its end."""
        found = []
        for number in map(int, numbers):
            if number in (END, PADDING):
                break
            found.append(self.target_tokens[number - SIGNS] if number >= SIGNS else UNKNOWN)
        return found

    def source_words(self, numbers: Iterable[Any]) -> list[str]:
        """The tokens of a source up to its padding."""
        there = [int(number) for number in numbers if number != PADDING]
        return [self.source_tokens[n - self.outputs] if n >= self.outputs else UNKNOWN for n in there]

    def decode(self, numbers: Iterable[Any]) -> str:
        """A target as a sentence."""
        return sentence(self.target_words(numbers), self.units)


def made(
    about: Mapping[str, str],
    pairs: Sequence[tuple[str, str]],
    *,
    units: Units,
    steps: tuple[int, int],
    fewest: int,
    sha256: str,
    notes: Sequence[str],
) -> Pairs:
    """Pairs of sentences as numbers.

    Args:
      about: the card's name, source and licence.
      pairs: source and target; a source may occur more than once, and all its pairs are in one part.
      units: what a token is.
      steps: S and N, with the sign to end: longer pairs are left out, and counted on the card.
      fewest: times that a token must occur in the training part to have a number of its own.

    Raises:
      UserError: too few pairs are left.
    """
    name, notes, kept, longer = about["name"], list(notes), {part: [] for part in PARTS}, 0
    each = dict.fromkeys(tuple(tokens(text, units) for text in pair) for pair in pairs)
    sizes = np.array([(len(source), len(target) + 1) for source, target in each])
    longest = sizes.max(axis=0)
    for source, target in each:
        if len(source) > steps[0] or len(target) + 1 > steps[1]:
            longer += 1
        elif source and target:
            kept[_part(source)].append((source, target))
    if copies := len(pairs) - len(each):
        notes.append(f"{copies:,} pairs that stand in the file more than once are read once")
    if others := _one_a_source(kept):
        notes.append(f"{others:,} pairs held out with a source that has another target there are left out")
    notes.append(f"the longest source has {longest[0]} {units}, the longest target {longest[1]} with its sign to end")
    if longer:
        notes.append(f"{longer:,} of {len(each):,} pairs longer than {steps[0]} and {steps[1]} are left out")
    left = sum(map(len, kept.values()))
    if longer > MOST_LONGER * len(each):
        most = np.ceil(np.quantile(sizes, 0.95, axis=0)).astype(int)
        told = f"{longer:,} of {len(each):,} pairs are longer than {steps[0]} and {steps[1]} {units}"
        fit = f"task.length={most.sum()} task.source_length={most[0]} holds 95 % of each side"
        raise UserError(f"{about['source']}: {told}; {fit}")
    for part in PARTS:
        if left < FEWEST or not kept[part]:
            fit = f"task.length={longest.sum()} task.source_length={longest[0]} holds the {longer:,} longer ones too"
            fit = fit if longer else "it is too short"
            raise UserError(
                f"{about['source']}: {left:,} pairs are left, {len(kept[part]):,} of them for {part}; {fit}"
            )
    if all(target == kept["training"][0][1] for _, target in kept["training"]):
        shown = sentence(kept["training"][0][1], units)[:40]
        raise UserError(f"{about['source']}: all its targets are {shown!r}: there is nothing to learn")
    sides, shares = [], []
    for side, of in ((0, "source"), (1, "target")):
        counts = collections.Counter(token for pair in kept["training"] for token in pair[side])
        sides.append(tuple(sorted(token for token, times in counts.items() if times >= fewest)))
        held = [token for part in PARTS[1:] for pair in kept[part] for token in pair[side]]
        known = set(sides[-1])
        unknown = np.mean([token not in known for token in held])
        if side and unknown > MOST_UNKNOWN:
            told = f"{100 * unknown:.0f} % of its target {units} held out are not in training"
            fix = "task.units=characters" if fewest <= 2 else f"a lower number than fewest={fewest}"
            raise UserError(f"{about['source']}: {told} at least {fewest} times: {fix}, or more pairs")
        shares.append(f"{100 * unknown:.2g} % of {of} {units}")
    trained = {target for _, target in kept["training"]}
    seen = np.mean([target in trained for _, target in kept["test"]])
    notes.append(f"{100 * seen:.2g} % of the test part's targets are also those of other sources in training")
    notes.append(f"unknown in validation and test (less than {fewest} times in training): {', '.join(shares)}")
    outputs = SIGNS + len(sides[1])
    numbers = [{t: first + n for n, t in enumerate(side)} for first, side in zip((outputs, SIGNS), sides, strict=True)]
    arrays, texts = {}, {}
    for part, found in kept.items():
        sources = [[numbers[0].get(t, OTHER) for t in source] for source, _ in found]
        targets = [[*(numbers[1].get(token, OTHER) for token in target), END] for _, target in found]
        kind = np.min_scalar_type(outputs + len(sides[0]))
        arrays[part] = Sentences(_filled(sources, steps[0], kind), _filled(targets, steps[1], kind))
        if part != "training":
            texts[part] = [(sentence(source, units), sentence(target, units)) for source, target in found]
    counts = {part: f"{len(found):,} pairs" for part, found in kept.items()}
    notes.append(f"tokens: {units} in lower case; {len(sides[0]):,} of sources, {len(sides[1]):,} of targets")
    card = DataCard(**about, rows=left, parts=counts, sha256=sha256, notes=notes)
    return Pairs(name, units, *sides, arrays, texts, card)


def _one_a_source(kept: dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]]) -> int:
    """Leaves each source of validation and test its first target; how many others there were.

    And puts these parts in the order of a hash, so that some of the first are a sample: files are often sorted.
    """
    others = 0
    for part in PARTS[1:]:
        first: dict[tuple[str, ...], tuple[str, ...]] = {}
        for source, target in kept[part]:
            first.setdefault(source, target)
        others += len(kept[part]) - len(first)
        kept[part] = sorted(first.items(), key=lambda pair: _hash(pair[0]))
    return others


def _part(source: Sequence[str]) -> str:
    """By a hash of the source: what is added to a file moves no pair from one part to another.

    Punctuation is left out of it, since sources that differ in that alone have one translation.
    """
    words = [token for token in source if any(map(str.isalnum, token))]
    number = int.from_bytes(_hash(words or source)[:4])
    return {0: "validation", 1: "test"}.get(number % HELD, "training")


def _hash(words: Sequence[str]) -> bytes:
    return hashlib.sha256("\x1f".join(words).encode()).digest()


def _filled(rows: Sequence[Sequence[int]], width: int, kind: np.dtype) -> np.ndarray:
    found = np.full((len(rows), width), PADDING, kind)
    for at, row in enumerate(rows):
        found[at, : len(row)] = row
    return found
