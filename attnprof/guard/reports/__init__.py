"""Renderers of a check and of a diff, one file per format: for people, GitHub and CI systems."""

from __future__ import annotations

from collections.abc import Callable

from attnprof.guard.check import Check
from attnprof.guard.diff import Diff
from attnprof.guard.reports import (
    diff_json,
    diff_markdown,
    diff_text,
    github,
    json_report,
    junit,
    markdown,
    text,
)

FORMATS: dict[str, Callable[[Check], str]] = {
    "text": text.render,
    "json": json_report.render,
    "github": github.render,
    "junit": junit.render,
    "markdown": markdown.render,
}
"""Renderers of a check by the name that `--format` takes."""

DIFF_FORMATS: dict[str, Callable[[Diff], str]] = {
    "text": diff_text.render,
    "json": diff_json.render,
    "github": lambda diff: github.render(diff.as_check()),
    "junit": lambda diff: junit.render(diff.as_check()),
    "markdown": diff_markdown.render,
}
"""Renderers of a diff, by the same names."""
