"""Cost formulas with the numbers put in, a table for each kernel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attnprof.analysis.explanation import Term, explain
from attnprof.analysis.series import Series
from attnprof.core.units import format_count, format_share, format_tokens
from attnprof.report.page.content import Cell, Heading, Table

_HEADINGS = (
    Heading("term", "left"),
    Heading("formula", "left"),
    Heading("with the numbers", "left"),
    Heading("MACs"),
    Heading("share"),
)


def term_tables(series: Iterable[Series]) -> Iterator[Table]:
    """The terms of built-in kernels at their longest lengths; kernels with equal terms share one.

    Args:
        series: of all runs.
    """
    labels_of: dict[tuple[int, tuple[Term, ...]], dict[str, None]] = {}
    for member in series:
        costed = [row for row in member.rows if row.integer("executed_macs") is not None]
        if costed and not member.is_custom:
            terms = explain(costed[-1].kernel, costed[-1].workload)
            key = costed[-1].workload.seq_len, terms
            labels_of.setdefault(key, {})[member.label] = None
    for (seq_len, terms), labels in labels_of.items():
        yield _table(f"{', '.join(labels)} at {format_tokens(seq_len)}", terms)


def _table(caption: str, terms: Sequence[Term]) -> Table:
    total = sum(term.macs for term in terms)
    rows = tuple(
        (
            Cell(term.name),
            Cell(term.formula),
            Cell(term.numbers),
            Cell(format_count(term.macs)),
            _share(term.macs, total),
        )
        for term in terms
    )
    empty = Cell("")
    sums = (Cell("in all"), empty, empty, Cell(format_count(total)), empty)
    sources = "; ".join(dict.fromkeys(term.source for term in terms))
    return Table(caption, _HEADINGS, rows, sums, f"Source: {sources}" if sources else "")


def _share(macs: int, total: int) -> Cell:
    return Cell(format_share(macs, total), share=macs / total)
