"""Turns a figure that Matplotlib saved as SVG into an element for a page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from attnprof.report.charts.canvas import FAINT, GRID, INK, MUTED
from attnprof.report.charts.tags import Tag, Tags

_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"

_PAGE_COLOURS = {
    "#000000": "currentColor",
    INK.lower(): "currentColor",
    MUTED.lower(): "currentColor",
    GRID.lower(): "currentColor; stroke-opacity: 0.12",
    FAINT.lower(): "currentColor; stroke-opacity: 0.35",
    "#ffffff": "var(--chart-background, #ffffff)",
}
"""What stands for a colour of the picture on the page."""

_COLOUR = re.compile(r"(?<=[:\s])(#[0-9a-f]{6})\b")
_REFERENCE = re.compile(r"url\(#([^)]*)\)")
_DROPPED = ("metadata", "title", "style")
_ROOT_STYLE = "stroke-linejoin: round; stroke-linecap: butt; fill: currentColor"
"""Instead of Matplotlib's `<style>`, which would apply to the page; Matplotlib leaves out a fill
that is black."""


def for_page(svg: str, name: str, title: str, tags: Tags) -> str:
    """An `<svg>` element without size, with the page's colours and tagged points.

    Args:
        svg: a document that Matplotlib saved.
        name: begins all identifiers, so that several panels can be on one page.
        title: what a screen reader says.
        tags: what the points stand for.
    """
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _LINK)
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in [child for child in parent if _local(child) in _DROPPED]:
            parent.remove(child)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    background = _by_id(root, "patch_1")
    for parent in root.iter():
        if background in list(parent):
            parent.remove(background)
            break
    _tag_points(root, tags)
    for element in root.iter():
        _adapt(element, f"{name}-")
    root.set("role", "img")
    root.set("style", _ROOT_STYLE)
    root.set("class", "chart")
    heading = ElementTree.Element(f"{{{_SVG}}}title")
    heading.text = title
    root.insert(0, heading)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _local(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _by_id(root: ElementTree.Element, name: str) -> ElementTree.Element:
    return next(element for element in root.iter() if element.get("id") == name)


def _tag_points(root: ElementTree.Element, tags: Tags) -> None:
    """Markers are `<use>` elements in the order of the points, bars are paths."""
    for name, group in tags.by_id.items():
        drawn = [e for e in _by_id(root, name).iter() if _local(e) == "use"]
        drawn = drawn or [e for e in _by_id(root, name).iter() if _local(e) == "path"]
        for element, tag in zip(drawn, group, strict=True):
            _tag(element, tag)


def _tag(element: ElementTree.Element, tag: Tag) -> None:
    element.set("class", "point")
    element.set("data-kernel", tag.kernel)
    element.set("data-quantity", tag.quantity)
    element.set("data-seq-len", str(tag.seq_len))
    element.set("data-value", str(tag.value))
    ElementTree.SubElement(element, f"{{{_SVG}}}title").text = tag.text


def _adapt(element: ElementTree.Element, prefix: str) -> None:
    """Prefix identifiers and the references to them, and take the page's colours."""
    for attribute, value in list(element.attrib.items()):
        if attribute == "id":
            element.set(attribute, prefix + value)
        elif attribute in ("href", f"{{{_LINK}}}href"):
            element.set(attribute, f"#{prefix}{value.removeprefix('#')}")
        elif attribute in ("style", "clip-path"):
            text = _REFERENCE.sub(rf"url(#{prefix}\1)", value)
            element.set(attribute, _COLOUR.sub(_page_colour, text))


def _page_colour(match: re.Match[str]) -> str:
    return _PAGE_COLOURS.get(match[1], match[1])
