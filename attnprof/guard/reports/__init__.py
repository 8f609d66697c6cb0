"""Renderers of a check, one file per format: for people, for GitHub and for CI systems."""

from __future__ import annotations

from collections.abc import Callable

from attnprof.guard.check import Check
from attnprof.guard.reports import github, json_report, junit, markdown, text

FORMATS: dict[str, Callable[[Check], str]] = {
    "text": text.render,
    "json": json_report.render,
    "github": github.render,
    "junit": junit.render,
    "markdown": markdown.render,
}
"""Renderers by the name that `--format` takes."""
