"""The marker of a kernel as a small picture, in the shape and colour that charts give it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from markupsafe import Markup

from attnprof.report.kernel_styles import KernelStyle, styles_of

_BLACK = "#000000"

_SHAPES = {
    "o": '<circle cx="6" cy="6" r="4.5"/>',
    "s": '<path d="M2 2h8v8H2z"/>',
    "D": '<path d="M6 .8 11.2 6 6 11.2.8 6z"/>',
    "v": '<path d="M1 2.2h10L6 11z"/>',
    "^": '<path d="M1 9.8h10L6 1z"/>',
    "P": '<path d="M4 1h4v3h3v4H8v3H4V8H1V4h3z"/>',
    "X": '<path d="M3 1l3 3 3-3 2 2-3 3 3 3-2 2-3-3-3 3-2-2 3-3-3-3z"/>',
    "h": '<path d="M6 .8l4.5 2.6v5.2L6 11.2 1.5 8.6V3.4z"/>',
    "p": '<path d="M6 .8l5.2 3.8-2 6.1H2.8l-2-6.1z"/>',
    "*": '<path d="M6 .5l1.4 3.9h4.1L8.2 6.8l1.2 4L6 8.4l-3.4 2.4 1.2-4L.5 4.4h4.1z"/>',
}
"""Matplotlib's markers in a square of 12 by 12."""


def markers_of(kernels: Iterable[str]) -> Mapping[str, Markup]:
    """The marker of each kernel as an SVG element.

    Args:
        kernels: all kernels of the page, so that custom ones have the colours of the charts.
    """
    return {name: _marker(style) for name, style in styles_of(kernels).items()}


def _marker(style: KernelStyle) -> Markup:
    # Black would disappear in front of a dark page: it is the colour of the text there.
    fill = "currentColor" if style.colour == _BLACK else style.colour
    shape = _SHAPES[style.marker]
    return Markup(
        f'<svg class="marker" viewBox="0 0 12 12" fill="{fill}" aria-hidden="true">{shape}</svg>'
    )
