"""GitHub-flavoured Markdown: a table of all contracts, then the details of broken ones."""

from __future__ import annotations

from collections.abc import Iterator

from attnprof.guard.check import Check
from attnprof.guard.reports.common import fixes, headline, step_cells, summary
from attnprof.guard.results import Result

STATUS_CELLS = {
    "kept": "✅ kept",
    "broken": "❌ broken",
    "undecided": "⚠️ undecided",
    "misconfigured": "❌ misconfigured",
    "failed": "❌ not measured",
}
"""Verdicts by status."""


def render(check: Check) -> str:
    """The summary that GitHub shows on the page of a workflow run."""
    lines = [
        f"### attnprof guard: {summary(check)}",
        "",
        "| contract | verdict | details |",
        "|---|---|---|",
    ]
    for result in check.results:
        details = result.problem or result.facts
        if result.breaches:
            details = "; ".join(breach.says for breach in result.breaches)
        lines.append(f"| {cell(result.name)} | {STATUS_CELLS[result.status]} | {cell(details)} |")
    for result in check.results:
        if result.breaches:
            lines += ["", *_broken(result)]
        lines += [f"\n> **{_escaped(result.name)}**: {_escaped(note)}" for note in result.notes]
    return "\n".join(lines) + "\n"


def _broken(result: Result) -> Iterator[str]:
    yield f"#### {_escaped(result.name)} ({_escaped(result.file)}, line {result.line})"
    for breach in result.breaches:
        yield from ("", f"**{_escaped(headline(breach))}**")
        rows = step_cells(breach)
        if rows:
            yield from ("", "| length | before | now | change |", "|---:|---:|---:|---:|")
        yield from ("| " + " | ".join(cells) + " |" for cells in rows)
        if breach.where:
            yield from ("", *(f"- where: {_escaped(part)}" for part in breach.where))
    yield from ("", *(f"- likely: {_escaped(cause)}" for cause in result.causes))
    for label, commands in fixes(result).items():
        yield from (f"- {label}: {_escaped(command)}" for command in commands)


def _escaped(text: str) -> str:
    """Escape characters of operators' names that Markdown would interpret, such as underscores."""
    for character in "\\*_<>`":
        text = text.replace(character, f"\\{character}")
    return text


def cell(text: str) -> str:
    """Text in one cell of a table, as it is."""
    return _escaped(text).replace("|", "\\|").replace("\n", " ")
