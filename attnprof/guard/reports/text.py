"""Text for a terminal: one line per contract, then breaches in the format of a compiler."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from attnprof.guard.check import Check
from attnprof.guard.reports.common import STATUS_WORDS, fixes, headline, step_cells, summary
from attnprof.guard.results import Result

WIDTH = 100
_LABEL = 11
"""Width of a label such as `where`, with the spaces after it."""


def render(check: Check, width: int = WIDTH) -> str:
    """The whole report, wrapped at `width` columns; names that are longer stay in one piece."""
    name_width = max((len(result.name) for result in check.results), default=0)
    lines: list[str] = []
    for result in check.results:
        lines += line(STATUS_WORDS[result.status], result, name_width, width)
    for result in check.results:
        if result.breaches:
            lines += ["", *broken(result, width)]
        if result.problem:
            lines += ["", *wrapped(position(result) + result.problem, width, "", "    ")]
        for note in result.notes:
            lines += ["", *wrapped(f"note: {result.name}: {note}", width, "", "    ")]
    lines += ["", *wrapped(f"{summary(check)}, in {check.seconds:.1f} s", width, "", "    ")]
    return "\n".join(lines) + "\n"


def render_breaches(result: Result) -> str:
    """The breaches of one contract, without its file, causes and remedies."""
    lines: list[str] = []
    for breach in result.breaches:
        lines += wrapped(f"{result.name}: {headline(breach)}", WIDTH, "", "    ")
        lines += labelled("where", breach.where, WIDTH)
    return "\n".join(lines)


def line(word: str, result: Result, name_width: int, width: int) -> list[str]:
    """One contract: the verdict's word, its name and its facts."""
    head = f"{word:<13} {result.name:<{name_width}}  "
    return wrapped(result.facts, width, head, " " * 16) if result.facts else [head.rstrip()]


def broken(result: Result, width: int) -> Iterator[str]:
    """The breaches of one contract, their likely causes and remedies."""
    for breach in result.breaches:
        yield from wrapped(position(result) + headline(breach), width, "", "    ")
        yield from _aligned(step_cells(breach))
        yield from labelled("where", breach.where, width)
    yield from labelled("likely", result.causes, width)
    for label, commands in fixes(result).items():
        yield from labelled(label, commands, width)


def position(result: Result) -> str:
    """What a line about one contract begins with; a target without a contract is in no file."""
    return f"{result.file}:{result.line}: {result.name}: " if result.line else f"{result.name}: "


def _aligned(rows: Sequence[tuple[str, str, str, str]]) -> Iterator[str]:
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(4)]
    for row in rows:
        tokens, before, now, change = (cell.rjust(w) for cell, w in zip(row, widths, strict=True))
        yield f"    {tokens}   {before} → {now}   {change}"


def labelled(label: str, sentences: Sequence[str], width: int) -> Iterator[str]:
    """Sentences in lines of a width, with a label before the first."""
    for index, sentence in enumerate(sentences):
        head = f"    {label if index == 0 else '':<{_LABEL}}"
        yield from wrapped(sentence, width, head, " " * (len(head) + 2))


def wrapped(text: str, width: int, first: str, rest: str) -> list[str]:
    """Text in lines of a width, with an indent of the first line and one of the others."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
