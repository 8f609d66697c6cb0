"""GitHub-flavoured Markdown: a table of all contracts, then what is broken."""

from __future__ import annotations

from collections.abc import Iterator

from attnprof.guard.check import Check
from attnprof.guard.reports.common import headline, mends, step_cells, summary
from attnprof.guard.results import Result

_SIGNS = {
    "kept": "✅ kept",
    "broken": "❌ broken",
    "undecided": "⚠️ undecided",
    "misconfigured": "❌ misconfigured",
    "failed": "❌ not measured",
}


def render(check: Check) -> str:
    """The summary that a workflow's page shows."""
    lines = [
        f"### attnprof guard: {summary(check)}",
        "",
        "| contract | verdict | what it says |",
        "|---|---|---|",
    ]
    for result in check.results:
        told = result.problem or result.facts
        if result.breaches:
            told = "; ".join(breach.says for breach in result.breaches)
        lines.append(f"| {_cell(result.name)} | {_SIGNS[result.status]} | {_cell(told)} |")
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
            yield from ("", "| length | was | now | change |", "|---:|---:|---:|---:|")
        yield from ("| " + " | ".join(cells) + " |" for cells in rows)
        if breach.where:
            yield from ("", *(f"- where: {_escaped(place)}" for place in breach.where))
    yield from ("", *(f"- likely: {_escaped(cause)}" for cause in result.causes))
    for label, commands in mends(result).items():
        yield from (f"- {label}: {_escaped(command)}" for command in commands)


def _escaped(text: str) -> str:
    """Operators' names have underscores and stars, which Markdown would take for its own."""
    for sign in "\\*_<>`":
        text = text.replace(sign, f"\\{sign}")
    return text


def _cell(text: str) -> str:
    return _escaped(text).replace("|", "\\|").replace("\n", " ")
