"""The horizontal axis: the lengths of the results, as many of them with a number as have room."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter

from attnprof.core.units import format_count
from attnprof.report.charts.canvas import text_size
from attnprof.report.charts.ticks import spaced

_MILLION = 1_000_000

_GAP = 0.08
"""Least distance between two numbers, in inches."""


def figure_of_axes(axes: Axes) -> Figure:
    """The figure that axes are in."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def label_lengths(axes: Axes, values: Sequence[int]) -> None:
    """Put a tick at each value, and a number at the first, the last and those that have room."""
    figure = figure_of_axes(axes)
    names = [_name(value) for value in values]
    y = axes.get_ylim()[0]
    positions = [float(axes.transData.transform((x, y))[0]) / figure.dpi for x in values]
    widths = [text_size(figure, name)[0] for name in names]
    shown = spaced(positions, widths, _GAP)
    axes.xaxis.set_major_locator(FixedLocator([values[index] for index in shown]))
    axes.xaxis.set_major_formatter(FixedFormatter([names[index] for index in shown]))
    axes.xaxis.set_minor_locator(FixedLocator(values))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _name(value: int) -> str:
    """All digits, but `10 M` for millions that are round."""
    is_round = value >= _MILLION and value % (_MILLION // 10) == 0
    return f"{value / _MILLION:g} M" if is_round else format_count(value)
