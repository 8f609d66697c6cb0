"""A check in the formats that people, GitHub and CI systems read; one file for each."""

from __future__ import annotations

from collections.abc import Callable

from attnprof.guard.checking import Check
from attnprof.guard.reports import data, github, junit, markdown, text

FORMATS: dict[str, Callable[[Check], str]] = {
    "text": text.render,
    "json": data.render,
    "github": github.render,
    "junit": junit.render,
    "markdown": markdown.render,
}
"""Renderers by the word that `--format` takes."""
