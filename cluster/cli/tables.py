"""Tables of text."""

from __future__ import annotations

from collections.abc import Sequence


def lines(rows: Sequence[Sequence[str]]) -> str:
    """Rows with aligned columns; the first names them."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    aligned = (
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(aligned)
