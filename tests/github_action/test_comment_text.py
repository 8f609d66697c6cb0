"""A comment's text can neither notify, nor link, nor bring HTML, whoever wrote the report."""

from __future__ import annotations

import html
import re
import runpy
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pull_request import ACTION

POST = ACTION / "comment" / "post.py"

inert: Callable[[str], str] = runpy.run_path(str(POST))["inert"]

ALLOWED_TAGS = {"p", "details", "summary", "strong", "em", "code", "pre", "br", "hr"}
ALLOWED_TAGS |= {"ul", "ol", "li", "blockquote", *(f"h{n}" for n in range(1, 7))}
ALLOWED_TAGS |= {"table", "thead", "tbody", "tr", "th", "td"}

PIECES = ["@", "#", "GH-", "7", "www", ".", "a", ":", "/", "\\", "(", ")", "[", "]", "!", "<", ">"]
PIECES += [
    "&",
    ";",
    "commat",
    "x40",
    "img",
    "details",
    '"',
    "=",
    " ",
    "\n",
    "\t",
    "-",
    "`",
    "*",
    "|",
]


def assert_inert(text: str) -> None:
    """Rendered, it has neither links nor own tags; its plain text has nothing to act upon."""
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(inert(text))
    tags = re.findall(r"<[/!?]?([a-z0-9-]*)", rendered, re.IGNORECASE)
    assert {tag.lower() for tag in tags} <= ALLOWED_TAGS, rendered
    plain = html.unescape(re.sub(r"<[^>]*>", "", rendered))
    assert not re.search(r"@\w|#\d|\bGH-\d|://|\bwww\.", plain, re.IGNORECASE), plain


@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_no_text_notifies_links_or_brings_html(text: str) -> None:
    assert_inert(text)


@pytest.mark.parametrize(
    "text",
    [
        "@org/team and &#64;team, &commat;team, \\@team",
        "[click](https://evil.example) ![](//evil.example/pixel)",
        "[a][1]\n\n[1]: //evil.example",
        "<https://evil.example> www.evil.example https\\://evil.example",
        "<img src=x> <script>x</script> <!-- <a href=x>y</a>",
        "fixes #1, owner/project#1, GH-1",
    ],
)
def test_known_ways_to_notify_or_link_are_closed(text: str) -> None:
    assert_inert(text)


def test_a_report_looks_as_before() -> None:
    report = "**1 broken** `a_b` \\[x\\]<br>y\n\n<details><summary>all</summary>\n\n| a |\n|--:|\n"
    assert inert(report) == report
    assert inert("a\u202eb\x07c\u200bd\r\n/merge &#64;x") == "abcd\n\u200b/merge @\u200bx"
