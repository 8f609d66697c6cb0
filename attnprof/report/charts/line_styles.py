"""How the curves of one chart are told apart: kernels by hue, patterns by lightness, runs by dash.

A kernel has the same hue and marker in every picture.
"""

from __future__ import annotations

from collections.abc import Sequence

from attnprof.report.kernel_styles import KernelStyle, styles_of

_LIGHTEST = 0.6
"""The part of white in the lightest pattern of a kernel."""

_RUN_DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1, 1.2), (5, 1.5, 1, 1.5))


def line_styles(curves: Sequence[tuple[str, str, int]], *, num_runs: int) -> list[KernelStyle]:
    """The style of each curve.

    Args:
        curves: kernel, label without the run, and index of the run of each.
        num_runs: with several, dashes tell runs apart and not kernels.
    """
    kernel_styles = styles_of(kernel for kernel, _, _ in curves)
    variants: dict[str, dict[str, None]] = {}
    for kernel, label, _ in curves:
        variants.setdefault(kernel, {})[label] = None
    styles: list[KernelStyle] = []
    for kernel, label, run in curves:
        style, names = kernel_styles[kernel], list(variants[kernel])
        whiteness = _LIGHTEST * names.index(label) / max(1, len(names) - 1)
        dash = _RUN_DASHES[run % len(_RUN_DASHES)] if num_runs > 1 else style.dash
        styles.append(KernelStyle(lightened(style.colour, whiteness), style.marker, dash))
    return styles


def lightened(colour: str, whiteness: float) -> str:
    """A colour mixed with a part of white between 0 and 1."""
    channels = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{round(c + (255 - c) * whiteness):02X}" for c in channels)
