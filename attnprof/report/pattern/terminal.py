"""Pictures of patterns in characters, as wide as the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby, zip_longest

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from attnprof.core.units import format_count
from attnprof.report.kernel_styles import styles_of
from attnprof.report.pattern import words
from attnprof.report.pattern.cells import cells_of, tokens_of_cell
from attnprof.report.pattern.panels import Panel

_GAP = "  "
_NARROWEST, _WIDEST = 36, 64
"""Columns of a panel: as many panels stand side by side as have the former."""

_TABLE_WIDTH = 80
_WIDEST_NAME = 36
_MEANING = "pairs: of one head; reach: tokens that a token in the middle depends on"
_NARROWEST_BLOCKS = 24

_ALL, _HALF, _SOME, _MASKED, _NOTHING = "█▓▒░ "
_UPPER, _LOWER = "▀▄"

_BLACK = "#000000"


def render_terminal(panels: Sequence[Panel], width: int) -> RenderableType:
    """All panels, and a table of their numbers.

    Args:
        panels: what to show.
        width: of the terminal, in columns.
    """
    side_by_side = max(1, min(len(panels), (width + len(_GAP)) // (_NARROWEST + len(_GAP))))
    columns = min(_WIDEST, (width + len(_GAP)) // side_by_side - len(_GAP))
    tokens = tokens_of_cell(panels[0].seq_len, columns)
    headings = [
        textwrap.wrap(heading, columns, break_on_hyphens=False)
        for heading in words.headings(panels)
    ]
    height = max(map(len, headings))
    blocks = [
        _with_heading(heading, panel, tokens, height)
        for heading, panel in zip(headings, panels, strict=True)
    ]
    lines: list[Text] = [Text(words.title_of(panels), style="bold"), _key(panels, tokens)]
    for start in range(0, len(blocks), side_by_side):
        lines.append(Text())
        lines += _beside_each_other(blocks[start : start + side_by_side], columns)
    has_kernels = any(panel.kernel for panel in panels)
    if has_kernels:
        return Group(*lines, Text(), _kernel_table(panels))
    return Group(*lines, Text(), _pattern_table(panels), Text(_MEANING, style="dim"))


def _key(panels: Sequence[Panel], tokens: int) -> Text:
    """What rows, columns and characters are."""
    setting = words.setting_of(panels)
    lines = [setting] if setting else []
    lines.append("rows: queries, columns: keys")
    if tokens == 1 and not setting:
        lines[-1] += f"; {_UPPER} or {_LOWER}: one query attends to one key"
    else:
        keys = f"{format_count(tokens)} key{'s' if tokens > 1 else ''}"
        lines[-1] += f"; 1 character = {format_count(2 * tokens)} queries x {keys}"
        lines.append(f"{_ALL} attended, all pairs; {_HALF} at least half; {_SOME} fewer")
    if any(panel.computed for panel in panels):
        lines[-1] += f"; {_MASKED} computed, then masked"
    return Text("\n".join(lines), style="dim")


def _with_heading(lines: list[str], panel: Panel, tokens: int, height: int) -> list[Text]:
    """The lines of one panel, those of its heading first; below these, its picture begins."""
    heading = [Text(line, style="bold") for line in lines]
    return [*heading, *[Text()] * (height - len(lines)), *panel_lines(panel, tokens)]


def panel_lines(panel: Panel, tokens: int) -> list[Text]:
    """The picture of a panel: two rows of cells in a line where cells are single pairs.

    Args:
        panel: what to show.
        tokens: keys of a character.
    """
    if tokens == 1 and not panel.kernel:
        return [Text(line) for line in _half_blocks(panel)]
    cells = cells_of(panel, 2 * tokens, tokens)
    # What is computed but not attended has the colour of its kernel.
    style = styles_of([panel.kernel])[panel.kernel].colour if panel.kernel else ""
    style = "" if style == _BLACK else style
    lines: list[Text] = []
    for shares, times in zip(cells.attended.tolist(), cells.computed.tolist(), strict=True):
        characters = "".join(map(_shade, shares, times))
        line = Text()
        for character, run in groupby(characters):
            line.append("".join(run), style=style if character == _MASKED else "")
        lines.append(line)
    return lines


def _shade(attended: float, computed: float) -> str:
    if attended:
        return _ALL if attended == 1 else _HALF if attended >= 0.5 else _SOME
    return _MASKED if computed else _NOTHING


def _half_blocks(panel: Panel) -> Iterator[str]:
    attended = cells_of(panel, 1, 1).attended > 0
    if len(attended) % 2:
        attended = np.vstack([attended, np.zeros_like(attended[:1])])
    characters = {(True, True): _ALL, (True, False): _UPPER, (False, True): _LOWER}
    for upper, lower in zip(attended[::2].tolist(), attended[1::2].tolist(), strict=True):
        pairs = zip(upper, lower, strict=True)
        yield "".join(characters.get(pair, _NOTHING) for pair in pairs)


def _beside_each_other(blocks: Sequence[Sequence[Text]], columns: int) -> Iterator[Text]:
    """Lines of several panels, one panel beside the other."""
    for parts in zip_longest(*blocks, fillvalue=Text()):
        line = Text()
        for number, part in enumerate(parts):
            line.append_text(part)
            if number + 1 < len(parts):
                line.append(" " * (columns - len(part)) + _GAP)
        line.rstrip()
        yield line


def _pattern_table(panels: Sequence[Panel]) -> Table:
    """Pairs and receptive field of each pattern."""
    reach = f"{words.layers_text(panels[0])}"
    dense = dict.fromkeys(words.dense_text(panel) for panel in panels)
    share = f"of {dense.popitem()[0]}" if len(dense) == 1 else "of its dense"
    table = _table("pattern", "pairs", share, "reach: 1 layer", reach)
    for heading, panel in zip(words.headings(panels), panels, strict=True):
        name = heading.removesuffix(panel.part)
        lines = [*textwrap.wrap(name, _WIDEST_NAME, break_on_hyphens=False), panel.part]
        reached = words.reach_texts(panel)
        table.add_row(
            "\n".join(line for line in lines if line),
            words.useful_text(panel),
            words.share_text(panel),
            *reached,
        )
    return table


def _kernel_table(panels: Sequence[Panel]) -> Table:
    """Computed and useful pairs of each kernel, and its blocks."""
    rows = [
        (
            heading.replace(", ", ",\n", 1),
            words.computed_text(panel) if panel.computed else "",
            words.useful_text(panel) if panel.computed else "",
            words.ratio_text(panel) if panel.computed else "",
        )
        for heading, panel in zip(words.headings(panels), panels, strict=True)
    ]
    headings = ("pairs of one head", "computed", "useful", "ratio")
    table = _table(*headings)
    table.add_column("blocks: queries x keys", no_wrap=True)
    columns = zip(headings, *rows, strict=True)
    taken = sum(
        max(len(line) for text in column for line in text.split("\n")) for column in columns
    )
    width = max(_NARROWEST_BLOCKS, _TABLE_WIDTH - taken - len(_GAP) * len(headings))
    for row, panel in zip(rows, panels, strict=True):
        lines = (
            line
            for text in _block_texts(panel)
            for line in textwrap.wrap(text, width, subsequent_indent=_GAP)
        )
        table.add_row(*row, "\n".join(lines))
    return table


def _block_texts(panel: Panel) -> Iterator[str]:
    if panel.refusal:
        yield f"none: {panel.refusal}"
    groups = list(words.block_groups(panel))
    for group in groups:
        yield f"{group.products}: {group.shape}" if len(groups) > 1 else group.shape


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
