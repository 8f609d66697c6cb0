"""What each counter counts of each kernel at its longest length."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from markupsafe import Markup

from attnprof.analysis.series import Series
from attnprof.core.result_table import Row
from attnprof.core.units import format_count, format_macs, format_share
from attnprof.report.columns import EMPTY
from attnprof.report.page.content import Cell, Heading, Table

_COUNTERS = {
    "ptflops_pytorch_macs": Heading("ptflops", hint="default backend, pytorch"),
    "ptflops_aten_macs": Heading("ptflops aten", hint="aten backend"),
    "torch_macs": Heading("torch", hint="FlopCounterMode, half its FLOPs"),
    "operator_macs": Heading("operator level", hint="attnprof's own, operator by operator"),
}


def counter_table(series: Iterable[Series], markers: Mapping[str, Markup]) -> Table | None:
    """Counters as columns, kernels as rows, each count with its share; None without any count.

    Args:
        series: all of a run.
        markers: by kernel.
    """
    longest = [(member, row) for member in series if (row := _counted_row(member)) is not None]
    counters = [
        name for name in _COUNTERS if any(row.integer(name) is not None for _, row in longest)
    ]
    if not counters:
        return None
    headings = (
        Heading("kernel", "left"),
        Heading("tokens"),
        Heading("executed"),
        *(_COUNTERS[name] for name in counters),
        Heading("ptflops does not count", "left"),
    )
    rows = tuple(
        (
            Cell(member.label, marker=markers[row.kernel]),
            Cell(format_count(row.workload.seq_len)),
            Cell(format_macs(row.integer("executed_macs") or 0, unit="")),
            *(_count(row, name) for name in counters),
            Cell(_missed(member, row)),
        )
        for member, row in longest
    )
    return Table("MACs that each counter reports", headings, rows)


def _counted_row(series: Series) -> Row | None:
    """The longest row with a count and with the MACs that it is a share of."""
    for row in reversed(series.rows):
        is_counted = any(row.integer(name) is not None for name in _COUNTERS)
        if is_counted and row.integer("executed_macs"):
            return row
    return None


def _count(row: Row, counter: str) -> Cell:
    counted, executed = row.integer(counter), row.integer("executed_macs")
    if counted is None or not executed:
        return Cell(EMPTY)
    return Cell(
        format_macs(counted, unit=""),
        share=min(1.0, counted / executed),
        note=format_share(counted, executed),
    )


def _missed(series: Series, row: Row) -> str:
    """The operation, where ptflops counts less than is executed and the operation is known."""
    counted, executed = row.integer("ptflops_pytorch_macs"), row.integer("executed_macs")
    if counted is None or executed is None or counted >= executed or series.is_custom:
        return EMPTY
    return series.kernel.ptflops_misses or EMPTY
