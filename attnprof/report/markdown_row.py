"""One row of a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence


def format_row(cells: Sequence[str]) -> str:
    """`| a | b |`, with `|` escaped inside cells."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
