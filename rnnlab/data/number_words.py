"""Numbers in the words of two languages, by num2words: as many exact pairs as one likes."""

from __future__ import annotations

import functools
import random

from rnnlab.data.card import digest
from rnnlab.data.series import needs_extra
from rnnlab.specs.errors import UserError, nearest


def languages() -> tuple[str, ...]:
    """Those that num2words has."""
    try:
        from num2words import CONVERTER_CLASSES
    except ImportError as error:
        raise needs_extra(error) from error
    return tuple(sorted(CONVERTER_CLASSES))


def drawn_numbers(below: int, count: int) -> list[int]:
    """Different numbers from 0, always the same: as many of each number of digits as there are, so small ones often."""
    rng, found, digits = random.Random(0), {}, len(str(below - 1))
    rounds = 0
    while len(found) < min(count, below) and rounds < 20 * count:
        low = rng.randrange(digits)
        number = rng.randrange(10**low if low else 0, min(10 ** (low + 1), below))
        found[number] = None
        rounds += 1
    return list(found)


@functools.lru_cache(maxsize=8)
def number_words(source: str, target: str, below: int, count: int) -> tuple[tuple[tuple[str, str], ...], str]:
    """Pairs of words of the same number, and their digest.

    Raises:
      UserError: num2words has no such language, or not the words of so large a number.
    """
    known = languages()
    for path, name in (("source", source), ("target", target)):
        if name not in known:
            near = nearest(name, known)
            near = near if "nearest" in near else f"; there is {', '.join(known)}"
            raise UserError(f"{path}={name}: num2words has no such language{near}")
    from num2words import num2words

    def words(number: int, path: str, language: str) -> str:
        try:
            found = num2words(number, lang=language)
        except (NotImplementedError, OverflowError, IndexError, KeyError, ValueError, TypeError) as error:
            told = f"num2words has no words of {number:,} in it ({type(error).__name__})"
            raise UserError(f"{path}={language}: {told}; a lower numbers={number} may do") from error
        return " ".join(found.split())

    pairs = []
    for number in drawn_numbers(below, count):
        one, two = words(number, "source", source), words(number, "target", target)
        if not (one and two):
            empty = ("source", source) if not one else ("target", target)
            raise UserError(f"{empty[0]}={empty[1]}: num2words writes nothing for {number:,}")
        pairs.append((one, two))
    return tuple(pairs), digest("\n".join(f"{one}\t{two}" for one, two in pairs).encode())
