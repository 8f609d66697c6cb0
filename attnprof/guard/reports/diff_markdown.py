"""A diff as the comment on a pull request: the verdict, a line per contract, a folded table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attnprof.guard.diff import Diff, Difference
from attnprof.guard.reports.common import headline
from attnprof.guard.reports.diff_rows import HEADINGS, WORDS, cost_rows, summary, title
from attnprof.guard.reports.markdown import STATUS_CELLS, cell

MARKER = "<!-- attnprof guard diff -->"
"""First line of the comment, by which a workflow finds it again."""

MAX_LINES = 40
_MAX_NOTES = 3
_MAX_CONTRACTS = 10
_MAX_SENTENCES = 4
"""Breaches, changed parts and causes of one contract that its row shows."""

_MAX_CHARACTERS = 400
"""Of one sentence; GitHub refuses comments of more than 65,536 characters."""

_FRAME_LINES = 7
"""Lines around the folded table: what opens it, its heading and what closes it."""

_WORD_CELLS = {"changed": "🔹 changed", "new": "🔹 new", "removed": "🔸 removed"}


def render(diff: Diff) -> str:
    """The comment, of at most `MAX_LINES` lines."""
    mark = "❌" if diff.exit_code else "✅"
    lines = [
        MARKER,
        f"**attnprof guard diff**: {mark} {_text(summary(diff))} ({_text(title(diff))})",
        "",
        *_notes(diff.notes),
        *_contracts(diff.differences),
    ]
    lines += _costs(diff.differences, MAX_LINES - len(lines) - _FRAME_LINES)
    return "\n".join(lines) + "\n"


def _notes(notes: Sequence[str]) -> Iterator[str]:
    yield from (f"- {_text(note)}" for note in notes[:_MAX_NOTES])
    if len(notes) > _MAX_NOTES:
        yield f"- and {len(notes) - _MAX_NOTES} more"
    if notes:
        yield ""


def _contracts(differences: Sequence[Difference]) -> Iterator[str]:
    """A row for each contract, the broken ones first."""
    yield from ("| contract | verdict | details |", "|---|---|---|")
    ordered = _most_important_first(differences)
    for each in ordered[:_MAX_CONTRACTS]:
        word = each.word
        verdict = _WORD_CELLS.get(word) or STATUS_CELLS.get(word) or f"✅ {word}"
        details = "<br>".join(_sentences(each))
        yield f"| {_text(each.result.name)} | {verdict} | {details} |"
    others = [each.word for each in ordered[_MAX_CONTRACTS:]]
    if others:
        counts = ", ".join(f"{others.count(w)} {name}" for w, name in WORDS.items() if w in others)
        yield f"| and {len(others):,} more | {counts} | |"


def _sentences(difference: Difference) -> Iterator[str]:
    """What a reviewer has to know about one contract."""
    result = difference.result
    if result.problem:
        yield _text(result.problem)
    elif result.breaches:
        breaches = [f"**{_text(headline(breach))}**" for breach in result.breaches]
        where = dict.fromkeys(part for breach in result.breaches for part in breach.where)
        yield from _first(breaches)
        yield from _first([f"where: {_text(part)}" for part in where])
        yield from _first([f"likely: {_text(cause)}" for cause in result.causes])
    elif difference.changes:
        yield from _first([_text(change) for change in difference.changes])
        yield from _first([f"where: {_text(part)}" for part in difference.where])
        yield from _first([f"likely: {_text(cause)}" for cause in result.causes])
    elif result.facts:
        yield _text(result.facts)
    yield from (_text(note) for note in result.notes)


def _first(sentences: Sequence[str]) -> Iterator[str]:
    yield from sentences[:_MAX_SENTENCES]
    if len(sentences) > _MAX_SENTENCES:
        yield f"and {len(sentences) - _MAX_SENTENCES} more"


def _costs(differences: Sequence[Difference], most: int) -> Iterator[str]:
    """The folded table of costs at each length, of at most so many rows."""
    rows = [
        (each.result.name, *cells)
        for each in _most_important_first(differences)
        for cells in cost_rows(each)
    ]
    if not rows:
        return
    yield from ("", "<details><summary>Costs at each length</summary>", "")
    yield "| contract | " + " | ".join(HEADINGS) + " |"
    yield "|---|" + "---:|" * len(HEADINGS)
    shown = rows if len(rows) <= most else rows[: most - 1]
    yield from ("| " + " | ".join(map(_text, row)) + " |" for row in shown)
    if len(rows) > len(shown):
        yield f"| and {len(rows) - len(shown):,} more | | | | |"
    yield from ("", "</details>")


def _most_important_first(differences: Sequence[Difference]) -> list[Difference]:
    order = list(WORDS)
    return sorted(differences, key=lambda each: order.index(each.word))


def _text(text: str) -> str:
    """Text as it is, without what GitHub would read as markup, or as somebody's name."""
    shown = text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."
    return cell(shown).replace("@", "&#64;")
