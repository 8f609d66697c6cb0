"""An overview on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from attnprof.core.units import counted
from attnprof.report.overview.model import Overview, OverviewTable
from attnprof.report.overview.study import SettingOverview
from attnprof.report.overview.tables import GAP
from attnprof.report.text_table import wrapped

HINTS = "more: --details   page: --html costs.html   picture: --png costs.png"
"""The last line, for people at a terminal."""

_INDENT = "  "

_NO_BREAK = "\u00a0"


def render_overview(overview: Overview, width: int) -> Iterator[Text | Table]:
    """All parts of an overview, in order; tables are as wide as their content.

    Args:
        overview: to show.
        width: characters of a line; words longer than that are not broken.
    """
    yield from render_verdict(overview, width)
    for table in overview.tables:
        yield Text()
        yield render_overview_table(table, width)
        if table.note:
            yield from wrapped_lines(table.note, width, style="dim")
    yield from render_remarks(overview, width)


def render_study(
    settings: Sequence[SettingOverview], width: int, *, has_details: bool = False
) -> Iterator[Text | Table]:
    """The overview of each setting of a study below its name, and how much they leave out.

    Args:
        settings: of the study.
        width: as for `render_overview`.
        has_details: whether what they leave out is shown below.
    """
    for index, setting in enumerate(settings):
        if index:
            yield Text()
        yield from wrapped_lines(setting.name, width, style="bold underline")
        yield from render_overview(setting.overview, width)
    left_out = sum(setting.left_out for setting in settings)
    if left_out and not has_details:
        yield Text()
        line = f"{counted(left_out, 'more sentence')} on these settings: --details"
        yield from wrapped_lines(line, width, style="dim")


def render_verdict(overview: Overview, width: int) -> Iterator[Text]:
    """What was compared and where, and the sentences of the verdict."""
    yield from wrapped_lines(overview.heading, width, style="bold")
    yield from wrapped_lines(overview.setting, width, style="dim")
    if overview.verdict:
        yield Text()
    for sentence in overview.verdict:
        yield from wrapped_lines(sentence, width, indent=_INDENT)


def render_remarks(overview: Overview, width: int) -> Iterator[Text]:
    """What is undecided, the noise, and the notes; an empty line before them if there are any."""
    lines = [line for line in (overview.undecided, overview.noise, *overview.notes) if line]
    if lines:
        yield Text()
    for line in lines:
        yield from wrapped_lines(line, width, style="dim")


def wrapped_lines(text: str, width: int, *, style: str = "", indent: str = "") -> Iterator[Text]:
    """The lines of a text."""
    # A number and its unit stay on one line.
    glued = text.replace(" %", f"{_NO_BREAK}%")
    for line in wrapped(indent + glued, width):
        yield Text(line.replace(_NO_BREAK, " "), style=style)


def render_overview_table(table: OverviewTable, width: int) -> Table:
    """Numbers are right-aligned and never cut; the best of a column is green.

    Headings of several words take two lines where the table would be wider than `width` characters.
    """
    rendered = Table(box=None, padding=(0, 0, 0, GAP), pad_edge=False, header_style="bold")
    headings = [table.heading, *table.columns]
    if _width_of(table) > width:
        split = [heading.rpartition(" ") for heading in table.columns]
        headings = [f"\n{table.heading}", *(f"{start}\n{last}" for start, _, last in split)]
    for index, heading in enumerate(headings):
        rendered.add_column(heading, justify="right" if index else "left", no_wrap=True)
    for index, row in enumerate(table.rows):
        best = table.best[index] if table.best else frozenset[int]()
        rendered.add_row(*_cells(row, best))
    return rendered


def _width_of(table: OverviewTable) -> int:
    """Characters of the widest line, with headings in one line."""
    columns = zip((table.heading, *table.columns), *table.rows, strict=True)
    widths = [max(map(len, column)) for column in columns]
    return sum(widths) + GAP * (len(widths) - 1)


def _cells(row: Sequence[str], best: frozenset[int]) -> list[Text]:
    return [Text(cell, style="bold green" if i in best else "") for i, cell in enumerate(row)]
