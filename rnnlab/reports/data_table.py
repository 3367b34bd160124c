"""The data cards of a run's tasks as a table."""

from __future__ import annotations

from rnnlab.data.card import DataCard
from rnnlab.reports.tables import Table
from rnnlab.runs.results import Results

COLUMNS = ["data", "source", "licence", "rows", "parts", "SHA-256", "mended"]


def data_table(results: Results) -> Table:
    """A row a data set; none for tasks that draw their data."""
    cards = [arm.card for arm in results.arms.values() if arm.card]
    rows = [row for at, row in enumerate(map(_row, cards)) if cards[at] not in cards[:at]]
    caption = "Data: where it comes from, its parts, and what was mended in it. SHA-256: 16 of 64 digits."
    return Table(caption, COLUMNS, rows)


def _row(card: DataCard) -> list[str]:
    parts = "; ".join(f"{part}: {which}" for part, which in card.parts.items())
    return [card.name, card.source, card.licence, f"{card.rows:,}", parts, card.sha256, "; ".join(card.notes) or "none"]
