"""What stands where in a text: within quotation marks, within brackets, how far into its line."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

OPENS = dict(zip(")]}", "([{", strict=True))
QUOTES = ('"', "\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}")
LONGEST = 100  # characters of a line, beyond which its position does not rise


def annotations(text: str) -> Mapping[str, Float[np.ndarray, " N"]]:
    """By name one number a character: `quotes` and `brackets` 1 within such marks and 0 outside, `line` its position.

    Marks count once they are read: the opening one lies within, the closing one outside. An empty line closes all, so
    that a mark that is never closed is no more than its paragraph's; ' is left out, as it is an apostrophe too.
    """
    return {"quotes": _quotes(text), "brackets": _brackets(text), "line": _line(text)}


def _quotes(text: str) -> np.ndarray:
    open_, found = "", []
    for at, character in enumerate(text):
        if _ends_paragraph(text, at):
            open_ = ""
        elif open_:
            open_ = "" if character == open_ else open_
        else:
            open_ = next((pair[-1] for pair in QUOTES if character == pair[0]), "")
        found.append(bool(open_))
    return np.array(found, np.float64)


def _brackets(text: str) -> np.ndarray:
    open_: list[str] = []
    found = []
    for at, character in enumerate(text):
        if _ends_paragraph(text, at):
            open_ = []
        elif character in OPENS.values():
            open_.append(character)
        elif character in OPENS and OPENS[character] in open_:
            while open_.pop() != OPENS[character]:  # what was opened since is never closed
                pass
        found.append(bool(open_))
    return np.array(found, np.float64)


def _ends_paragraph(text: str, at: int) -> bool:
    return text[at] == "\n" and text[max(at - 1, 0)] == "\n" and at > 0


def _line(text: str) -> np.ndarray:
    lengths = [len(line) for line in re.findall(r"[^\n]*\n|[^\n]+$", text)]
    at = np.concatenate([np.arange(1, n + 1) for n in lengths]) if lengths else np.zeros(0)
    ends = np.array([character == "\n" for character in text], bool)
    return np.where(ends, 0, np.minimum(at, LONGEST)).astype(np.float64)
