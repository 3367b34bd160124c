"""What each quantity of a report is, in a line each: for the page whole, for a terminal what its columns name."""

from __future__ import annotations

from collections.abc import Sequence

from rnnlab.reports.tables import Table

COLUMNS = ("dL/dh, dL/dc", "cell path", "decay", "half-life", "horizon", "chance")  # words that a terminal explains too


def definitions(fraction: float) -> dict[str, str]:
    """By word; `fraction` of lag 0 ends the horizon."""
    return {
        "lag k": "distance back from the step that carries the loss, in steps: k = T-1-t.",
        "dL/dh, dL/dc": "the adjoints: gradients of the loss with respect to the state h (the cell state c) at step t; "
        "their norm is taken for each example, then averaged over examples as a logarithm.",
        "cell path": "the part of dL/dc that flows from c to c alone (for an LSTM the product of its forget gates); of "
        "a cell without c that of dL/dh at given gates (for a GRU the product of its update gates).",
        "decay": "least-squares slope of the log-norm over lags, nats per step: negative vanishes, positive explodes.",
        "half-life": "steps in which that slope halves the norm, ln 2 / -decay of a trial; the median over trials.",
        "horizon": f"how far back the loss reaches: the largest lag whose norm is above {fraction:g} of lag 0's; >= "
        "where the sequence ends first. Of dL/dh, unless it says of what.",
        "learned": "trials that met the stop rule that the caption states; a rule on held-out data is looked at in "
        "every evaluation, all on the same sequences, and the held-out figures are those of the last one, which ended "
        "a trial that learned; the interval is Wilson's.",
        "chance": "the loss that the task's source gives for a predictor without memory of the input.",
        "solved by guessing weights": "networks of the arm's shape with all weights drawn from U[-100, 100] that meet "
        "the task's rule on 64 sequences, of all drawn (Schmidhuber & Hochreiter 1996).",
        "not finite": "the gradient overflowed, or became no number, at some lag: it has no rate and no horizon.",
        "diverged": "the loss ceased to be a finite number, or went above a bound; such a trial has not learned, and "
        "nothing is measured of its state after training.",
        "intervals": "95 % over trials: Student's t for decay, order statistics for medians (the range of up to 5).",
    }


def glossary(tables: Sequence[Table], fraction: float) -> list[str]:
    """For a terminal: a line for each word of COLUMNS that heads a column, below one that says where the others are."""
    heads = " ".join(column for table in tables for column in table.columns)
    found = {word: says for word, says in definitions(fraction).items() if word in COLUMNS}
    lines = [f"  {word}: {says}" for word, says in found.items() if any(part in heads for part in word.split(", "))]
    return ["Words (more in report.html):", *lines] if lines else []
