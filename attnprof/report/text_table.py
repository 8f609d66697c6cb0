"""Tables of plain text that fit a width: no word is broken, and no number is cut."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.text import Text

UNBOUNDED = 10_000
"""The width of a table in a pipe, in characters: as wide as its content."""

_GAP, _LEAST_GAP = 2, 1
"""Spaces between columns; the least only between numbers in a table that does not fit."""

_MOST_NAME_WIDTH, _LEAST_NAME_WIDTH = 32, 8
"""Widths of the first column in a table that does not fit; longer names stand on lines of their
own."""


@dataclass(frozen=True, slots=True)
class TextRow:
    """A row of a table.

    Attributes:
        cells: one text for each column; a row of a single cell is a heading across the table.
        style: rich's name of a style, such as `bold`.
    """

    cells: tuple[str, ...]
    style: str = ""


def fit_table(
    headings: Sequence[str], rows: Sequence[TextRow], width: int, *, prose: Collection[int] = ()
) -> Text:
    """A table in at most `width` characters, if its longest words and numbers allow that.

    In turn, as far as needed: columns of prose wrap, numbers move closer, a long name stands alone
    above the cells of its row, and columns that do not fit beside the others follow in another
    table below.

    Args:
        headings: of the columns; empty texts for a table without headings.
        rows: of the table.
        width: in characters, `UNBOUNDED` in a pipe.
        prose: indices of the columns that hold words: left-aligned, and wrapped where needed. The
            first column holds names, the others numbers, which are right-aligned.
    """
    heading = [TextRow(tuple(headings), "dim")] if any(headings) else []
    full = [*heading, *(row for row in rows if len(row.cells) == len(headings))]
    columns = [[row.cells[i] for row in full] for i in range(len(headings))]
    layout = _layout(columns, width, prose)
    lines: list[Text] = []
    for block in layout.blocks():
        lines += [Text()] if lines else []
        for row in [*heading, *rows]:
            is_across = len(row.cells) < len(headings)
            texts = wrapped(row.cells[0], width) if is_across else layout.lines(row, block)
            lines += [Text(line, row.style) for line in texts]
    return Text("\n", no_wrap=True).join(lines)


def _layout(columns: Sequence[Sequence[str]], width: int, prose: Collection[int]) -> _Layout:
    """The width of each column and of the gaps; a table that is still too wide has to be split."""
    widths = [
        max((len(line) for cell in column for line in cell.split("\n")), default=0)
        for column in columns
    ]
    longest_words = {
        i: max((len(word) for cell in columns[i] for word in cell.split()), default=0)
        for i in prose
    }
    while _total(widths, _GAP) > width:
        candidates = [i for i in prose if widths[i] > longest_words[i]]
        if not candidates:
            break
        widths[max(candidates, key=lambda i: widths[i])] -= 1
    gap = _GAP if prose or _total(widths, _GAP) <= width else _LEAST_GAP
    if _total(widths, gap) > width:
        left = width - _total([0, *widths[1:]], gap)
        widths[0] = left if left >= _LEAST_NAME_WIDTH else min(widths[0], _MOST_NAME_WIDTH)
    return _Layout(widths, gap, width, prose)


def _total(widths: Sequence[int], gap: int) -> int:
    return widths[0] + sum(gap + width for width in widths[1:] if width)


@dataclass(frozen=True, slots=True)
class _Layout:
    """The widths of columns, of gaps and of the table, and which columns hold prose."""

    widths: Sequence[int]
    gap: int
    width: int
    prose: Collection[int]

    def blocks(self) -> list[list[int]]:
        """Indices of the columns of each table: the names, and as many others as fit.

        Columns without any text are left out.
        """
        blocks: list[list[int]] = [[0]]
        for index in (i for i in range(1, len(self.widths)) if self.widths[i]):
            block = [*blocks[-1], index]
            if len(block) > 2 and _total([self.widths[i] for i in block], self.gap) > self.width:
                blocks.append([0, index])
            else:
                blocks[-1] = block
        return blocks

    def lines(self, row: TextRow, block: Sequence[int]) -> Iterator[str]:
        """The lines of one row: several where prose wraps, or where the name is long."""
        cells = [
            wrapped(row.cells[i], self.widths[i]) if i in self.prose else row.cells[i].split("\n")
            for i in block
        ]
        if max(map(len, cells[0])) > self.widths[0]:
            yield from wrapped(row.cells[0], self.width)
            cells[0] = []
        for line in zip_longest(*cells, fillvalue=""):
            padded = (self._padded(i, cell) for i, cell in zip(block, line, strict=True))
            yield (" " * self.gap).join(padded).rstrip()

    def _padded(self, index: int, cell: str) -> str:
        width = self.widths[index]
        return cell.ljust(width) if index == 0 or index in self.prose else cell.rjust(width)


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """The text in lines of at most `width` characters, if its longest word allows that.

    Args:
        text: its leading spaces also indent the lines below the first.
        width: in characters.
        indent: a further one, of the lines below the first.
    """
    own_indent = text[: len(text) - len(text.lstrip())]
    lines = textwrap.wrap(
        text,
        width,
        subsequent_indent=own_indent + indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [""]
