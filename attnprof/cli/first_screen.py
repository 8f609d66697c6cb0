"""What `attnprof` alone prints: what it does, one command to try, and the commands."""

from __future__ import annotations

import textwrap

import typer

from attnprof.cli.commands import SUMMARIES
from attnprof.report import streams

_WIDTH = 80

_PURPOSE = (
    "What attention costs, and how the cost grows with length: MACs, memory and time of dense BERT "
    "attention, the Longformer variants and your own modules."
)
_TRY = "attnprof estimate --len 512 4k 32k"


def first_screen() -> str:
    """The screen as text, bold for a terminal, at most 80 columns wide."""
    width = min(streams.columns(), _WIDTH)
    indent = max(map(len, SUMMARIES)) + 4
    commands = [
        textwrap.fill(
            summary,
            width,
            initial_indent=f"  {name}".ljust(indent),
            subsequent_indent=" " * indent,
        )
        for name, summary in SUMMARIES.items()
    ]
    lines = [
        textwrap.fill(_PURPOSE, width),
        "",
        f"Try:  {typer.style(_TRY, bold=True)}",
        "",
        *commands,
        "",
        "attnprof COMMAND --help has an example and the options of a command.",
    ]
    return "\n".join(lines)
