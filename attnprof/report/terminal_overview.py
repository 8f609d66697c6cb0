"""An overview on a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from attnprof.report.overview.model import Overview, OverviewTable
from attnprof.report.overview.tables import GAP

HINTS = "more: --details   page: --html costs.html   picture: --png costs.png"
"""The last line, for people at a terminal."""

_INDENT = "  "


def render_overview(overview: Overview, width: int) -> Iterator[Text | Table]:
    """All parts of an overview, in order; tables are as wide as their content.

    Args:
        overview: to show.
        width: characters of a line; words longer than that are not broken.
    """
    yield from render_verdict(overview, width)
    for table in overview.tables:
        yield Text()
        yield render_overview_table(table)
    yield from render_remarks(overview, width)


def render_verdict(overview: Overview, width: int) -> Iterator[Text]:
    """What was compared and where, and the sentences of the verdict."""
    yield from wrapped(overview.heading, width, style="bold")
    yield from wrapped(overview.setting, width, style="dim")
    yield Text()
    for sentence in overview.verdict:
        yield from wrapped(sentence, width, indent=_INDENT)


def render_remarks(overview: Overview, width: int) -> Iterator[Text]:
    """What is undecided, the noise, and the notes; an empty line before them if there are any."""
    lines = [line for line in (overview.undecided, overview.noise, *overview.notes) if line]
    if lines:
        yield Text()
    for line in lines:
        yield from wrapped(line, width, style="dim")


def wrapped(text: str, width: int, *, style: str = "", indent: str = "") -> Iterator[Text]:
    """The lines of a text; words that are longer than a line are not broken."""
    lines = textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    yield from (Text(line, style=style) for line in lines)


def render_overview_table(table: OverviewTable) -> Table:
    """Numbers are right-aligned and never cut; the best of a column is green."""
    rendered = Table(box=None, padding=(0, 0, 0, GAP), pad_edge=False, header_style="bold")
    rendered.add_column(table.heading, no_wrap=True)
    for heading in table.columns:
        rendered.add_column(heading, justify="right", no_wrap=True)
    for index, row in enumerate(table.rows):
        best = table.best[index] if table.best else frozenset[int]()
        rendered.add_row(*_cells(row, best))
    return rendered


def _cells(row: Sequence[str], best: frozenset[int]) -> list[Text]:
    return [Text(cell, style="bold green" if i in best else "") for i, cell in enumerate(row)]
