"""Cost formulas with the numbers put in, a table for each kernel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attnprof.analysis.explanation import Term, explain
from attnprof.analysis.series import Series
from attnprof.core.units import format_count, format_share
from attnprof.report.columns import EMPTY
from attnprof.report.page.content import Cell, Heading, Table

_HEADINGS = (
    Heading("term", "left"),
    Heading("formula", "left"),
    Heading("with the numbers", "left"),
    Heading("MACs"),
    Heading("share"),
    Heading("source", "prose"),
)


def term_tables(series: Iterable[Series]) -> Iterator[Table]:
    """The terms of built-in kernels at their longest lengths; kernels with equal terms share one.

    Args:
        series: of all runs.
    """
    labels_of: dict[tuple[int, tuple[Term, ...]], dict[str, None]] = {}
    for member in series:
        if not member.is_custom:
            terms = explain(member.rows[-1].kernel, member.workload)
            labels_of.setdefault((member.workload.seq_len, terms), {})[member.label] = None
    for (seq_len, terms), labels in labels_of.items():
        yield _table(f"{', '.join(labels)} at {format_count(seq_len)} tokens", terms)


def _table(caption: str, terms: Sequence[Term]) -> Table:
    total = sum(term.macs or 0 for term in terms)
    rows = tuple(
        (
            Cell(term.name),
            Cell(term.formula),
            Cell(term.numbers),
            Cell(EMPTY if term.macs is None else format_count(term.macs)),
            _share(term.macs, total),
            Cell(term.source),
        )
        for term in terms
    )
    empty = Cell("")
    sums = (Cell("in all"), empty, empty, Cell(format_count(total)), empty, empty)
    return Table(caption, _HEADINGS, rows, sums)


def _share(macs: int | None, total: int) -> Cell:
    if macs is None or not total:
        return Cell(EMPTY)
    return Cell(format_share(macs, total), share=macs / total)
