"""Annotations of GitHub Actions, as its workflow commands have them.

Source: docs.github.com, "Workflow commands for GitHub Actions"; GitHub shows ten annotations of a
kind for each step, and drops the others without a word.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from attnprof.guard.check import Check
from attnprof.guard.reports.common import headline, mends, step_cells
from attnprof.guard.results import Result

MOST = 9
"""Annotations; one more says how many there are besides."""


@dataclass(frozen=True, slots=True)
class _Annotation:
    level: str
    file: str
    line: int
    title: str
    message: str

    def __str__(self) -> str:
        file, title = _property(_in_repository(self.file)), _property(self.title)
        return f"::{self.level} file={file},line={self.line},title={title}::{_data(self.message)}"


def render(check: Check) -> str:
    """A line for each annotation: errors first, then warnings and notices."""
    found = _annotations(check)
    lines = [str(annotation) for annotation in found[:MOST]]
    if len(found) > MOST:
        level = found[MOST].level
        lines.append(f"::{level} title=attnprof guard::{len(found) - MOST} more: see the log")
    return "".join(f"{line}\n" for line in lines)


def _annotations(check: Check) -> list[_Annotation]:
    found: list[_Annotation] = []
    for result in check.results:
        title = f"attnprof guard: {result.name}"
        if result.breaches:
            told = "\n".join(_lines(result))
            found.append(_Annotation("error", result.file, result.line, title, told))
        if result.problem:
            found.append(_Annotation("error", result.file, result.line, title, result.problem))
        level = "error" if result.is_undecided and check.is_strict else "warning"
        level = level if result.is_undecided else "notice"
        found += [
            _Annotation(level, result.file, result.line, title, note) for note in result.notes
        ]
    order = {"error": 0, "warning": 1, "notice": 2}
    return sorted(found, key=lambda annotation: order[annotation.level])


def _lines(result: Result) -> Iterator[str]:
    for breach in result.breaches:
        yield headline(breach)
        yield from (f"{n}: {was} → {now}  {change}" for n, was, now, change in step_cells(breach))
        yield from (f"where: {place}" for place in breach.where)
    yield from (f"likely: {cause}" for cause in result.causes)
    for label, commands in mends(result).items():
        yield from (f"{label}: {command}" for command in commands)


def _in_repository(file: str) -> str:
    """The path as GitHub knows it, whatever folder one is in."""
    workspace = os.environ.get("GITHUB_WORKSPACE")
    path = Path(file).resolve()
    return (
        str(path.relative_to(workspace)) if workspace and path.is_relative_to(workspace) else file
    )


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
