"""For a terminal: a line for each contract, then what is broken, as a compiler tells it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from attnprof.guard.checking import Check
from attnprof.guard.reports.steps import headline, step_cells, summary
from attnprof.guard.verdicts import Breach, Result

WIDTH = 100
_LABEL = 10
"""Columns that labels such as `where` take, with what stands before them."""

_WORDS = {"failed": "not measured"}


def render(check: Check, width: int = WIDTH) -> str:
    """All of it as lines of at most so many columns, but for names that are longer."""
    name_width = max((len(result.name) for result in check.results), default=0)
    lines = [_line(result, name_width) for result in check.results]
    for result in check.results:
        for breach in result.breaches:
            lines += ["", *_breach(result, breach, width)]
        if result.problem:
            place = f"{result.file}:{result.line}: {result.name}: "
            lines += ["", *_wrapped(place + result.problem, width, "", "    ")]
        for note in result.notes:
            lines += ["", *_wrapped(f"note: {result.name}: {note}", width, "", "    ")]
    lines += ["", f"{summary(check)}, in {check.seconds:.1f} s"]
    return "\n".join(lines) + "\n"


def _line(result: Result, name_width: int) -> str:
    word = _WORDS.get(result.status, result.status)
    return f"{word:<13} {result.name:<{name_width}}  {result.facts}".rstrip()


def _breach(result: Result, breach: Breach, width: int) -> Iterator[str]:
    place = f"{result.file}:{result.line}: {result.name}: "
    yield from _wrapped(place + headline(breach), width, "", "    ")
    rows = step_cells(breach)
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(4)]
    for row in rows:
        tokens, was, now, change = (cell.rjust(w) for cell, w in zip(row, widths, strict=True))
        yield f"    {tokens}   {was} → {now}   {change}"
    for label, sentences in (
        ("where", breach.where),
        ("likely", breach.causes),
        ("to mend", (breach.mend,) if breach.mend else ()),
    ):
        for index, sentence in enumerate(sentences):
            head = f"    {label if index == 0 else '':<{_LABEL}}"
            yield from _wrapped(sentence, width, head, " " * len(head))


def _wrapped(text: str, width: int, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
