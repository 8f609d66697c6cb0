"""The picture of the breakdown chart: a panel for each kernel; bars at one length."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from attnprof.report.charts.bars import bars_height, names_width_of
from attnprof.report.charts.breakdown import PART_NAMES, Breakdown
from attnprof.report.charts.breakdown_panel import (
    PART_COLOURS,
    describe_growth,
    draw_breakdown,
    draw_breakdown_bars,
    shown_parts,
)
from attnprof.report.charts.canvas import HEADING_POINTS, LINE_INCHES, MUTED
from attnprof.report.charts.frame import (
    ABOVE,
    BELOW,
    EDGE,
    WIDTH,
    Frame,
    Place,
    add_axes,
    framed,
    usual_height,
)
from attnprof.report.charts.growth_panel import axis_title
from attnprof.report.charts.legend import Entry, add_legend, legend_height
from attnprof.report.charts.names import shown_name
from attnprof.report.charts.tags import Tags

_COLUMNS = {1: 1, 2: 2, 3: 3, 4: 2, 5: 3, 6: 3}
_MOST_COLUMNS = 4
_NUMBERS, _RIGHT, _TOTALS = 0.6, 0.45, 1.0
_LETTER = 0.6 * HEADING_POINTS / 72
"""Width of a letter of a panel's title, in inches."""

_LEAST_HEIGHT = 1.2
"""Of the axes, in inches."""


def breakdown_figure(
    breakdowns: Sequence[Breakdown], heading: str, setting: str, notes: str, tags: Tags
) -> Figure:
    """The parts of the MACs of each kernel, and where the n² term takes over."""
    is_bars = has_one_length(breakdowns)
    rows = -(-len(breakdowns) // _columns(breakdowns)) if breakdowns else 1
    around = ABOVE + LINE_INCHES + BELOW
    if is_bars:
        height = around + bars_height(len(breakdowns))
    else:
        height = max(usual_height(), rows * (around + _LEAST_HEIGHT))
    entries = parts_legend(breakdowns)
    frame = framed(
        heading,
        setting,
        notes,
        legend_height=legend_height(entries, WIDTH),
        panels_height=height,
    )
    if not breakdowns:
        frame.figure.text(0.5, 0.5, "no kernel whose parts are known", ha="center", va="center")
    elif is_bars:
        _add_bars(frame, breakdowns, tags)
    else:
        _add_panels(frame, breakdowns, rows, tags)
    add_legend(frame.figure, entries, frame.legend)
    return frame.figure


def has_one_length(breakdowns: Sequence[Breakdown]) -> bool:
    """Whether there is nothing to draw against."""
    return all(len(one.lengths) == 1 for one in breakdowns)


def parts_legend(breakdowns: Sequence[Breakdown]) -> list[Entry]:
    """The colour and name of each part."""
    return [
        (Patch(color=PART_COLOURS[part], linewidth=0), PART_NAMES[part])
        for part in shown_parts(breakdowns)
    ]


def _columns(breakdowns: Sequence[Breakdown]) -> int:
    return _COLUMNS.get(len(breakdowns), _MOST_COLUMNS)


def _add_bars(frame: Frame, breakdowns: Sequence[Breakdown], tags: Tags) -> None:
    area, names = frame.area, EDGE + names_width_of([one.label for one in breakdowns])
    width, height = area.width - names - _TOTALS, area.height - ABOVE - BELOW
    axes = add_axes(frame.figure, Place(names, area.bottom + BELOW, width, height))
    axes.set_title("Share of executed MACs", loc="left", fontsize=HEADING_POINTS)
    draw_breakdown_bars(axes, breakdowns, tags)


def _add_panels(frame: Frame, breakdowns: Sequence[Breakdown], rows: int, tags: Tags) -> None:
    area, columns = frame.area, _columns(breakdowns)
    width, height = area.width / columns, area.height / rows
    above = ABOVE + LINE_INCHES
    for index, breakdown in enumerate(breakdowns):
        row, column = divmod(index, columns)
        place = Place(
            column * width + _NUMBERS,
            area.bottom + (rows - 1 - row) * height + BELOW,
            width - _NUMBERS - _RIGHT,
            height - above - BELOW,
        )
        axes = add_axes(frame.figure, place)
        title = shown_name(breakdown.label, int((width - _NUMBERS) / _LETTER))
        axes.set_title(title, loc="left", fontsize=HEADING_POINTS, pad=6 + 72 * LINE_INCHES)
        axes.annotate(
            describe_growth(breakdown),
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 5),
            textcoords="offset points",
            color=MUTED,
        )
        draw_breakdown(axes, breakdown, tags)
        is_lowest = index + columns >= len(breakdowns)
        title = axis_title("seq_len", is_decoding=breakdown.is_decoding)
        axes.set_xlabel(title if is_lowest else "", labelpad=2)
