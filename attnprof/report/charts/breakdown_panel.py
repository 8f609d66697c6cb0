"""One panel of the breakdown chart: the parts of a kernel's MACs, stacked, against length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator

from attnprof.core.mac_parts import MacParts
from attnprof.core.units import format_count, format_macs, format_share, format_tokens
from attnprof.report.charts.axis import label_lengths
from attnprof.report.charts.breakdown import PART_NAMES, Breakdown
from attnprof.report.charts.names import shown_name
from attnprof.report.charts.tags import Tag, Tags

PART_COLOURS = {
    "projections": "#41719F",
    "output_projection": "#86AFD6",
    "feed_forward": "#DCE9F4",
    "global_tokens": "#7DBE82",
    "context": "#F7D58B",
    "scores": "#9C1C16",
}
"""Neighbours in a stack differ in lightness, too."""

_SHARES = (0, 50, 100)
_THICKNESS = 0.62
_EDGES = (0.9, 1.0, 1 / 0.9)
"""Where a panel of a single length begins, has its tick, and ends, as factors of that length."""

_LEAST_SHARE = 0.08
"""Smaller parts of a bar have no number."""

_DARK = ("projections", "scores")
"""Parts on which text is light."""

_TAKEOVER_SHARE = 88
"""Height of the length at which n² takes over, in percent."""

_ON_DARK, _ON_LIGHT = "#FDFDFD", "#101010"
"""Colours on parts, which stay as they are on a dark page, as the parts do."""


def draw_breakdown(axes: Axes, breakdown: Breakdown, tags: Tags) -> None:
    """Draw a panel into axes that have their final position: shares, and where n² takes over."""
    lengths = list(breakdown.parts)
    every = list(breakdown.parts.values())
    if len(lengths) == 1:  # as wide as the panel
        lengths, every = [lengths[0] * edge for edge in _EDGES], every * len(_EDGES)
    base = [0.0] * len(lengths)
    axes.set_xscale("log", base=2)
    axes.set_xlim(lengths[0], lengths[-1])
    axes.set_ylim(0, 100)
    for part in _shown(breakdown.parts.values()):
        shares = [_share(parts, part) for parts in every]
        top = [low + share for low, share in zip(base, shares, strict=True)]
        axes.fill_between(lengths, base, top, color=PART_COLOURS[part], linewidth=0)
        axes.plot(lengths, top, color="white", linewidth=0.8)
        at = dict(zip(lengths, top, strict=True))
        axes.plot(
            breakdown.lengths,
            [at[length] for length in breakdown.lengths],
            linestyle="none",
            marker="o",
            markersize=3.4,
            markerfacecolor=_ON_LIGHT,
            markeredgecolor=_ON_DARK,
            markeredgewidth=0.5,
            clip_on=False,
            gid=tags.add(_tags(breakdown, part)),
        )
        base = top
    label_lengths(axes, breakdown.lengths)
    axes.yaxis.set_major_locator(FixedLocator(_SHARES))
    axes.yaxis.set_major_formatter(FixedFormatter([f"{share} %" for share in _SHARES]))
    if breakdown.takeover and lengths[0] < breakdown.takeover < lengths[-1]:
        _mark_takeover(axes, breakdown.takeover, middle=(lengths[0] * lengths[-1]) ** 0.5)


def _mark_takeover(axes: Axes, takeover: int, middle: float) -> None:
    """A line where n² takes over, with the length towards the middle of the panel.

    Scores are about half of the n² term, so that a quarter of the panel is theirs there: room for a
    light text on a dark part, whatever the parts below are.
    """
    axes.axvline(takeover, color=_ON_LIGHT, linewidth=1.2, linestyle=(0, (3, 2)))
    is_right = takeover > middle
    axes.annotate(
        format_count(takeover),
        (takeover, _TAKEOVER_SHARE),
        xytext=(-4 if is_right else 4, 0),
        textcoords="offset points",
        ha="right" if is_right else "left",
        va="center",
        fontweight="bold",
        color=_ON_DARK,
    )


def draw_breakdown_bars(axes: Axes, breakdowns: Sequence[Breakdown], tags: Tags) -> None:
    """Draw the parts at a single length: a bar for each kernel."""
    shown = _shown(parts for breakdown in breakdowns for parts in breakdown.parts.values())
    axes.set_xlim(0, 100)
    axes.set_ylim(len(breakdowns) - 0.5, -0.5)
    for row, breakdown in enumerate(breakdowns):
        _draw_row(axes, breakdown, row, shown, tags)
    axes.xaxis.set_major_locator(FixedLocator(_SHARES))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{share} %" for share in _SHARES]))
    axes.yaxis.set_major_locator(FixedLocator(range(len(breakdowns))))
    axes.yaxis.set_major_formatter(FixedFormatter([shown_name(one.label) for one in breakdowns]))
    axes.tick_params(axis="y", length=0)


def _draw_row(axes: Axes, breakdown: Breakdown, row: int, shown: Sequence[str], tags: Tags) -> None:
    """The parts of one kernel beside one another, with their shares, and the MACs of all."""
    (parts,) = breakdown.parts.values()
    left = 0.0
    for part in shown:
        share = _share(parts, part)
        axes.barh(
            row,
            share,
            _THICKNESS,
            left,
            color=PART_COLOURS[part],
            edgecolor="white",
            linewidth=0.8,
            gid=tags.add(_tags(breakdown, part)),
        )
        if share >= 100 * _LEAST_SHARE:
            colour = _ON_DARK if part in _DARK else _ON_LIGHT
            middle = left + share / 2
            axes.text(middle, row, f"{share:.0f} %", ha="center", va="center", color=colour)
        left += share
    axes.annotate(
        format_macs(parts.total),
        (100, row),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        annotation_clip=False,
    )


def shown_parts(breakdowns: Sequence[Breakdown]) -> list[str]:
    """The parts that any of the kernels has, from the bottom of the stack to its top."""
    return _shown([parts for one in breakdowns for parts in one.parts.values()])


def describe_growth(breakdown: Breakdown) -> str:
    """Where the n² term takes over, or how the MACs grow; empty where that is not known."""
    if breakdown.takeover:
        return f"n² leads from {format_tokens(breakdown.takeover)}"
    return f"grows as {breakdown.law}" if breakdown.law else ""


def _shown(parts: Iterable[MacParts]) -> list[str]:
    every = list(parts)
    return [name for name in PART_NAMES if any(one.by_name()[name] for one in every)]


def _share(parts: MacParts, part: str) -> float:
    return 100 * parts.by_name()[part] / parts.total


def _tags(breakdown: Breakdown, part: str) -> tuple[Tag, ...]:
    tags: list[Tag] = []
    for length in breakdown.lengths:
        parts = breakdown.parts[length]
        macs = parts.by_name()[part]
        text = (
            f"{breakdown.label} at {format_tokens(length)}, {PART_NAMES[part]}: "
            f"{format_macs(macs)}, {format_share(macs, parts.total)}"
        )
        tags.append(Tag(breakdown.label, length, part, macs, text))
    return tuple(tags)
