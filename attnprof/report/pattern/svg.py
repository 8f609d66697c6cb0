"""A drawing as SVG: text as text, colours that follow the page that it is in."""

from __future__ import annotations

from html import escape

from attnprof.report.pattern.drawing import INK, Boxes, Drawing, Words

_PAPER, _ON_PAPER = "#FFFFFF", "#1F2328"


def to_svg(drawing: Drawing, *, on_paper: bool) -> str:
    """One `<svg>` element.

    Args:
        drawing: the picture.
        on_paper: whether it has a white background and a size of its own, as a file does; otherwise
            it is transparent, as wide as what contains it, and has the colour of the text there.
    """
    size = f"{drawing.width:g} {drawing.height:g}"
    attributes = f'viewBox="0 0 {size}" role="img" font-family="system-ui, sans-serif"'
    if on_paper:
        width, height = size.split()
        attributes += f' width="{width}" height="{height}" color="{_ON_PAPER}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}>',
        f"<title>{escape(drawing.title)}</title>",
        f"<desc>{escape(drawing.description)}</desc>",
    ]
    if on_paper:
        lines.append(f'<rect width="100%" height="100%" fill="{_PAPER}"/>')
    for shape in drawing.shapes:
        lines.append(_words(shape) if isinstance(shape, Words) else _boxes(shape))
    return "\n".join([*lines, "</svg>", ""])


def _colour(colour: str) -> str:
    return "currentColor" if colour == INK else colour


def _words(words: Words) -> str:
    look = f'font-size="{words.size:g}" fill="currentColor"'
    look += ' font-weight="600"' if words.is_bold else ""
    look += ' fill-opacity="0.78"' if words.is_muted else ""
    return f'<text x="{words.x:g}" y="{words.y:g}" {look}>{escape(words.text)}</text>'


def _boxes(shape: Boxes) -> str:
    path = "".join(
        # Absolute, so that neighbours have the same rounded edge.
        f"M{_number(x)} {_number(y)}H{_number(x + w)}V{_number(y + h)}H{_number(x)}z"
        for x, y, w, h in shape.boxes
    )
    if shape.fill:
        look = f'fill="{_colour(shape.fill)}" fill-opacity="{shape.opacity:g}"'
        look += ' shape-rendering="crispEdges"'
    else:
        look = 'fill="none"'
    if shape.stroke:
        look += f' stroke="{_colour(shape.stroke)}" stroke-width="{shape.stroke_width:g}"'
    if shape.is_dashed:
        look += ' stroke-dasharray="4 2.5"'
    return f'<path d="{path}" {look}/>'


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
