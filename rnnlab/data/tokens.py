"""Sentences as tokens, words or characters, and tokens as sentences."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

Units = Literal["words", "characters"]
UNKNOWN = "\N{REPLACEMENT CHARACTER}"  # shown for a token that the training part does not have
# Letters with the marks that combine with them: Devanagari's vowels, say, which \w leaves out.
MARKS = "".join(chr(code) for code in range(0x300, 0x20000) if unicodedata.category(chr(code))[0] == "M")
LETTERS = rf"\w[\w{MARKS}]*"
WORD = re.compile(rf"{LETTERS}(?:['\u2019]{LETTERS})*|[^\w\s][{MARKS}]*")
CLOSES, OPENS, JOINS = set(",.;:!?%)]}\u00bb\u2026\u201d"), set("([{\u00bf\u00a1\u00ab\u201c"), set("-\u2010\u2011/")


def tokens(sentence: str, units: Units) -> tuple[str, ...]:
    """Lower-case, in Unicode's composed form: words and each mark of punctuation by itself, or characters.

    A word is letters, digits and apostrophes within it; white space of any kind and number is one space.
    """
    plain = " ".join(unicodedata.normalize("NFC", sentence.lower()).split())
    return tuple(WORD.findall(plain)) if units == "words" else tuple(plain)


def sentence(found: Sequence[str], units: Units) -> str:
    """Tokens as one would write them: no space before a mark that closes, after one that opens, around a hyphen.

    A hyphen between spaces and a mark's own spaces are not kept by `tokens`; references are written by this rule too.
    """
    if units == "characters":
        return "".join(found)
    text, glue = "", True
    for token in found:
        text += token if glue or token in CLOSES or token in JOINS else f" {token}"
        glue = token in OPENS or token in JOINS
    return text


def counted(units: Units) -> str:
    """What a sentence's length counts, in words: marks of punctuation are no words."""
    return "tokens" if units == "words" else units
