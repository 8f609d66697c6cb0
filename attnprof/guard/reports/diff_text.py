"""A diff as text for a terminal: a line for each contract, then what changed and where."""

from __future__ import annotations

from collections.abc import Iterator

from attnprof.guard.diff import Diff, Difference
from attnprof.guard.reports import text
from attnprof.guard.reports.diff_rows import HEADINGS, WORDS, cost_rows, summary, title
from attnprof.report.text_table import TextRow, fit_table

_INDENT = 4


def render(diff: Diff, width: int = text.WIDTH) -> str:
    """The whole report, wrapped at `width` columns."""
    name_width = max((len(each.result.name) for each in diff.differences), default=0)
    lines = [title(diff)]
    for note in diff.notes:
        lines += text.wrapped(note, width, "    ", "        ")
    lines.append("")
    for each in diff.differences:
        lines += text.line(WORDS[each.word], each.result, name_width, width)
    for each in diff.differences:
        lines += _details(each, width, has_table=not diff.has_contracts)
    end = f"{summary(diff)}, in {diff.seconds:.1f} s"
    return "\n".join([*lines, "", *text.wrapped(end, width, "", "    ")]) + "\n"


def _details(difference: Difference, width: int, *, has_table: bool) -> Iterator[str]:
    """What changed in one contract, where, and what to know about it."""
    result = difference.result
    if result.breaches:
        yield from ("", *text.broken(result, width))
    elif difference.head and (has_table or difference.word == "changed"):
        yield ""
        yield f"{text.position(result)}{difference.word if has_table else 'changed, as allowed'}"
        if has_table:
            yield from _table(difference, width)
        else:
            for change in difference.changes:
                yield from text.wrapped(change, width, "    ", "        ")
        yield from text.labelled("where", difference.where, width)
        yield from text.labelled("likely", result.causes, width)
    if result.problem:
        yield from ("", *text.wrapped(text.position(result) + result.problem, width, "", "    "))
    for note in result.notes:
        yield from ("", *text.wrapped(f"note: {result.name}: {note}", width, "", "    "))


def _table(difference: Difference, width: int) -> Iterator[str]:
    """Costs at each length, and changes of laws."""
    rows = [TextRow(cells) for cells in cost_rows(difference)]
    table = fit_table(HEADINGS, rows, width - _INDENT).plain.rstrip("\n")
    yield from (f"    {row}" for row in table.splitlines())
    growth = [change for change in difference.changes if change.startswith("growth")]
    yield from (f"    {change}" for change in growth)
