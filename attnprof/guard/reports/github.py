"""Annotations of GitHub Actions, as workflow commands.

Source: docs.github.com, "Workflow commands for GitHub Actions"; GitHub shows ten annotations of a
kind for each step and drops the others silently.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from attnprof.guard.check import Check
from attnprof.guard.reports.common import fixes, headline, step_cells
from attnprof.guard.results import Result

MAX_ANNOTATIONS = 9
"""Annotations that are shown; one more gives the number of the others."""


@dataclass(frozen=True, slots=True)
class _Annotation:
    level: str
    file: str
    line: int
    title: str
    message: str

    def __str__(self) -> str:
        file, title = _property(_in_repository(self.file)), _property(self.title)
        place = f"file={file},line={self.line}," if self.line else ""
        return f"::{self.level} {place}title={title}::{_data(self.message)}"


def render(check: Check) -> str:
    """One line per annotation: errors first, then warnings and notices."""
    annotations = _annotations(check)
    lines = [str(annotation) for annotation in annotations[:MAX_ANNOTATIONS]]
    if len(annotations) > MAX_ANNOTATIONS:
        level, others = annotations[MAX_ANNOTATIONS].level, len(annotations) - MAX_ANNOTATIONS
        lines.append(f"::{level} title=attnprof guard::{others} more: see the log")
    return "".join(f"{line}\n" for line in lines)


def _annotations(check: Check) -> list[_Annotation]:
    annotations: list[_Annotation] = []
    for result in check.results:
        title = f"attnprof guard: {result.name}"
        if result.breaches:
            message = "\n".join(_lines(result))
            annotations.append(_Annotation("error", result.file, result.line, title, message))
        if result.problem:
            message = result.problem
            annotations.append(_Annotation("error", result.file, result.line, title, message))
        level = "error" if result.is_undecided and check.is_strict else "warning"
        level = level if result.is_undecided else "notice"
        annotations += [
            _Annotation(level, result.file, result.line, title, note) for note in result.notes
        ]
    order = {"error": 0, "warning": 1, "notice": 2}
    return sorted(annotations, key=lambda annotation: order[annotation.level])


def _lines(result: Result) -> Iterator[str]:
    for breach in result.breaches:
        yield headline(breach)
        yield from (
            f"{n}: {before} → {now}  {change}" for n, before, now, change in step_cells(breach)
        )
        yield from (f"where: {part}" for part in breach.where)
    yield from (f"likely: {cause}" for cause in result.causes)
    for label, commands in fixes(result).items():
        yield from (f"{label}: {command}" for command in commands)


def _in_repository(file: str) -> str:
    """The path relative to the root of the repository, as GitHub expects it."""
    workspace = os.environ.get("GITHUB_WORKSPACE")
    path = Path(file).resolve()
    return (
        str(path.relative_to(workspace)) if workspace and path.is_relative_to(workspace) else file
    )


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
