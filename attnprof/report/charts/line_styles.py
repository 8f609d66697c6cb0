"""How the curves of one chart are told apart: kernels by hue, patterns by lightness, runs by dash.

A kernel has the same hue and marker in every picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attnprof.report.kernel_styles import styles_of

_LIGHTEST = 0.6
"""The part of white in the lightest pattern of a kernel."""

_RUN_DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1, 1.2), (5, 1.5, 1, 1.5))


@dataclass(frozen=True, slots=True)
class LineStyle:
    """How one curve is drawn.

    Attributes:
        colour: `#RRGGBB`.
        marker: a marker of Matplotlib.
        dash: lengths in points of dash and gap; empty for a solid line.
    """

    colour: str
    marker: str
    dash: tuple[float, ...] = ()


def line_styles(curves: Sequence[tuple[str, str, int]], *, num_runs: int) -> list[LineStyle]:
    """The style of each curve.

    Args:
        curves: kernel, label without the run, and index of the run of each.
        num_runs: with several, dashes tell runs apart and not kernels.
    """
    kernel_styles = styles_of(kernel for kernel, _, _ in curves)
    variants: dict[str, dict[str, None]] = {}
    for kernel, label, _ in curves:
        variants.setdefault(kernel, {})[label] = None
    styles: list[LineStyle] = []
    for kernel, label, run in curves:
        style, names = kernel_styles[kernel], list(variants[kernel])
        whiteness = _LIGHTEST * names.index(label) / max(1, len(names) - 1)
        dash = _RUN_DASHES[run % len(_RUN_DASHES)] if num_runs > 1 else style.dash
        styles.append(LineStyle(lightened(style.colour, whiteness), style.marker, dash))
    return styles


def lightened(colour: str, whiteness: float) -> str:
    """A colour mixed with a part of white between 0 and 1."""
    channels = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{round(c + (255 - c) * whiteness):02X}" for c in channels)
