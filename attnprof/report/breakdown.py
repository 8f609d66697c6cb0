"""The table of MACs by module and operator in the terminal."""

from __future__ import annotations

from itertools import groupby

from rich.table import Table

from attnprof.analysis.breakdown_table import Breakdown, Part
from attnprof.core.units import format_count, format_macs
from attnprof.report.columns import EMPTY


def render_breakdown(breakdown: Breakdown) -> Table:
    """For each kernel and length: the tree of modules, then the operators that have MACs."""
    table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False, header_style="dim")
    table.add_column("part", no_wrap=True)
    for heading in ("calls", "MACs", "share", "growth"):
        table.add_column(heading, justify="right", no_wrap=True)
    for (kernel, seq_len, by), group in groupby(breakdown.parts, key=_heading):
        table.add_row(f"{kernel}, {format_count(seq_len)} tokens, by {by}", style="bold")
        for part in _in_order(list(group)):
            if part.macs != 0:
                table.add_row(*_cells(part))
    return table


def _heading(part: Part) -> tuple[str, int, str]:
    return part.kernel, part.seq_len, part.by


def _in_order(parts: list[Part]) -> list[Part]:
    """Modules as a tree, siblings in the order in which they ran; operators by descending MACs."""
    if parts[0].by == "operator":
        return sorted(parts, key=lambda part: -(part.macs or 0))
    first = {part.part: index for index, part in enumerate(parts)}

    def tree_order(part: Part) -> list[int]:
        names = part.part.split(".") if part.part else []
        return [first[".".join(names[: depth + 1])] for depth in range(len(names))]

    return sorted(parts, key=tree_order)


def _cells(part: Part) -> tuple[str, str, str, str, str]:
    depth = part.part.count(".") + 1 if part.part and part.by == "module" else 0
    name = part.part.rpartition(".")[2] if part.by == "module" else part.part
    return (
        "  " * (depth + 1) + (name or "all"),
        format_count(part.calls),
        "uncounted" if part.macs is None else format_macs(part.macs, unit=""),
        EMPTY if part.share is None else f"{100 * part.share:.1f} %",
        EMPTY if part.growth is None else f"n^{part.growth:.2f}",
    )
