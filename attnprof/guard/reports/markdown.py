"""GitHub-flavoured Markdown: a table of all contracts, then what is broken."""

from __future__ import annotations

from collections.abc import Iterator

from attnprof.guard.checking import Check
from attnprof.guard.reports.steps import headline, step_cells, summary
from attnprof.guard.verdicts import Breach

_SIGNS = {
    "kept": "✅ kept",
    "broken": "❌ broken",
    "undecided": "⚠️ undecided",
    "misconfigured": "❌ misconfigured",
    "failed": "❌ not measured",
}


def render(check: Check) -> str:
    """The summary that a workflow's page shows."""
    lines = [f"### attnprof guard: {summary(check)}", "", "| contract | | |", "|---|---|---|"]
    for result in check.results:
        told = result.problem or result.facts
        if result.breaches:
            told = "; ".join(breach.says for breach in result.breaches)
        lines.append(f"| {_cell(result.name)} | {_SIGNS[result.status]} | {_cell(told)} |")
    for result in check.results:
        for breach in result.breaches:
            lines += ["", *_breach(result.name, breach)]
        lines += [f"\n> **{result.name}**: {_escaped(note)}" for note in result.notes]
    return "\n".join(lines) + "\n"


def _breach(name: str, breach: Breach) -> Iterator[str]:
    yield f"**{name}**: {_escaped(headline(breach))}"
    if breach.steps:
        yield from ("", "| length | was | now | change |", "|---:|---:|---:|---:|")
        yield from ("| " + " | ".join(cells) + " |" for cells in step_cells(breach))
    if breach.where or breach.causes or breach.mend:
        yield ""
    yield from (f"- where: {_escaped(place)}" for place in breach.where)
    yield from (f"- likely: {_escaped(cause)}" for cause in breach.causes)
    if breach.mend:
        yield f"- to mend: `{breach.mend}`" if "`" not in breach.mend else f"- {breach.mend}"


def _escaped(text: str) -> str:
    """Operators' names have underscores and stars, which Markdown would take for its own."""
    for sign in "\\*_<>`":
        text = text.replace(sign, f"\\{sign}")
    return text


def _cell(text: str) -> str:
    return _escaped(text).replace("|", "\\|").replace("\n", " ")
