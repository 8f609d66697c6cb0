"""The legend: what hollow points, bands, rings, grey lines and colours of parts mean."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from attnprof.report.charts.canvas import FAINT, MUTED, TEXT_POINTS, new_figure, text_size
from attnprof.report.charts.curves import Growth, Panel
from attnprof.report.charts.growth_panel import (
    BAND_ALPHA,
    COUNTED_MARKER,
    ESTIMATE_DASH,
    ESTIMATE_WIDTH,
    has_guides,
)
from attnprof.report.charts.marks import CROSSING, MARKER

Entry = tuple[Artist, str]
"""How something looks, and what it means."""

_ABOVE, _ROW = 0.1, 0.2
"""Height above the entries and of each row of them, in inches."""

_HANDLE, _HANDLE_GAP, _COLUMN_GAP = 2.2, 0.7, 1.4
"""Widths in letters."""


def growth_legend(growth: Growth, panels: Sequence[Panel]) -> list[Entry]:
    """The entries of some panels of the growth chart, each where they show it."""
    is_bars = growth.is_bars
    curves = [curve for panel in panels for curve in panel.curves]
    points = [point for curve in curves for point in curve.points]
    interval = (
        Line2D([], [], color=MUTED, linewidth=1.4)
        if is_bars
        else Patch(color=MUTED, alpha=2 * BAND_ALPHA, linewidth=0)
    )
    predicted = (
        Patch(facecolor="white", edgecolor=MUTED, linestyle=(0, ESTIMATE_DASH))
        if is_bars
        else _hollow(MARKER, is_dotted=True)
    )
    references = dict.fromkeys(
        crossing.reference for panel in panels for crossing in panel.crossings
    )
    banded = [point for point in points if point.low and point.high]
    kinds = [
        ("99 % interval", any(not point.is_predicted for point in banded)),
        ("expected range", any(point.is_predicted for point in banded)),
    ]
    entries: list[tuple[bool, Artist, str]] = [
        (any(p.is_predicted for p in points), predicted, "predicted, not measured"),
        (
            any(curve.counted for curve in curves),
            _hollow(COUNTED_MARKER, is_dotted=not is_bars),
            "counted by ptflops",
        ),
        (bool(banded), interval, " or ".join(name for name, is_shown in kinds if is_shown)),
        (
            bool(references),
            _hollow(CROSSING, is_dotted=False),
            f"break-even with {' or '.join(references)}",
        ),
        (has_guides(growth), Line2D([], [], color=FAINT, linewidth=1.0), "n and n²"),
    ]
    return [(handle, name) for is_shown, handle, name in entries if is_shown and panels]


def _hollow(size: float, *, is_dotted: bool) -> Line2D:
    return Line2D(
        [],
        [],
        color=MUTED,
        marker="o",
        markersize=size,
        markerfacecolor="white",
        markeredgewidth=1.2,
        linestyle=(0, ESTIMATE_DASH) if is_dotted else "none",
        linewidth=ESTIMATE_WIDTH,
    )


def legend_height(entries: Sequence[Entry], width: float) -> float:
    """Room for the entries below a figure of some width, in inches."""
    return _ABOVE + -(-len(entries) // max(1, _columns(entries, width))) * _ROW


def add_legend(figure: Figure, entries: Sequence[Entry], y: float = 0) -> None:
    """Write the entries in as few rows as have room.

    Args:
        figure: gets the legend along its lower edge.
        entries: how each looks, and what it means.
        y: lower end, as a part of the height.
    """
    if entries:
        figure.legend(
            [handle for handle, _ in entries],
            [name for _, name in entries],
            loc="lower left",
            bbox_to_anchor=(0.0, y),
            borderaxespad=0.3,
            ncols=_columns(entries, figure.get_figwidth()),
            fontsize=TEXT_POINTS,
            handlelength=_HANDLE,
            handletextpad=_HANDLE_GAP,
            columnspacing=_COLUMN_GAP,
        )


def _columns(entries: Sequence[Entry], width: float) -> int:
    """The most columns of entries that fit into a width in inches."""
    figure = new_figure(width, 1)
    letter = TEXT_POINTS / 72
    around = (_HANDLE + _HANDLE_GAP + _COLUMN_GAP) * letter
    widths = [text_size(figure, name)[0] + around for _, name in entries]
    fitting = (
        count
        for count in range(len(entries), 1, -1)
        if sum(max(widths[row::count]) for row in range(count)) <= width
    )
    return next(fitting, 1)
